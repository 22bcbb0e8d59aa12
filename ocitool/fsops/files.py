"""Files that are being written: one that is unpacked, and one on its way to its final name."""

import contextlib
import os
from typing import Protocol, Self

from ocitool.fsops.descriptors import Writeback, nanoseconds, set_attribute, settle, write_all
from ocitool.fsops.failures import translated


class Folder(Protocol):
    """What a temporary file needs of the directory that holds it, or that will."""

    descriptor: int

    def child(self, name: str) -> str:
        """Return the path of a name, for messages."""

    def move_as(self, name: str, directory: Self, other: str) -> None:
        """Give what has a name another name in a directory, over whatever had it."""


class NewFile:
    """A file that is being unpacked. Use it as a context manager; it is closed at the end."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Write all of `data` at the end."""
        with translated("write", self._path):
            write_all(self._descriptor, data)

    def set_attribute(self, attribute: str, value: bytes) -> bool:
        """Give the file an extended attribute; False where that is not possible."""
        return set_attribute(self._descriptor, attribute, value)

    def describe(self, *, mode: int, owner: tuple[int, int] | None, seconds: float) -> None:
        """Set the owner (user, group), the mode and the time, in this order.

        A change of the owner clears the set-user-ID bit, so the mode comes after it.
        """
        with translated("change the owner or mode of", self._path):
            if owner is not None:
                os.fchown(self._descriptor, *owner)
            os.fchmod(self._descriptor, mode)
            at = nanoseconds(seconds)
            os.utime(self._descriptor, ns=(at, at))


class TemporaryFile:
    """A private file on its way to its final name. Close it with `publish` or `discard`."""

    def __init__(self, directory: Folder, name: str, descriptor: int) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = descriptor
        self._writeback = Writeback(descriptor)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        with translated("write", self._directory.child(self._name)):
            write_all(self._descriptor, data)
        self._writeback.wrote(len(data))

    def publish(
        self, directory: Folder, name: str, mode: int = 0o666, *, durable: bool = True
    ) -> None:
        """Make the file durable and give it its final name, over whatever had the name.

        The mode is `mode` less the umask. The name itself is durable after `directory.sync()`.
        What ends with this process need not be `durable`.
        """
        with translated("write", directory.child(name)):
            settle(self._descriptor, mode, durable=durable)
        self._directory.move_as(self._name, directory, name)
        self._close()

    def discard(self) -> None:
        """Remove the file unless it was published; harmless when repeated."""
        if self._descriptor >= 0:
            self._close()
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory.descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
