"""Headers of members, and the end of a tar: what ocitool writes, equal for equal values.

Plain ustar where that can hold a member. Otherwise PAX records before it (POSIX.1-2001, "pax
Interchange Format"), in the order of their keys: names that are long or not ASCII, owners of more
than seven octal digits, sizes from 8 GiB on, times with a fraction or before 1970, and extended
attributes. A name that is not UTF-8 keeps its bytes, as GNU tar and Go write and read it.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from ocitool.formats.tar.entry import EntryType

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK

_USTAR: Final = struct.Struct("100s 8s 8s 8s 12s 12s 8s 1s 100s 8s 32s 32s 8s 8s 155s 12x")
_FLAGS: Final = {
    EntryType.FILE: b"0",
    EntryType.HARD_LINK: b"1",
    EntryType.SYMLINK: b"2",
    EntryType.CHARACTER: b"3",
    EntryType.BLOCK: b"4",
    EntryType.DIRECTORY: b"5",
    EntryType.FIFO: b"6",
}
_DEVICES: Final = (EntryType.CHARACTER, EntryType.BLOCK)
_EXTENSION: Final = b"x"
_EXTENSION_NAME: Final = b"././@PaxHeader"
_LARGEST_SHORT: Final = 0o7777777
_LARGEST_LONG: Final = 0o77777777777
_NAME: Final = 100
_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class Member(Struct, frozen=True, kw_only=True, gc=False):
    """What a header says of one member, as `Entry` says it of one that was read.

    `size` are the bytes that follow, `mtime` seconds since 1970, also as their digits. `name` and
    `link_name` are written as they are, except that a directory's name ends in "/".
    """

    name: str
    type: EntryType
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float | str = 0
    link_name: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = _NO_XATTRS


def member_header(member: Member) -> bytes:
    """Return the header of a member, with its extension header before it if it needs one.

    ValueError for a member of the type `OTHER`.
    """
    flag = _FLAGS.get(member.type)
    if flag is None:
        raise ValueError(f"a member of the type {member.type} cannot be written")
    name, link = _raw(member.name), _raw(member.link_name)
    if member.type is EntryType.DIRECTORY:
        name = name.rstrip(b"/") + b"/"
    records = _records(member, name, link)
    block = _block(member, flag, name, link)
    return _extension(records) + block if records else block


def padding(size: int) -> bytes:
    """Return the zeros that follow a member's data of `size` bytes."""
    return bytes(-size % BLOCK)


def ended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an archive, and its end: two zero blocks, filled up to a record."""
    position = 0
    for piece in pieces:
        if piece:
            position += len(piece)
            yield piece
    position += 2 * BLOCK
    yield bytes(2 * BLOCK + -position % RECORD)


def in_chunks(pieces: Iterable[bytes], size: int = 1 << 18) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least `size`: a tar of small files has three for each.

    The last piece may be smaller, or empty.
    """
    waiting, count = list[bytes](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= size:
            yield b"".join(waiting)
            waiting, count = [], 0
    yield b"".join(waiting)


def _records(member: Member, name: bytes, link: bytes) -> dict[str, bytes]:
    """Return what a plain header cannot hold."""
    records = {
        key: text
        for key, text in (("path", name), ("linkpath", link))
        if len(text) > _NAME or not text.isascii()
    }
    for key, number, most in (
        ("uid", member.uid, _LARGEST_SHORT),
        ("gid", member.gid, _LARGEST_SHORT),
        ("size", member.size, _LARGEST_LONG),
    ):
        if not 0 <= number <= most:
            records[key] = b"%d" % number
    seconds = float(member.mtime)
    is_plain = 0 <= seconds <= _LARGEST_LONG and seconds.is_integer()
    if not is_plain or isinstance(member.mtime, str):
        records["mtime"] = _time(member.mtime)
    for attribute, value in member.xattrs.items():
        records[f"SCHILY.xattr.{attribute}"] = value
    return records


def _extension(records: Mapping[str, bytes]) -> bytes:
    data = b"".join(_record(_raw(key), records[key]) for key in sorted(records))
    about = Member(name="", type=EntryType.FILE, size=len(data), mode=0)
    return _block(about, _EXTENSION, _EXTENSION_NAME, b"") + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """Return `length key=value newline`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    size = rest + len(str(size))
    return b"%d %s=%s\n" % (size, key, value)


def _block(member: Member, flag: bytes, name: bytes, link: bytes) -> bytes:
    device = [b"", b""]
    if member.type in _DEVICES:
        device = [_device(number) for number in member.device]
    fields = [
        name[:_NAME],
        _digits(member.mode & 0o7777, 8),
        _digits(member.uid, 8),
        _digits(member.gid, 8),
        _digits(member.size, 12),
        _digits(int(max(0, float(member.mtime))), 12),
        b" " * 8,
        flag,
        link[:_NAME],
        b"ustar\x0000",
        b"",
        b"",
        *device,
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_USTAR.pack(*fields))
    return _USTAR.pack(*fields)


def _digits(number: int, width: int) -> bytes:
    """Return octal digits and a NUL; zero where a PAX record holds what does not fit."""
    largest = 8 ** (width - 1) - 1
    return b"%0*o\0" % (width - 1, number if 0 <= number <= largest else 0)


def _device(number: int) -> bytes:
    """Return the number of a device: no PAX record holds it, so a large one is in base 256."""
    if 0 <= number <= _LARGEST_SHORT:
        return _digits(number, 8)
    return bytes([0x80]) + (number & ((1 << 56) - 1)).to_bytes(7, "big")


def _time(seconds: float | str) -> bytes:
    """Return a time in decimal digits, as exact as it was read."""
    text = seconds if isinstance(seconds, str) else repr(seconds)
    if isinstance(seconds, float) and "e" in text:
        text = f"{seconds:.9f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).encode()


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
