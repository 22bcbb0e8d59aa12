"""A file that is written in any order, such as a blob fetched over several connections."""

import contextlib
import os
import stat

from ocitool.fsops.descriptors import write_all
from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated


class PartFile:
    """A file that is written in any order, over several runs, until it gets its final name.

    Only one process has it open at a time. A journal beside it says which parts were written. The
    journal is never synced, so what it says must be verified before it is relied upon.
    """

    def __init__(self, directory: Directory, name: str, descriptor: int, journal: int) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = descriptor
        self._journal = journal

    @classmethod
    def open(cls, directory: Directory, name: str) -> "PartFile | None":
        """Open or make a part file in a folder; None while another process has it open.

        Takes over `directory`: it is closed with the file, or at once if the result is None.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.ExitStack() as undo, translated("open", directory.child(name)):
            undo.callback(directory.close)
            descriptor = os.open(name, flags, 0o600, dir_fd=directory.descriptor)
            undo.callback(os.close, descriptor)
            if not _is_ours_alone(descriptor, directory, name):
                return None
            journal = os.open(
                cls.journal_name(name), flags | os.O_APPEND, 0o600, dir_fd=directory.descriptor
            )
            directory.share(descriptor)
            directory.share(journal)
            undo.pop_all()
        return cls(directory, name, descriptor, journal)

    @staticmethod
    def journal_size(directory: Directory, name: str) -> int:
        """Return the size of the journal in bytes; another process may have the file open."""
        return directory.size_of(PartFile.journal_name(name)) or 0

    @staticmethod
    def journal_name(name: str) -> str:
        """Return the name of the journal of a file."""
        return f"{name}.ranges"

    def size(self) -> int:
        """Return the length in bytes, gaps included."""
        return os.fstat(self._descriptor).st_size

    def duplicate(self) -> int:
        """Return another descriptor of the file, which the caller closes."""
        with translated("open", self._directory.child(self._name)):
            return os.dup(self._descriptor)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        with translated("read", self._directory.child(self._name)):
            return os.pread(self._descriptor, size, offset)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`. May be called from several threads."""
        view = memoryview(data)
        with translated("write", self._directory.child(self._name)):
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view, offset = view[written:], offset + written

    def begin_to_sync(self, start: int, end: int) -> None:
        """Ask the kernel to start writing these bytes to the disk; promises nothing."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, start, end - start, os.POSIX_FADV_DONTNEED)

    def note(self, line: bytes) -> None:
        """Add a line to the journal."""
        with translated("write", self._directory.child(self.journal_name(self._name))):
            write_all(self._journal, line)

    def notes(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the journal."""
        return os.pread(self._journal, limit, 0)

    def empty(self) -> None:
        """Truncate the file and its journal."""
        with translated("write", self._directory.child(self._name)):
            os.ftruncate(self._journal, 0)
            os.ftruncate(self._descriptor, 0)

    def publish(
        self, directory: Directory, name: str, mode: int = 0o666, *, durable: bool = True
    ) -> None:
        """Make the file durable and give it its final name, replacing what had that name.

        The mode is `mode` less the umask. The name itself is durable after `directory.sync()`.
        Set `durable` to False only for a file that this process removes again.
        """
        with translated("write", directory.child(name)):
            directory.finish_file(self._descriptor, mode, durable=durable)
        self._directory.move(self._name, directory, name)
        self._forget_journal()
        self.close()

    def discard(self) -> None:
        """Remove the file and its journal; harmless when repeated."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory.descriptor)
            self._forget_journal()
            self.close()

    def close(self) -> None:
        """Close the file and keep it for the next run; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(self._journal)
            os.close(descriptor)
            self._directory.close()

    def _forget_journal(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.journal_name(self._name), dir_fd=self._directory.descriptor)


def _is_ours_alone(descriptor: int, directory: Directory, name: str) -> bool:
    """Lock a file; False if another process has the lock, or the file lost its name meanwhile."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
    except (BlockingIOError, FileNotFoundError):
        return False
    opened = os.fstat(descriptor)
    same = (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino)
    return same and stat.S_ISREG(opened.st_mode)
