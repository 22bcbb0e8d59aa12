"""The tar parser: formats it reads, damage and ambiguity it refuses."""

import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.tar import (
    Entry,
    EntryType,
    NotATar,
    SeekableInput,
    StreamInput,
    TarInput,
    TarLimits,
    TarReader,
    entries,
)

END = bytes(1024)


def header(
    name: bytes = b"name",
    *,
    size: bytes = b"00000000000\0",
    flag: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    mtime: bytes = b"00000000000\0",
    uid: bytes = b"0000000\0",
    signed: bool = False,
) -> bytes:
    """Build one header with a right checksum, whatever is in its fields."""
    block = bytearray(512)
    fields = ((0, name), (100, b"0000644\0"), (108, uid), (116, b"0000000\0"), (124, size))
    more = ((136, mtime), (156, flag), (157, link), (257, magic), (345, prefix))
    for at, value in fields + more:
        block[at : at + len(value)] = value
    return checked(bytes(block), signed=signed)


def checked(block: bytes, *, signed: bool = False) -> bytes:
    spaced = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in spaced)
    return block[:148] + b"%06o\0 " % total + block[156:]


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extension(flag: bytes, data: bytes) -> bytes:
    return header(b"extension", size=octal(len(data)), flag=flag) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(rest) + len(str(length)) != length:
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def pax(**records: bytes) -> bytes:
    return extension(b"x", b"".join(record(key.encode(), value) for key, value in records.items()))


def file(name: bytes, data: bytes) -> bytes:
    return header(name, size=octal(len(data))) + padded(data)


def scan(archive: bytes, *, limits: TarLimits | None = None) -> list[Entry]:
    """Read an archive through both inputs, which must agree."""
    limits = limits or TarLimits()
    sources: list[TarInput] = [
        SeekableInput(io.BytesIO(archive)),
        StreamInput(io.BytesIO(archive).read),
    ]
    outcomes: list[list[Entry] | type[Exception]] = []
    for source in sources:
        try:
            outcomes.append(list(entries(source, limits=limits)))
        except MalformedArchive as error:
            outcomes.append(type(error))
            failure = error
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], list):
        return outcomes[0]
    raise failure


def refusal(archive: bytes) -> str:
    with pytest.raises(MalformedArchive) as caught:
        scan(archive)
    return caught.value.message


def test_an_empty_stream_has_no_members() -> None:
    assert scan(b"") == []


@pytest.mark.parametrize("blocks", [1, 2, 20])
def test_zero_blocks_alone_are_an_empty_archive(blocks: int) -> None:
    assert scan(bytes(512 * blocks)) == []


def test_a_lone_header_without_end_blocks_is_an_archive() -> None:
    assert [entry.name for entry in scan(header(b"odd"))] == ["odd"]


def test_the_last_member_may_lack_its_padding_as_go_writes_it() -> None:
    archive = header(b"f", size=octal(3)) + b"hi\n"
    assert [entry.size for entry in scan(archive)] == [3]


@pytest.mark.parametrize("length", [0, 1, 2, 4, 200])
def test_data_of_the_wrong_length_at_the_end_is_cut(length: int) -> None:
    assert "ends in the middle" in refusal(header(b"f", size=octal(3)) + bytes(length))


def test_bytes_after_the_end_blocks_are_not_members() -> None:
    assert [entry.name for entry in scan(file(b"a", b"") + END + file(b"b", b""))] == ["a"]


@pytest.mark.parametrize("content", [b"{}", b"not a tar\n" * 100, b"PK\x03\x04" + bytes(600)])
def test_what_does_not_begin_with_a_header_is_not_a_tar(content: bytes) -> None:
    with pytest.raises(NotATar):
        scan(content)


def test_a_later_bad_header_is_damage_and_says_where() -> None:
    message = refusal(file(b"a", b"data") + b"x" * 512)
    assert "checksum" in message
    assert "1536" in message


def test_every_bit_of_a_header_is_covered_by_its_checksum() -> None:
    block = header(b"name", size=octal(0))
    for at in set(range(512)) - set(range(148, 156)):
        changed = bytearray(file(b"first", b"") + block)
        changed[512 + at] ^= 0x40
        assert "checksum" in refusal(bytes(changed))


def test_checksums_over_signed_characters_are_accepted() -> None:
    block = header("é".encode() * 20, signed=True)
    assert block != header("é".encode() * 20)
    assert scan(block)[0].name == "é" * 20


def test_a_checksum_that_is_right_only_modulo_65521_is_refused() -> None:
    sound = header(b"first", mtime=b"77777777777\0", uid=b"7777777\0")
    stated = int(sound[148:154], 8)
    block = bytearray(header(b"\xff" * 100, link=b"\xff" * 100))
    block[148:156] = b" " * 8
    free = (at for at in range(265, 512))
    while missing := stated + 65521 - sum(block):
        block[next(free)] = min(missing, 255)
    block[148:156] = sound[148:156]
    assert "checksum" in refusal(sound + bytes(block))


def test_data_after_a_single_zero_block_is_refused() -> None:
    assert "zero block" in refusal(file(b"a", b"") + bytes(512) + file(b"b", b""))


@pytest.mark.parametrize("cut", [1, 100, 511])
def test_a_cut_header_is_refused(cut: int) -> None:
    assert "middle of a header" in refusal(file(b"a", b"") + header(b"b")[:cut])


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (b"1", EntryType.HARD_LINK),
        (b"2", EntryType.SYMLINK),
        (b"3", EntryType.CHARACTER),
        (b"4", EntryType.BLOCK),
        (b"5", EntryType.DIRECTORY),
        (b"6", EntryType.FIFO),
    ],
)
def test_links_directories_and_devices_carry_no_data_whatever_they_say(
    flag: bytes, expected: EntryType
) -> None:
    archive = header(b"a", flag=flag, link=b"t", size=octal(5000)) + header(b"b") + END
    first, second = scan(archive)
    assert (first.type, first.size, first.link_name, second.name) == (expected, 0, "t", "b")


@pytest.mark.parametrize("flag", [b"0", b"\0", b"7"])
def test_ordinary_and_contiguous_members_are_files(flag: bytes) -> None:
    archive = header(b"a", flag=flag, size=octal(4)) + padded(b"data") + END
    assert [(e.type, e.size) for e in scan(archive)] == [(EntryType.FILE, 4)]


def test_a_member_of_unknown_type_is_kept_with_its_data() -> None:
    archive = header(b"v", flag=b"V", size=octal(4)) + padded(b"data") + file(b"b", b"")
    assert [(e.name, e.type) for e in scan(archive)] == [
        ("v", EntryType.OTHER),
        ("b", EntryType.FILE),
    ]


def test_an_old_file_whose_name_ends_in_a_slash_is_a_directory() -> None:
    assert scan(header(b"d/", flag=b"\0"))[0].type is EntryType.DIRECTORY


def test_a_file_whose_name_ends_in_a_slash_and_has_data_is_refused() -> None:
    assert "'/'" in refusal(header(b"d/", size=octal(4)) + padded(b"data"))


def test_a_long_name_decides_whether_the_name_ends_in_a_slash() -> None:
    archive = extension(b"L", b"d/file\0") + header(b"d/", size=octal(4)) + padded(b"data")
    assert [(e.name, e.type) for e in scan(archive)] == [("d/file", EntryType.FILE)]


def test_type_bits_are_taken_out_of_the_mode() -> None:
    block = bytearray(header(b"a"))
    block[100:108] = b"0104755\0"
    assert scan(checked(bytes(block)))[0].mode == 0o4755


def test_a_ustar_prefix_comes_before_the_name() -> None:
    assert scan(header(b"name", prefix=b"some/where"))[0].name == "some/where/name"


def test_times_in_a_gnu_header_are_not_a_prefix() -> None:
    block = header(b"name", magic=b"ustar  \0", prefix=b"14000000000\x0014000000000\0")
    assert scan(block)[0].name == "name"


def test_a_prefix_in_a_gnu_header_is_read_as_the_old_go_writer_meant_it() -> None:
    assert scan(header(b"name", magic=b"ustar  \0", prefix=b"some/dir"))[0].name == "some/dir/name"


def test_a_prefix_in_a_header_of_no_known_format_is_refused() -> None:
    assert "prefix" in refusal(header(b"name", magic=b"", prefix=b"dir"))


def test_times_in_a_star_header_are_not_part_of_the_prefix() -> None:
    block = bytearray(header(b"name", prefix=b"p" * 131 + b"00000000001 00000000002 "))
    block[508:512] = b"tar\0"
    assert scan(checked(bytes(block)))[0].name == "p" * 131 + "/name"


def test_names_that_are_not_utf_8_survive() -> None:
    entry = scan(header(b"bad\xff", link=b"\xfe", flag=b"2"))[0]
    assert os.fsencode(entry.name) == b"bad\xff"
    assert os.fsencode(entry.link_name) == b"\xfe"


@pytest.mark.parametrize(
    "size", [b"12345678901x", b"0o000000017 ", b"1_000000000\0", b"-0000000001\0"]
)
def test_a_size_that_is_not_octal_is_refused(size: bytes) -> None:
    assert "octal" in refusal(file(b"a", b"") + header(b"b", size=size))


def test_a_time_that_is_not_octal_is_refused() -> None:
    assert "octal" in refusal(header(b"b", mtime=b"99999999999\0"))


def test_base_256_sizes_frame_members_above_eight_gibibytes(tmp_path: Path) -> None:
    size = 9 << 30
    path = tmp_path / "big.tar"
    with path.open("wb") as file_:
        file_.write(header(b"big", size=b"\x80" + size.to_bytes(11)))
        file_.seek(size, os.SEEK_CUR)
        file_.write(header(b"after") + END)
    with path.open("rb") as file_:
        found = [(entry.name, entry.size) for entry in entries(SeekableInput(file_))]
    assert found == [("big", size), ("after", 0)]


def test_a_base_256_time_may_be_negative() -> None:
    assert scan(header(b"a", mtime=(-5).to_bytes(12, signed=True)))[0].mtime == -5


def test_a_negative_size_is_refused_even_after_a_time_of_the_same_bytes() -> None:
    negative = (-512).to_bytes(12, signed=True)
    assert "negative" in refusal(header(b"a", mtime=negative) + header(b"b", size=negative))


def test_a_base_256_number_beyond_64_bits_is_refused() -> None:
    assert "too large" in refusal(header(b"a", size=b"\x80\x01" + bytes(10)))


def test_data_past_the_end_of_the_file_is_refused() -> None:
    assert "member's data" in refusal(header(b"a", size=octal(1 << 30)) + bytes(512))


# Extension headers.


def test_gnu_long_names_replace_name_and_link() -> None:
    archive = (
        extension(b"K", b"t" * 300 + b"\0")
        + extension(b"L", b"n" * 300 + b"\0")
        + header(b"short", flag=b"2", link=b"short")
        + header(b"next")
    )
    first, second = scan(archive)
    assert (first.name, first.link_name, second.name) == ("n" * 300, "t" * 300, "next")


def test_pax_records_apply_to_the_next_member_alone() -> None:
    archive = (
        pax(
            path=b"p" * 200,
            uid=b"3000000",
            gid=b"4000000",
            mtime=b"-1.25",
            uname="ü".encode(),
            gname=b"g",
        )
        + header(b"short")
        + header(b"next")
    )
    first, second = scan(archive)
    assert (first.name, first.uid, first.gid, first.mtime) == ("p" * 200, 3000000, 4000000, -1.25)
    assert (first.user_name, first.group_name) == ("ü", "g")
    assert (second.name, second.uid, second.mtime) == ("next", 0, 0)


@pytest.mark.parametrize("flag", [b"x", b"X"])
def test_a_pax_size_frames_the_member(flag: bytes) -> None:
    archive = extension(flag, record(b"size", b"600")) + header(b"a") + bytes(1024) + header(b"b")
    assert [(e.name, e.size) for e in scan(archive)] == [("a", 600), ("b", 0)]


def test_a_pax_size_frames_the_file_and_not_a_long_name_in_between() -> None:
    archive = pax(size=b"600") + extension(b"L", b"long\0") + header(b"a") + bytes(1024)
    assert [(e.name, e.size) for e in scan(archive)] == [("long", 600)]


def test_xattrs_keep_binary_values() -> None:
    value = b"\x01\0\0\x02=\n\xff"
    archive = extension(b"x", record(b"SCHILY.xattr.security.capability", value)) + header(b"a")
    assert scan(archive)[0].xattrs == {"security.capability": value}


def test_an_empty_pax_value_leaves_the_headers_own() -> None:
    assert scan(pax(path=b"", uname=b"") + header(b"own"))[0].name == "own"


def test_global_records_are_the_default_of_all_later_members() -> None:
    archive = (
        extension(b"g", record(b"uid", b"7") + record(b"comment", b"c"))
        + header(b"a")
        + pax(uid=b"8")
        + header(b"b")
        + header(b"c")
    )
    assert [entry.uid for entry in scan(archive)] == [7, 8, 7]


@pytest.mark.parametrize("key", [b"size", b"path", b"linkpath", b"GNU.sparse.major"])
def test_global_records_that_would_reframe_or_rename_members_are_refused(key: bytes) -> None:
    assert "global" in refusal(extension(b"g", record(key, b"1")) + header(b"a"))


@pytest.mark.parametrize("key", [b"size", b"path", b"linkpath"])
def test_a_decisive_record_with_two_values_is_refused(key: bytes) -> None:
    data = record(key, b"1") + record(key, b"2")
    assert "twice" in refusal(extension(b"x", data) + header(b"a"))


@pytest.mark.parametrize("size", [b"-1", b"1" * 23, b"1e3", b"\xd9\xa1", b"0x10", b"1_0", b" 1"])
def test_a_pax_size_that_is_not_one_is_refused(size: bytes) -> None:
    assert "PAX record size" in refusal(pax(size=size) + header(b"a") + bytes(2048))


@pytest.mark.parametrize("key", ["path", "linkpath", "uname"])
def test_a_nul_in_a_pax_text_is_refused(key: str) -> None:
    assert "NUL" in refusal(pax(**{key: b"a\0b"}) + header(b"a"))


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        b"11 path=a\n",
        b"8 path=a\n",
        b"9 path=a ",
        b"7 path\n\n",
        b"5 =a\n",
        b"+9 path=a\n",
        b"0 path=a\n",
        b"9" * 5000 + b" path=a\n",
        b"12 path=a\nxxx",
    ],
)
def test_a_pax_record_that_breaks_the_syntax_is_refused(data: bytes) -> None:
    assert "syntax" in refusal(extension(b"x", data) + header(b"a"))


@pytest.mark.parametrize(
    "archive",
    [
        extension(b"L", b"one\0") + extension(b"L", b"two\0") + header(b"a"),
        extension(b"K", b"one\0") + extension(b"K", b"two\0") + header(b"a", flag=b"2"),
        pax(path=b"one") + pax(path=b"two") + header(b"a"),
        pax(path=b"one") + extension(b"L", b"two\0") + header(b"a"),
        pax(path=b"one") + extension(b"g", record(b"uid", b"1")) + header(b"a"),
        extension(b"L", b"one\0two\0") + header(b"a"),
        extension(b"L", b"\0") + header(b"a"),
    ],
    ids=["L-L", "K-K", "x-x", "x-L", "x-g", "nul-in-L", "empty-L"],
)
def test_extension_headers_that_readers_would_resolve_differently_are_refused(
    archive: bytes,
) -> None:
    refusal(archive)


def test_a_pax_path_and_a_gnu_name_that_agree_are_accepted() -> None:
    archive = pax(path=b"same") + extension(b"L", b"same\0") + header(b"a")
    assert scan(archive)[0].name == "same"


@pytest.mark.parametrize("end", [b"", END])
def test_an_extension_header_without_a_member_is_refused(end: bytes) -> None:
    assert "no member" in refusal(file(b"a", b"") + pax(path=b"lost") + end)


def test_a_global_header_may_end_an_archive() -> None:
    assert scan(extension(b"g", record(b"comment", b"empty tree")) + END) == []


def test_a_cut_extension_header_is_refused() -> None:
    assert "middle" in refusal((pax(path=b"p" * 900) + header(b"a"))[:1100])


def test_the_size_of_extension_headers_is_checked_before_they_are_read() -> None:
    archive = header(b"x", flag=b"x", size=octal(1 << 32)) + bytes(512)
    with pytest.raises(LimitExceeded):
        list(entries(StreamInput(io.BytesIO(archive).read)))


def test_all_extension_headers_of_a_member_count_together() -> None:
    limits = TarLimits(extension_bytes=4096)
    archive = extension(b"L", b"n" * 1000) + extension(b"K", b"k" * 1000)
    member = header(b"a", flag=b"2")
    assert len(scan((archive + member) * 5, limits=limits)) == 5
    with pytest.raises(LimitExceeded):
        list(entries(StreamInput(io.BytesIO(archive + pax(uid=b"1" * 9) * 3).read), limits=limits))


def test_global_headers_may_not_pile_up() -> None:
    archive = b"".join(
        extension(b"g", record(b"SCHILY.xattr.user.%d" % number, b"v" * 1000)) + header(b"a")
        for number in range(9)
    )
    with pytest.raises(LimitExceeded):
        list(entries(StreamInput(io.BytesIO(archive).read), limits=TarLimits(extension_bytes=8000)))


# Sparse files.


def test_an_old_gnu_sparse_map_is_passed_over_and_flagged() -> None:
    block = bytearray(header(b"s", flag=b"S", magic=b"ustar  \0", size=octal(512)))
    block[482] = 1
    block[483:495] = octal(1 << 32)
    more = bytearray(512)
    more[504] = 1
    archive = checked(bytes(block)) + bytes(more) + bytes(512) + b"d" * 512 + header(b"next")
    first, second = scan(archive)
    assert (first.sparse, first.logical_size, first.size) == (True, 1 << 32, 512)
    assert (first.data_offset, second.name) == (1536, "next")


def sparse_member(maps: int) -> bytes:
    """Build an empty old GNU sparse file with `maps` blocks of map after its header."""
    block = bytearray(header(b"s", flag=b"S", magic=b"ustar  \0"))
    block[482] = maps > 0
    more = bytes(504) + b"\1" + bytes(7)
    return checked(bytes(block)) + more * (maps - 1) + bytes(512)


def test_an_endless_sparse_map_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        list(entries(StreamInput(io.BytesIO(sparse_member(3000)).read)))


def test_the_sparse_maps_of_different_members_do_not_add_up() -> None:
    assert len(scan(sparse_member(1500) * 3)) == 3


def test_a_pax_sparse_file_keeps_its_framing_and_has_its_real_name() -> None:
    records = (
        record(b"GNU.sparse.major", b"1")
        + record(b"GNU.sparse.name", b"real")
        + record(b"GNU.sparse.realsize", b"9999")
        + record(b"path", b"GNUSparseFile.1/real")
    )
    archive = extension(b"x", records) + file(b"stored", b"1\n0\n5\nhello") + header(b"next")
    first, second = scan(archive)
    assert (first.name, first.sparse, first.logical_size, first.size) == ("real", True, 9999, 11)
    assert (second.name, second.sparse, second.logical_size) == ("next", False, 0)


# Reading data.


def in_chunks(size: int) -> Callable[[bytes], TarInput]:
    def build(archive: bytes) -> TarInput:
        stream = io.BytesIO(archive)
        return StreamInput(lambda wanted: stream.read(min(wanted, size)))

    return build


INPUTS: list[Callable[[bytes], TarInput]] = [
    lambda archive: SeekableInput(io.BytesIO(archive)),
    in_chunks(1),
    in_chunks(700),
    in_chunks(1 << 30),
]


@pytest.mark.parametrize("build", INPUTS, ids=["seekable", "1", "700", "all"])
def test_the_current_members_data_can_be_read_whole_in_part_or_not_at_all(
    build: Callable[[bytes], TarInput],
) -> None:
    content = bytes(range(256)) * 20
    archive = b"".join(file(b"f%d" % number, content) for number in range(4)) + END
    reader = TarReader(build(archive))
    seen = []
    for number, entry in enumerate(reader):
        if number == 0:
            seen.append(reader.read_whole(entry, limit=1 << 20))
        if number == 2:
            data = reader.open_data(entry)
            seen.append(data.read(3) + data.read(0) + data.read(3))
    assert len(seen[0]) == len(content)
    assert seen[0] == content
    assert content.startswith(seen[1])


def test_data_ends_where_the_member_does() -> None:
    reader = TarReader(SeekableInput(io.BytesIO(file(b"a", b"data") + file(b"b", b"more"))))
    data = reader.open_data(next(iter(reader)))
    assert [data.read(100), data.read(100), data.read(100)] == [b"data", b"", b""]


def test_data_of_a_member_that_has_passed_cannot_be_read() -> None:
    reader = TarReader(SeekableInput(io.BytesIO(file(b"a", b"data") + file(b"b", b"more"))))
    members = iter(reader)
    stale = reader.open_data(next(members))
    next(members)
    with pytest.raises(ValueError, match="moved on"):
        stale.read(1)


def test_reading_cut_data_is_refused() -> None:
    reader = TarReader(StreamInput(io.BytesIO(file(b"a", b"d" * 512)[:-1]).read))
    entry = next(iter(reader))
    with pytest.raises(MalformedArchive, match="middle"):
        reader.read_whole(entry, limit=1000)


def test_a_member_above_the_limit_is_not_read() -> None:
    reader = TarReader(SeekableInput(io.BytesIO(file(b"a", b"data"))))
    with pytest.raises(LimitExceeded):
        reader.read_whole(next(iter(reader)), limit=3)


def test_indexing_a_file_reads_headers_and_passes_over_data(tmp_path: Path) -> None:
    class Counting(io.FileIO):
        total = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size) or b""
            self.total += len(data)
            return data

    path = tmp_path / "sparse.tar"
    with path.open("wb") as file_:
        for number in range(10):
            file_.write(header(b"%d" % number, size=octal(100 << 20)))
            file_.seek(100 << 20, os.SEEK_CUR)
        file_.write(END)
    with Counting(path) as counting:
        assert len(list(entries(SeekableInput(counting)))) == 10
        assert counting.total < 1 << 20


def test_offsets_point_at_header_and_data() -> None:
    archive = extension(b"L", b"name\0") + file(b"a", b"data") + file(b"b", b"more")
    for entry, data in zip(scan(archive), (b"data", b"more"), strict=True):
        assert archive[entry.data_offset :].startswith(data)
        assert entry.data_offset - entry.header_offset == 512


def test_memory_stays_constant_over_many_members() -> None:
    def produce() -> Callable[[int], bytes]:
        blocks = (
            header(b"file-%d" % n, size=octal(n % 7), mtime=octal(n)) + bytes(512 * (n % 7 > 0))
            for n in range(20_000)
        )
        return lambda _: next(blocks, b"")

    tracemalloc.start()
    try:
        assert sum(1 for _ in entries(StreamInput(produce()))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_real_archive_of_every_type_is_read_as_tarfile_reads_it(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_bytes(b"content")
    (tmp_path / "dir" / "link").symlink_to("file")
    (tmp_path / "dir" / "hard").hardlink_to(tmp_path / "dir" / "file")
    os.mkfifo(tmp_path / "dir" / "fifo")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(tmp_path / "dir", "dir")
    archive_bytes = buffer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(archive_bytes)) as archive:
        expected = [(m.name, m.size, m.mtime, m.linkname, m.uname) for m in archive]
    found = [
        (e.name.rstrip("/"), e.size, e.mtime, e.link_name, e.user_name) for e in scan(archive_bytes)
    ]
    assert found == expected
