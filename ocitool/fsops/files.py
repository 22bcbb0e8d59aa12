"""Files on their way to a name: unpacked, staged and renamed, appended to, or set aside."""

import contextlib
import os
import stat
from typing import Self

from ocitool.errors import IntegrityError, OcitoolError
from ocitool.fsops.descriptors import (
    Writeback,
    nanoseconds,
    set_attribute,
    write_all,
)
from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated


class NewFile:
    """A file that is being unpacked. A context manager, which closes it at the end."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def create(cls, directory: Directory, name: str) -> Self:
        """Make an empty file (mode 0600); a name that is taken is a StorageError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = directory.child(name)
        with translated("make the file", path):
            return cls(os.open(name, flags, 0o600, dir_fd=directory.descriptor), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Write all of `data` at the end."""
        with translated("write", self._path):
            write_all(self._descriptor, data)

    def set_attribute(self, attribute: str, value: bytes) -> bool:
        """Set an extended attribute; False where that is not possible."""
        return set_attribute(self._descriptor, attribute, value)

    def describe(self, *, mode: int, owner: tuple[int, int] | None, seconds: float) -> None:
        """Set the owner (user, group), the mode and the time, in this order."""
        with translated("change the owner or mode of", self._path):
            # A change of the owner clears the set-user-ID bit, so the mode is set after it.
            if owner is not None:
                os.fchown(self._descriptor, *owner)
            os.fchmod(self._descriptor, mode)
            at = nanoseconds(seconds)
            os.utime(self._descriptor, ns=(at, at))


class TemporaryFile:
    """A private file until `publish` gives it its final name. Ends with `publish` or `discard`."""

    def __init__(self, directory: Directory, name: str, descriptor: int) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = descriptor
        self._writeback = Writeback(descriptor)

    @classmethod
    def create(cls, directory: Directory, prefix: str) -> Self:
        """Make an empty file (mode 0600) with a fresh name that begins with `prefix`."""
        name = prefix + os.urandom(8).hex()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated("create a temporary file in", directory.path):
            return cls(directory, name, os.open(name, flags, 0o600, dir_fd=directory.descriptor))

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        with translated("write", self._directory.child(self._name)):
            write_all(self._descriptor, data)
        self._writeback.wrote(len(data))

    def publish(
        self, directory: Directory, name: str, mode: int = 0o666, *, durable: bool = True
    ) -> None:
        """Make the file durable and give it its final name, replacing what had that name.

        The mode is `mode` less the umask. The name itself is durable after `directory.sync()`.
        Set `durable` to False only for a file that this process removes again, or that tells by a
        checksum whether it is whole.
        """
        with translated("write", directory.child(name)):
            directory.finish_file(self._descriptor, mode, durable=durable)
        self._directory.move(self._name, directory, name)
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


def replace_file(directory: Directory, name: str, data: bytes, *, staging: Directory) -> None:
    """Write a small file atomically and durably, replacing what had that name.

    The content is written in `staging` first, a folder of the same file system.
    """
    temporary = TemporaryFile.create(staging, f"{name}.")
    try:
        temporary.write(data)
        temporary.publish(directory, name)
    finally:
        temporary.discard()
    directory.sync()


def append_to_file(directory: Directory, name: str, data: bytes) -> None:
    """Add bytes to the end of a file, durably; makes the file if it is missing."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    # Without O_NONBLOCK, opening a FIFO of that name would block for ever.
    flags |= os.O_NONBLOCK
    with translated("append to", directory.child(name)):
        descriptor = directory.open_to_write(name, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise IntegrityError(f"{directory.child(name)!r} is not a regular file")
            # An empty file may be new, and then its name must be durable as well.
            if status.st_size == 0:
                os.fsync(directory.descriptor)
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def allocate_file(directory: Directory, name: str, size: int) -> None:
    """Make or grow a file of zeros whose space is really allocated; if that fails it is removed."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with translated("set space aside in", directory.child(name)):
        descriptor = directory.open_to_write(name, flags)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            os.unlink(name, dir_fd=directory.descriptor)
            raise
        finally:
            os.close(descriptor)


def write_control(path: str, word: str) -> None:
    """Write a word to a file by which the kernel is told what to do; StorageError if it refuses."""
    with translated("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(descriptor, word.encode("ascii"))
        finally:
            os.close(descriptor)


class LogFile:
    """A file to which lines are added; it may be moved away meanwhile. A context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with translated("write to the log", self.path):
            return os.open(self.path, flags, 0o640)

    def write(self, line: str) -> None:
        """Add a line. May be called from several threads."""
        with translated("write to the log", self.path):
            write_all(self._descriptor, f"{line}\n".encode())

    def reopen(self) -> None:
        """Go on in a new file of the same path; if that fails, in the old one."""
        with contextlib.suppress(OcitoolError):
            fresh = self._open()
            # The number stays the same, for threads that are writing.
            os.dup2(fresh, self._descriptor, inheritable=False)
            os.close(fresh)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
