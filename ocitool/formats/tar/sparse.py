"""Sparse files: from a map and the parts between the holes to the whole content.

The GNU tar manual, "Storing Sparse Files" and "Sparse Formats": the old GNU form has the map in
header blocks, PAX 0.0 and 0.1 in records, PAX 1.0 in front of the data.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.tar.data import MemberData
from ocitool.formats.tar.entry import Entry
from ocitool.formats.tar.inputs import STREAM_CHUNK, StreamInput
from ocitool.formats.tar.reader import TarReader
from ocitool.oci.quoting import quoted

_BLOCK: Final = 512
_LONGEST: Final = 19
_MOST_MAP: Final = 1 << 20
"""Bytes of a map in front of the data, as PAX 1.0 has it."""
_DIGITS: Final = re.compile(rb"[0-9]{1,19}")
_ZEROS: Final = bytes(STREAM_CHUNK)
_Extents = list[tuple[int, int]]


def sparse_content(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the content of the sparse file whose headers `read` begins with, holes as zeros.

    Raises MalformedArchive, LimitExceeded for a huge map.
    """
    reader = TarReader(StreamInput(read))
    for entry in reader:
        yield from filled(entry, reader.open_data(entry))
        return


def filled(entry: Entry, data: MemberData) -> Iterator[bytes]:
    """Yield the content of a sparse file from its data, holes as zeros; errors as above."""
    try:
        stored = entry.size
        if entry.sparse_map is None:
            extents, taken = _map_before(data)
            stored -= taken
        else:
            extents = _extents(entry.sparse_map.split(b",") if entry.sparse_map else [])
        _check(extents, stored, entry.logical_size)
    except ValueError as error:
        raise MalformedArchive(f"the map of the sparse file {quoted(entry.name)} {error}") from None
    position = 0
    for start, size in extents:
        yield from _hole(start - position)
        yield from _part(data, size)
        position = start + size
    yield from _hole(entry.logical_size - position)


def _map_before(data: MemberData) -> tuple[_Extents, int]:
    """Return the map in front of the data, and how many bytes it takes, filled up to a block."""
    rest, taken, numbers = b"", 0, list[bytes]()
    wanted = 1
    while len(numbers) < wanted:
        block = _exactly(data, _BLOCK)
        taken += _BLOCK
        if taken > _MOST_MAP:
            raise LimitExceeded(f"the map of a sparse file has more than {_MOST_MAP} bytes")
        *lines, rest = (rest + block).split(b"\n")
        numbers += lines
        if numbers and wanted == 1:
            wanted = 1 + 2 * _number(numbers[0])
        if len(numbers) < wanted and len(rest) > _LONGEST:
            raise ValueError("has something that is not a number")
    return _extents(numbers[1:wanted]), taken


def _exactly(data: MemberData, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        piece = data.read(size - len(pieces))
        if not piece:
            raise ValueError("ends too early")
        pieces += piece
    return pieces


def _extents(numbers: list[bytes]) -> _Extents:
    """Return where each part begins and how long it is."""
    if len(numbers) % 2:
        raise ValueError("has a part without a size")
    found = [_number(text) for text in numbers]
    return list(zip(found[::2], found[1::2], strict=True))


def _number(text: bytes) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise ValueError("has something that is not a number")
    return int(text)


def _check(extents: _Extents, stored: int, whole: int) -> None:
    """Raise ValueError unless the parts are in order, in the file, and all of the data."""
    position = 0
    for start, size in extents:
        if start < position:
            raise ValueError("has parts that overlap or are not in order")
        position = start + size
    if position > whole:
        raise ValueError("has a part behind the end of the file")
    if sum(size for _, size in extents) != stored:
        raise ValueError("is not that of its data")


def _hole(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)


def _part(data: MemberData, size: int) -> Iterator[bytes]:
    while size:
        piece = data.read(min(size, STREAM_CHUNK))
        size -= len(piece)
        yield piece
