"""What a plain header block says beyond its numbers: the kinds of members, sums, long ustar names.

POSIX.1-1988 ustar, with the variants of V7 and GNU.
"""

import zlib
from typing import Final

from msgspec.structs import replace

from ocitool.formats.tar.entry import Entry, EntryType
from ocitool.formats.tar.fields import BadHeader, is_number, text

FLAG_OF_SPARSE: Final = ord("S")
TYPES: Final = {
    0: EntryType.FILE,
    ord("0"): EntryType.FILE,
    ord("1"): EntryType.HARD_LINK,
    ord("2"): EntryType.SYMLINK,
    ord("3"): EntryType.CHARACTER,
    ord("4"): EntryType.BLOCK,
    ord("5"): EntryType.DIRECTORY,
    ord("6"): EntryType.FIFO,
    ord("7"): EntryType.FILE,
    FLAG_OF_SPARSE: EntryType.FILE,
}
WITH_DATA: Final = frozenset({EntryType.FILE, EntryType.OTHER})
"""The kinds whose size field counts bytes that follow; for all others it means nothing."""

_ASCII: Final = bytes(range(128))
_GNU_MAGIC: Final = b"ustar  \0"
_USTAR_MAGIC: Final = b"ustar\x0000"


def sums_of(block: bytes) -> tuple[int, int]:
    """Return two sums of a block's bytes, each plus one: as unsigned and as signed characters."""
    # Adler-32 begins with one. In halves, because 256 bytes of any value stay below its modulus.
    unsigned = sum(zlib.adler32(half) & 0xFFFF for half in (block[:256], block[256:])) - 1
    # Some old writers summed signed characters.
    return unsigned, unsigned - 256 * len(block.translate(None, _ASCII))


def as_directory(entry: Entry) -> Entry:
    """Return a file whose name ends in "/" as the directory that V7 meant by it."""
    if entry.size:
        raise BadHeader("a file whose name ends in '/' has data")
    return replace(entry, type=EntryType.DIRECTORY)


def prefixed(block: bytes, name: str) -> str:
    """Put the ustar prefix before the name, if the field is a prefix at all."""
    magic = block[257:265]
    if magic == _GNU_MAGIC:
        if is_number(block[345:357]) and is_number(block[357:369]):
            return name  # GNU keeps the access and change times there.
    elif magic != _USTAR_MAGIC:
        raise BadHeader("a name prefix in a header that is not ustar")
    # star writes its own mark into the last four bytes of the field.
    end = 476 if block[508:512] == b"tar\0" else 500
    return f"{text(block, 345, end)}/{name}"
