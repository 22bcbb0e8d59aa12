"""The tar parser against generated, damaged, cut and arbitrary bytes."""

import io
import tarfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import MalformedArchive, OcitoolError
from ocitool.formats.tar import Entry, EntryType, SeekableInput, StreamInput, TarReader, entries
from tests.support.examples import part_of

# A tar name is any bytes but NUL; tarfile itself takes a trailing slash off.
NAMES = (
    st.binary(min_size=1, max_size=300)
    .map(lambda name: name.replace(b"\0", b"0").strip(b"/") or b"x")
    .map(lambda name: name.decode("utf-8", "surrogateescape"))
) | st.text("abc/é", min_size=1, max_size=300).map(lambda name: name.strip("/") or "y")
SHORT_NAMES = st.text("abcxyz.", min_size=1, max_size=60)
TYPES = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@st.composite
def members(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(names))
    info.type = draw(TYPES)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.integers(0, 0o7777777))
    info.gid = draw(st.integers(0, 0o7777777))
    info.mtime = draw(st.integers(0, 0o77777777777))
    info.uname = draw(st.text("abc", max_size=20))
    data = b""
    if info.type == tarfile.REGTYPE:
        data = draw(st.binary(max_size=1200))
        info.size = len(data)
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(names)
    return info, data


def archive_of(contents: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info, data in contents:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def scan(archive: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    stream = io.BytesIO(archive)
    reader = TarReader(StreamInput(lambda wanted: stream.read(min(wanted, size))))
    return [(entry, reader.read_whole(entry, limit=1 << 30)) for entry in reader]


def index(archive: bytes) -> list[Entry]:
    return list(entries(SeekableInput(io.BytesIO(archive))))


LONG = st.lists(members(NAMES), max_size=6)
SHORT = st.lists(members(SHORT_NAMES), min_size=1, max_size=4)


@given(LONG, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.integers(1, 5000))
def test_sound_archives_are_read_as_tarfile_reads_them(
    contents: list[tuple[tarfile.TarInfo, bytes]], form: int, size: int
) -> None:
    archive = archive_of(contents, form)
    with tarfile.open(
        fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape"
    ) as oracle:
        expected = [
            (m.name, m.size, m.mode, m.uid, m.gid, m.mtime, m.linkname, m.uname, m.offset_data)
            for m in oracle
        ]
    found = scan(archive, size)
    assert [
        (
            entry.name.removesuffix("/") if entry.type is EntryType.DIRECTORY else entry.name,
            entry.size,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            entry.link_name,
            entry.user_name,
            entry.data_offset,
        )
        for entry, _ in found
    ] == expected
    assert [data for _, data in found] == [data for _, data in contents]
    assert index(archive) == [entry for entry, _ in found]


@given(SHORT, st.integers(1 << 33, 1 << 62), st.sampled_from([1, 2]))
def test_a_size_of_any_length_is_decoded_as_tarfile_encodes_it(
    contents: list[tuple[tarfile.TarInfo, bytes]], size: int, form: int
) -> None:
    info = tarfile.TarInfo("big")
    info.size = size
    archive = archive_of(contents, form)[: sum(512 + len(d) + -len(d) % 512 for _, d in contents)]
    archive += info.tobuf(tarfile.GNU_FORMAT if form == 1 else tarfile.PAX_FORMAT)
    members = iter(TarReader(SeekableInput(io.BytesIO(archive))))
    found = [next(members) for _ in range(len(contents) + 1)]
    assert (found[-1].name, found[-1].size) == ("big", size)


@given(SHORT, st.data())
def test_one_changed_byte_in_a_header_is_noticed_or_changes_nothing(
    contents: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject
) -> None:
    archive = bytearray(archive_of(contents, tarfile.USTAR_FORMAT))
    before = index(bytes(archive))
    at = data.draw(st.sampled_from(before)).header_offset + data.draw(st.integers(0, 511))
    archive[at] ^= data.draw(st.integers(1, 255))
    try:
        after = index(bytes(archive))
    except MalformedArchive:
        return
    assert after == before


@given(LONG, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.data())
def test_a_cut_archive_is_refused_or_ends_between_two_members(
    contents: list[tuple[tarfile.TarInfo, bytes]], form: int, data: st.DataObject
) -> None:
    archive = archive_of(contents, form)
    whole = index(archive)
    cut = data.draw(st.integers(0, len(archive)))
    try:
        found = index(archive[:cut])
    except MalformedArchive:
        assert_refused_too(lambda: scan(archive[:cut], 1000))
        return
    assert found == whole[: len(found)]
    assert [entry for entry, _ in scan(archive[:cut], 1000)] == found
    ends = [0, *(entry.data_offset + entry.size + -entry.size % 512 for entry in found)]
    assert cut <= ends[-1] or len(found) == len(whole)


def assert_refused_too(read: Callable[[], object]) -> None:
    try:
        read()
    except MalformedArchive:
        return
    raise AssertionError("the other input accepts it")


@st.composite
def hostile_blocks(draw: st.DrawFn) -> bytes:
    """One block whose checksum is right and whose fields may hold anything."""
    block = bytearray(512)
    numbers = st.binary(max_size=12) | st.integers(0, 3000).map(lambda n: b"%011o\0" % n)
    for at, values in (
        (0, st.binary(max_size=100)),
        (108, numbers.map(lambda field: field[:8])),
        (124, numbers),
        (136, numbers),
        (156, st.sampled_from([b"0", b"\0", b"5", b"L", b"K", b"x", b"X", b"g", b"S", b"7", b"Z"])),
        (257, st.sampled_from([b"ustar\x0000", b"ustar  \0", b""])),
        (345, st.just(b"") | st.binary(max_size=155)),
        (482, st.sampled_from([b"\0", b"\1"])),
    ):
        value = draw(values)
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


RECORDS = st.tuples(
    st.sampled_from([b"path", b"size", b"mtime", b"uid", b"GNU.sparse.size", b"SCHILY.xattr.a"]),
    st.binary(max_size=20) | st.integers(-5, 5000).map(lambda n: b"%d" % n),
).map(lambda pair: b"%d %s=%s\n" % (len(pair[0]) + len(pair[1]) + 5, *pair))
BLOCKS = (
    hostile_blocks()
    | st.lists(RECORDS, max_size=5).map(lambda r: b"".join(r)[:512].ljust(512, b"\0"))
    | st.just(bytes(512))
    | st.binary(max_size=600)
)


@settings(max_examples=part_of(200))
@given(st.binary(max_size=3000) | st.lists(BLOCKS, max_size=12).map(b"".join), st.integers(1, 3000))
def test_arbitrary_bytes_give_members_or_one_of_our_errors(archive: bytes, size: int) -> None:
    outcomes: list[object] = []
    readings: list[Callable[[], list[Entry]]] = [
        lambda: index(archive),
        lambda: [entry for entry, _ in scan(archive, size)],
    ]
    for read in readings:
        try:
            outcomes.append(read())
        except OcitoolError as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]
