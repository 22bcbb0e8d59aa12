"""What ocitool writes of a member, read by other readers: Python's tarfile and our own."""

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.formats.tar import EntryType, StreamInput, TarReader
from ocitool.formats.tar.writing import Member, ended, member_header, padding

KINDS = {
    EntryType.FILE: tarfile.REGTYPE,
    EntryType.HARD_LINK: tarfile.LNKTYPE,
    EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.CHARACTER: tarfile.CHRTYPE,
    EntryType.BLOCK: tarfile.BLKTYPE,
    EntryType.DIRECTORY: tarfile.DIRTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE,
}


def archive(*members: tuple[Member, bytes]) -> bytes:
    pieces = []
    for member, data in members:
        pieces += [member_header(member), data, padding(len(data))]
    return b"".join(ended(pieces))


def read_by_tarfile(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return tar.getmembers()


def one(member: Member) -> tarfile.TarInfo:
    (found,) = read_by_tarfile(archive((member, bytes(member.size))))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_member_keeps_what_it_is(kind: EntryType) -> None:
    found = one(
        Member(
            name="a/b",
            type=kind,
            mode=0o6751,
            uid=1000,
            gid=2000,
            mtime=1_700_000_000,
            link_name="c" if "link" in kind else "",
            device=(8, 17),
        )
    )
    assert found.type == KINDS[kind]
    assert (found.name, found.mode, found.uid, found.gid) == ("a/b", 0o6751, 1000, 2000)
    assert found.mtime == 1_700_000_000
    assert found.linkname == ("c" if "link" in kind else "")
    if kind in (EntryType.CHARACTER, EntryType.BLOCK):
        assert (found.devmajor, found.devminor) == (8, 17)


def test_numbers_of_devices_that_are_large() -> None:
    found = one(Member(name="a", type=EntryType.BLOCK, device=(1 << 31, (1 << 40) + 1)))
    assert (found.devmajor, found.devminor) == (1 << 31, (1 << 40) + 1)


def test_a_kind_that_nobody_knows_is_not_written() -> None:
    with pytest.raises(ValueError, match="other"):
        member_header(Member(name="a", type=EntryType.OTHER))


@pytest.mark.parametrize("mtime", [0.5, -1, -1.5, 1_700_000_000.25, 1 << 40])
def test_times_with_a_fraction_before_1970_and_far_away(mtime: float) -> None:
    assert one(Member(name="a", type=EntryType.FILE, mtime=mtime)).mtime == mtime


def test_times_with_more_digits_than_a_float() -> None:
    member = Member(name="a", type=EntryType.FILE, mtime="1700000000.123456789")
    assert b" mtime=1700000000.123456789\n" in member_header(member)
    (entry,) = TarReader(StreamInput(io.BytesIO(archive((member, b""))).read))
    assert entry.exact_mtime == "1700000000.123456789"
    assert entry.mtime == pytest.approx(1_700_000_000.123456789)


def test_large_owners_and_sizes() -> None:
    member = Member(name="a", type=EntryType.FILE, uid=1 << 31, gid=(1 << 32) - 2)
    found = one(member)
    assert (found.uid, found.gid) == (1 << 31, (1 << 32) - 2)
    header = member_header(Member(name="a", type=EntryType.FILE, size=1 << 34))
    assert tarfile.TarInfo.frombuf(header[-512:], "utf-8", "strict").size == 0
    assert b" size=17179869184\n" in header


@pytest.mark.parametrize(
    "name", ["a" * 100, "a" * 101, "d/" * 2000 + "x", "é", "\udcff\udcfe", "a\nb", "\u202ex"]
)
def test_names_of_every_length_and_byte(name: str) -> None:
    assert one(Member(name=name, type=EntryType.FILE)).name == name
    assert one(Member(name="b", type=EntryType.SYMLINK, link_name=name)).linkname == name


def test_extended_attributes_of_any_bytes() -> None:
    value = bytes(range(256))
    member = Member(name="a", type=EntryType.FILE, xattrs={"security.capability": value})
    (entry,) = TarReader(StreamInput(io.BytesIO(archive((member, b""))).read))
    assert entry.xattrs == {"security.capability": value}
    assert b"SCHILY.xattr.security.capability=" + value + b"\n" in member_header(member)


def test_the_end_fills_a_record_and_equal_members_give_equal_bytes() -> None:
    member = Member(name="a", type=EntryType.FILE, size=3, xattrs={"user.b": b"1", "user.a": b"2"})
    other = Member(name="a", type=EntryType.FILE, size=3, xattrs={"user.a": b"2", "user.b": b"1"})
    data = archive((member, b"abc"))
    assert len(data) % 10240 == 0
    assert data == archive((other, b"abc"))


@pytest.mark.parametrize("size", [0, 5, 8 << 30, 1 << 35])
@pytest.mark.parametrize("name", ["blobs/sha256/" + "a" * 64, "blobs/sha512/" + "b" * 128])
def test_a_plain_file_has_the_bytes_that_tarfile_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    expected = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    assert member_header(Member(name=name, type=EntryType.FILE, size=size)) == expected


text = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1).map(
    lambda text: text.strip("/") or "x"
)


@given(
    name=text,
    link=text,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 1),
    mtime=st.one_of(st.integers(-(1 << 33), 1 << 40), st.floats(-1e10, 1e10, allow_nan=False)),
    xattrs=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="=\0"), min_size=1),
        st.binary(min_size=1),
        max_size=3,
    ),
)
def test_our_reader_reads_back_what_is_written(
    name: str, link: str, mode: int, uid: int, mtime: float, xattrs: dict[str, bytes]
) -> None:
    member = Member(
        name=name,
        type=EntryType.SYMLINK,
        mode=mode,
        uid=uid,
        mtime=mtime,
        link_name=link,
        xattrs=xattrs,
    )
    reader: Callable[[int], bytes] = io.BytesIO(archive((member, b""))).read
    (entry,) = TarReader(StreamInput(reader))
    assert (entry.name, entry.link_name, entry.mode, entry.uid) == (name, link, mode, uid)
    assert entry.mtime == pytest.approx(mtime, abs=1e-9)
    assert entry.xattrs == xattrs
