"""The inputs of the tar reader: a file, or a stream."""

from collections.abc import Callable
from typing import Final, Protocol

STREAM_CHUNK: Final = 1 << 20
SEEKABLE_CHUNK: Final = 1 << 14


class TarInput(Protocol):
    """The source of the bytes of a tar. Not thread-safe."""

    @property
    def chunk_size(self) -> int:
        """How many bytes to read at a time when looking for headers."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""

    def skip(self, size: int, /) -> int:
        """Skip `size` bytes; return how many were skipped, fewer only at the end."""


class SeekableFile(Protocol):
    """The part of a binary file that `SeekableInput` needs."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to `offset` and return the new position."""


class SeekableInput:
    """A tar in a file: data is skipped by seeking, so listing the members reads only headers.

    Starts at the beginning of the file. The position is set before every read, so the caller may
    move it in between. The size is read once, at construction.
    """

    __slots__ = ("_file", "_offset", "_size")

    chunk_size = SEEKABLE_CHUNK

    def __init__(self, file: SeekableFile) -> None:
        self._file = file
        self._offset = 0
        self._size = file.seek(0, 2)

    @property
    def offset(self) -> int:
        """How many bytes of the file were read or skipped."""
        return self._offset

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the file, at most `size`."""
        self._file.seek(self._offset, 0)
        data = self._file.read(size)
        self._offset += len(data)
        return data

    def skip(self, size: int, /) -> int:
        """Skip `size` bytes, but not past the end; return how many were skipped."""
        skipped = min(size, max(0, self._size - self._offset))
        self._offset += skipped
        return skipped


class PositionedInput:
    """A tar that can be read at any offset, such as one inside an archive; data is passed over.

    `read_at(offset, n)` must return at most `n` bytes, and `b""` only at the end.
    """

    __slots__ = ("_offset", "_read_at", "_size")

    chunk_size = SEEKABLE_CHUNK

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self._offset = 0
        self._size = size

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`."""
        data = self._read_at(self._offset, min(size, self._size - self._offset))
        self._offset += len(data)
        return data

    def skip(self, size: int, /) -> int:
        """Skip `size` bytes, but not past the end; return how many were skipped."""
        skipped = min(size, self._size - self._offset)
        self._offset += skipped
        return skipped


class StreamInput:
    """A tar in a stream: data is skipped by reading it.

    `read(n)` must return at most `n` bytes, and `b""` only at the end.
    """

    __slots__ = ("_read",)

    chunk_size = STREAM_CHUNK

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the stream, at most `size`."""
        return self._read(size)

    def skip(self, size: int, /) -> int:
        """Read and discard `size` bytes; return how many there were."""
        left = size
        while left > 0:
            data = self._read(min(left, STREAM_CHUNK))
            if not data:
                break
            left -= len(data)
        return size - left
