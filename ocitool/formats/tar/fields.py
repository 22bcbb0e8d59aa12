"""The fields of a tar header: NUL-terminated texts, octal digits, base-256 numbers."""

import struct
from typing import Final

LARGEST: Final = (1 << 63) - 1
_SPARSE: Final = struct.Struct("12s12s")


class BadHeader(Exception):
    """What is wrong with a header; only the reader knows at which byte."""


def number(field: bytes) -> int:
    """Decode a numeric field: octal digits, or base-256 if the first bit is set."""
    if field[0] & 0x80:
        found = _base_256(field)
        if not -LARGEST <= found <= LARGEST:
            raise BadHeader("a number too large for any file")
        return found
    digits = octal(field)
    if digits is None:
        raise BadHeader("a numeric field that is not octal")
    return digits


def is_number(field: bytes) -> bool:
    """Tell whether a numeric field is well-formed."""
    try:
        number(field)
    except BadHeader:
        return False
    return True


def text(block: bytes, start: int, end: int) -> str:
    """Decode a field up to its first NUL."""
    nul = block.find(0, start, end)
    return block[start : end if nul < 0 else nul].decode("utf-8", "surrogateescape")


def old_gnu_map(fields: bytes) -> bytes:
    """Return where the parts of a sparse file belong as PAX 0.1 writes it: `offset,size,...`.

    What is not a number becomes `?`: only who wants the content has to be told.
    """
    found = []
    for start, size in _SPARSE.iter_unpack(fields):
        if not start[0]:
            break
        found += [start, size]
    return b",".join(b"%d" % number(field) if is_number(field) else b"?" for field in found)


def octal(field: bytes) -> int | None:
    """Decode octal digits among spaces and NULs; 0 without digits, None if malformed."""
    digits = field.strip(b" \0")
    # int() alone would also accept "_", "+" and "0o".
    if not digits.isdigit():
        return None if digits else 0
    try:
        return int(digits, 8)
    except ValueError:
        return None


def _base_256(field: bytes) -> int:
    """Decode a two's complement number after the bit that marks base-256."""
    number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    bits = 8 * len(field) - 1
    return number - (1 << bits) if field[0] & 0x40 else number
