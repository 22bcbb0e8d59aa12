"""Blobs as bodies of requests: in one piece or in several, and readable again for a retry."""

import contextlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import httpx

from ocitool.fsops import scratch_file, spooling, translated, write_all
from ocitool.image.content import Blob
from ocitool.oci import Descriptor
from ocitool.oci.limits import MEBIBYTE

_PIECE = MEBIBYTE

OpenBlob = Callable[[], Blob]


class Content:
    """A blob that becomes the bodies of requests. Not thread-safe.

    It stays open from one body to the next; a body that does not begin where the last one ended
    opens it anew. `failed` says that reading the blob went wrong, and not the network.
    """

    def __init__(self, open_blob: OpenBlob) -> None:
        self._open_blob = open_blob
        self._blob: Blob | None = None
        self._position = 0
        self.failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def body(self, start: int, length: int) -> "Body":
        """Return `length` bytes from `start` as the body of a request."""
        return Body(self, start, length)

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """Yield these bytes in pieces of up to 1 MiB; raises what the source raises."""
        end = start + length
        if length:
            self._seek(start)
        while self._position < end and (part := self._read(end - self._position)):
            yield part

    def _seek(self, start: int) -> None:
        if self._blob is None or self._position != start:
            self._close()
        while self._position < start and self._read(start - self._position):
            pass

    def _read(self, most: int) -> bytes:
        self.failed = True
        if self._blob is None:
            self._blob = self._open_blob()
        part = self._blob.read(min(most, _PIECE))
        self.failed = False
        self._position += len(part)
        return part

    def _close(self) -> None:
        blob, self._blob, self._position = self._blob, None, 0
        if blob is not None:
            blob.close()


class Body(httpx.SyncByteStream):
    """Some bytes of a blob, read anew whenever they have to be sent. `length` is in bytes."""

    def __init__(self, content: Content, start: int, length: int) -> None:
        self._content = content
        self._start = start
        self.length = length

    @property
    def source_failed(self) -> bool:
        """Whether reading the blob went wrong, and not sending it."""
        return self._content.failed

    def __iter__(self) -> Iterator[bytes]:
        return self._content.pieces(self._start, self.length)


@contextlib.contextmanager
def spool_blob(
    descriptor: Descriptor, open_blob: OpenBlob, scratch: str | None
) -> Iterator[OpenBlob]:
    """Fetch a blob to the disk, verified, and yield what opens it there.

    `scratch` is the folder for that; the file has no name and vanishes with the block.
    """
    file = scratch_file(scratch)
    try:
        with open_blob() as blob:
            while part := blob.read(_PIECE):
                with spooling(scratch):
                    write_all(file, part)
        yield lambda: _open_copy(descriptor, file)
    finally:
        os.close(file)


def _open_copy(descriptor: Descriptor, file: int) -> Blob:
    position, where = 0, f"the copy of {descriptor.digest.short}"

    def read(size: int) -> bytes:
        nonlocal position
        with translated("read", where):
            part = os.pread(file, size, position)
        position += len(part)
        return part

    return Blob(descriptor, read, where=where)
