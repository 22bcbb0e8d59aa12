"""An open blob file of a layout, read as a verified stream or at any offset."""

import contextlib
import os
from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import SizeMismatch
from ocitool.fsops import translated
from ocitool.image.content import Blob, ReadAt
from ocitool.oci import Descriptor


class BlobFile(Struct, frozen=True):
    """The file descriptor of a blob, and what to call the blob in messages."""

    file: int
    where: str


def sized(file: int, size: int, descriptor: Descriptor, where: str, hint: str) -> BlobFile:
    """Return a file that has the promised size; close it and raise SizeMismatch otherwise."""
    if size != descriptor.size:
        os.close(file)
        raise SizeMismatch(
            f"{where} is {size} bytes; its descriptor promises {descriptor.size}", hint=hint
        )
    return BlobFile(file, where)


def stream(blob: BlobFile, descriptor: Descriptor, hint: str) -> Blob:
    """Return a blob as a stream that verifies itself and closes the file."""

    def read(count: int) -> bytes:
        with translated("read", blob.where):
            return os.read(blob.file, count)

    return Blob(descriptor, read, where=blob.where, close=lambda: os.close(blob.file), hint=hint)


@contextlib.contextmanager
def positioned(blob: BlobFile) -> Iterator[ReadAt]:
    """Return a block in which a blob can be read at any offset; the file is closed after it."""
    try:
        with translated("read", blob.where):
            yield lambda offset, size: os.pread(blob.file, size, offset)
    finally:
        os.close(blob.file)
