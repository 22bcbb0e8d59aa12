"""A file that fills up in any order, such as a blob that comes over several connections."""

import contextlib
import os
import stat

from ocitool.fsops.descriptors import finish_file, write_all
from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated


class PartFile:
    """A file that fills up in any order, over several processes, on its way to its final name.

    Whoever has it open has it alone. Beside it lies a journal of lines, `journal`, for which
    nothing is promised: what it says has to be checked before it is relied upon.
    """

    def __init__(self, directory: Directory, name: str, descriptor: int, journal: int) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = descriptor
        self._journal = journal

    @classmethod
    def open(cls, directory: Directory, name: str) -> "PartFile | None":
        """Open or make a part file in a folder; None while somebody else has it open.

        The folder is closed with the file, and at once when there is none.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.ExitStack() as undo, translated("open", directory.child(name)):
            undo.callback(directory.close)
            descriptor = os.open(name, flags, 0o600, dir_fd=directory.descriptor)
            undo.callback(os.close, descriptor)
            if not _is_ours_alone(descriptor, directory, name):
                return None
            journal = os.open(
                _journal_name(name), flags | os.O_APPEND, 0o600, dir_fd=directory.descriptor
            )
            undo.pop_all()
        return cls(directory, name, descriptor, journal)

    @staticmethod
    def journal_size(directory: Directory, name: str) -> int:
        """Return how many bytes are in the journal of a part file, whoever has it open."""
        return directory.size_of(_journal_name(name)) or 0

    def size(self) -> int:
        """Return the length in bytes, gaps included."""
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from a place."""
        with translated("read", self._directory.child(self._name)):
            return os.pread(self._descriptor, size, offset)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at a place. May be called from several threads."""
        view = memoryview(data)
        with translated("write", self._directory.child(self._name)):
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view, offset = view[written:], offset + written

    def begin_to_sync(self, start: int, end: int) -> None:
        """Have the kernel begin to write these bytes to the disk; promises nothing."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, start, end - start, os.POSIX_FADV_DONTNEED)

    def note(self, line: bytes) -> None:
        """Add a line to the journal."""
        with translated("write", self._directory.child(_journal_name(self._name))):
            write_all(self._journal, line)

    def notes(self, limit: int) -> bytes:
        """Return the journal, up to `limit` bytes of it."""
        return os.pread(self._journal, limit, 0)

    def empty(self) -> None:
        """Forget all that has come."""
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
            finish_file(self._descriptor, mode, durable=durable)
        self._directory.move_as(self._name, directory, name)
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
        """Leave the file as it is, for whoever opens it next; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(self._journal)
            os.close(descriptor)
            self._directory.close()

    def _forget_journal(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(_journal_name(self._name), dir_fd=self._directory.descriptor)


def _is_ours_alone(descriptor: int, directory: Directory, name: str) -> bool:
    """Lock a file; tell whether that worked and it still has its name."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
    except (BlockingIOError, FileNotFoundError):
        return False
    opened = os.fstat(descriptor)
    same = (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino)
    return same and stat.S_ISREG(opened.st_mode)


def _journal_name(name: str) -> str:
    return f"{name}.ranges"
