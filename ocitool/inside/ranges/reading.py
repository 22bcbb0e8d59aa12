"""Parts of a stored layer, read by ranges."""

from collections.abc import Iterator
from typing import Self

from ocitool.errors import DigestMismatch, SizeMismatch
from ocitool.formats.compression import CHUNK_SIZE, DecompressingReader
from ocitool.image.content import NoRanges, OpenRange, RangeStream
from ocitool.inside.ranges.toc import Chunk

__all__ = ["NoRanges", "RangeReader", "read_chunk", "read_range"]


class RangeReader:
    """The stored bytes from `start` to `end` as a stream; a context manager.

    Raises NoRanges if the place sends only whole blobs.
    """

    def __init__(self, open_range: OpenRange, start: int, end: int) -> None:
        self._stream: RangeStream = open_range(start, end)
        self._left = end - start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end of the range."""
        size = min(size, self._left)
        data = bytes(self._stream.read(size)) if size > 0 else b""
        self._left -= len(data)
        return data


def read_range(open_range: OpenRange, start: int, end: int) -> bytes:
    """Return the stored bytes from `start` to `end`; SizeMismatch if the place ends before."""
    with RangeReader(open_range, start, end) as reader:
        data = b"".join(iter(lambda: reader.read(CHUNK_SIZE), b""))
    if len(data) != end - start:
        raise SizeMismatch(f"{end - start} bytes were asked for, and {len(data)} came")
    return data


def read_chunk(open_range: OpenRange, chunk: Chunk, what: str) -> Iterator[bytes]:
    """Yield a chunk of a file; DigestMismatch at its end unless it is what the table promises."""
    if chunk.digest is None:
        yield from _zeros(chunk.size)
        return
    hasher = chunk.digest.hasher()
    with RangeReader(open_range, chunk.start, chunk.end) as raw:
        for part in _unpacked(DecompressingReader(raw), chunk):
            hasher.update(part)
            yield part
    actual = type(chunk.digest).from_hasher(chunk.digest.algorithm, hasher)
    if actual != chunk.digest:
        raise DigestMismatch(
            f"{what} is damaged: its bytes hash to {actual}, and the layer's table of contents "
            f"promises {chunk.digest}"
        )


def _unpacked(reader: DecompressingReader, chunk: Chunk) -> Iterator[bytes]:
    """Yield the bytes of a chunk, without those before and after it."""
    left = chunk.inner
    while left and (part := reader.read(min(left, CHUNK_SIZE))):
        left -= len(part)
    left = chunk.size
    while left and (part := reader.read(min(left, CHUNK_SIZE))):
        left -= len(part)
        yield part


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, CHUNK_SIZE))
        size -= CHUNK_SIZE
