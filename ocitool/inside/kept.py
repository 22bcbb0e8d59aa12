"""The tars of layers that were read once, kept in files without a name until they are not needed.

Reading a layer again costs as much as the first time, or a second download.
"""

import os
import threading
from collections.abc import Callable
from typing import Self

from ocitool.fsops import scratch_file, spooling, write_all
from ocitool.oci import Descriptor, Digest

Read = Callable[[int], bytes]


class KeptTars:
    """Tars of layers in the folder `scratch`, by default /var/tmp. Thread-safe; a context manager.

    Only what was read is kept: of a layer up to the end of its tar.
    """

    def __init__(self, scratch: str | None) -> None:
        self._scratch = scratch
        self._files: dict[Digest, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

    def beside(self, layer: Descriptor, read: Read) -> Read:
        """Return what reads the same tar, and keeps it. StorageError if there is no room."""
        descriptor = scratch_file(self._scratch)
        with self._lock:
            self._files[layer.digest] = descriptor

        def read_and_keep(size: int) -> bytes:
            data = read(size)
            with spooling(self._scratch):
                write_all(descriptor, data)
            return data

        return read_and_keep

    def read_at(self, layer: Descriptor) -> Callable[[int, int], bytes] | None:
        """Return what reads (offset, size) of the tar of a layer; None if it was not kept."""
        with self._lock:
            descriptor = self._files.get(layer.digest)
        if descriptor is None:
            return None
        return lambda offset, size: os.pread(descriptor, size, offset)
