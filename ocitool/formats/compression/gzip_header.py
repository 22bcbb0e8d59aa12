"""The header of a gzip member (RFC 1952, section 2.3)."""

import struct
import zlib
from typing import Final

from ocitool.errors import MalformedArchive

LARGEST: Final = 1 << 18
"""No header of an image tool comes near; without a limit a file name could be gigabytes long."""

_HEADER_CRC: Final = 0x02
_EXTRA: Final = 0x04
_NAME: Final = 0x08
_COMMENT: Final = 0x10
_RESERVED: Final = 0xE0


def header_size(data: bytes, start: int) -> int | None:
    """Return the length of the header at `start` in bytes; None if `data` ends before it does."""
    if len(data) - start < 10:
        return None
    flags = data[start + 3]
    end = start + 10
    if flags & _EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for text in _NAME, _COMMENT:
        if flags & text:
            end = data.find(0, end) + 1
            if not end:
                return None
    if flags & _HEADER_CRC:
        end += 2
    return end - start if end <= len(data) else None


def check_header(header: bytes) -> None:
    """Raise MalformedArchive for reserved flags, or a header checksum that is wrong."""
    flags = header[3]
    if flags & _RESERVED:
        raise MalformedArchive("damaged gzip data: a header with reserved flags")
    if flags & _HEADER_CRC:
        (stated,) = struct.unpack("<H", header[-2:])
        if zlib.crc32(header[:-2]) & 0xFFFF != stated:
            raise MalformedArchive("damaged gzip data: a header's checksum is wrong")
