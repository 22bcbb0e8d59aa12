"""Every change ocitool makes to a disk, in one place.

A directory is an open descriptor; files are named relative to it, one component at a time, and no
symbolic link is ever followed. A file appears under its name only when its bytes are complete and
on the disk. Because no other module writes, renames or removes, faults can be recorded and
injected here.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from ocitool.errors import IntegrityError, NotFound, OcitoolError, StorageError, UsageError

CHUNK = 1 << 18
Kind = Literal["file", "folder", "link", "special"]
_WRITEBACK = 8 << 20
_SETTLED = 50_000_000
"""Nanoseconds: more than the grain of any file system's clock that is likely here."""

_STORAGE = {
    errno.ENOSPC: ("no space left", "free some space, or choose another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another disk"),
    errno.EROFS: ("the file system is read-only", "choose a place that can be written"),
    errno.EACCES: ("permission denied", "check the owner and the mode of the path"),
    errno.EPERM: ("operation not permitted", "check the owner and the mode of the path"),
    errno.EIO: ("the disk reports an I/O error", "check the disk; the old state is intact"),
    errno.EMFILE: ("too many open files", "raise the limit with `ulimit -n`"),
    errno.ENFILE: ("too many open files on this machine", "close other programs"),
    errno.EFBIG: ("the file is too large for this file system", "choose another file system"),
}


@contextlib.contextmanager
def translated(action: str, path: str) -> Iterator[None]:
    """Turn an `OSError` into an error kind of ours that names what was done to which path."""
    try:
        yield
    except OSError as error:
        raise translate(error, action, path) from error


def translate(error: OSError, action: str, path: str) -> OcitoolError:
    """Return the error of ours that says the same as `error`."""
    what = f"cannot {action} {path!r}"
    if error.errno == errno.ENOENT:
        return NotFound(f"{what}: it does not exist")
    if error.errno == errno.ENXIO:
        return IntegrityError(f"{what}: it is not a regular file")
    if error.errno == errno.ELOOP:
        return IntegrityError(f"{what}: it is a symbolic link, and none is followed here")
    if error.errno in (errno.ENOTDIR, errno.EISDIR):
        return IntegrityError(f"{what}: {os.strerror(error.errno or 0).lower()}")
    reason, hint = _STORAGE.get(error.errno or 0, (error.strerror or str(error), None))
    return StorageError(f"{what}: {reason}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells one state of a file from another. Times are nanoseconds since the epoch.

    Not `settled` is a file that changed a moment ago: the clock of the file system may be too
    coarse to tell the next change from that one.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int
    settled: bool = field(compare=False)


class Directory:
    """An open directory. Every name given to it is one component and follows no link.

    Safe to use from several threads. `path` serves messages only.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def open(cls, path: str) -> "Directory":
        """Open a directory that exists. The path itself is the user's, so its links count."""
        with translated("open the folder", path):
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY), path)

    @classmethod
    def create(cls, path: str, mode: int = 0o777) -> "Directory":
        """Open a directory, making it (with `mode` less the umask) and its parents. Durable."""
        absolute = os.path.abspath(path)
        parent = os.path.dirname(absolute)
        if not os.path.isdir(absolute):
            if parent != absolute:
                cls.create(parent).close()
            with translated("make the folder", path), contextlib.suppress(FileExistsError):
                os.mkdir(absolute, mode)
        folder = cls.open(path)
        try:
            with translated("sync the folder", parent):
                # Whoever made it may have died before its name was durable.
                if _is_empty(folder.descriptor):
                    _sync_path(parent)
        except BaseException:
            folder.close()
            raise
        return folder

    def close(self) -> None:
        """Close the descriptor; harmless when repeated."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def child(self, name: str) -> str:
        """Return the path of an entry, for messages."""
        return os.path.join(self.path, name)

    def subdirectory(self, name: str, *, create: bool = False, lasting: bool = True) -> "Directory":
        """Open a folder inside this one, making it when `create` is set, durably if `lasting`."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        with translated("open the folder", self.child(name)):
            try:
                descriptor = os.open(name, flags, dir_fd=self.descriptor)
            except FileNotFoundError:
                if not create:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o777, dir_fd=self.descriptor)
                descriptor = os.open(name, flags, dir_fd=self.descriptor)
            folder = Directory(descriptor, self.child(name))
            try:
                # Whoever made it may have died before its name was durable.
                if create and lasting and _is_empty(descriptor):
                    os.fsync(self.descriptor)
            except BaseException:
                folder.close()
                raise
        return folder

    def open_file(self, name: str) -> tuple[int, int]:
        """Open a regular file for reading and return (descriptor, size in bytes).

        Raises NotFound, and IntegrityError for a link, FIFO, device or folder; never blocks.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated("open", self.child(name)):
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise IntegrityError(f"{self.child(name)!r} is not a regular file")
        return descriptor, status.st_size

    def size_of(self, name: str) -> int | None:
        """Return the size in bytes of a regular file, or None when there is none."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def stamp(self, name: str) -> Stamp | None:
        """Return what tells a regular file's state from its others; None when there is none."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Stamp(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
            settled=time.time_ns() - status.st_ctime_ns > _SETTLED,
        )

    def modified(self, name: str) -> float | None:
        """Return when an entry was last modified, in seconds since the epoch; None if absent."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mtime
        except OSError:
            return None

    def read_exactly(self, name: str, size: int) -> bytes | None:
        """Return the bytes of a file that has just that size; None for anything else."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except OSError:
            return None
        try:
            data = os.read(descriptor, size + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return data if len(data) == size else None

    def link_target(self, name: str) -> str | None:
        """Return where a symbolic link points, as it is written there; None for anything else."""
        try:
            return os.readlink(name, dir_fd=self.descriptor)
        except OSError:
            return None

    def read_file(self, name: str, limit: int) -> bytes:
        """Return a small file's bytes; more than `limit` bytes is an IntegrityError."""
        descriptor, _ = self.open_file(name)
        try:
            with translated("read", self.child(name)):
                data = read_up_to(descriptor, limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise IntegrityError(f"{self.child(name)!r} is larger than {limit} bytes")
        return data

    def names(self) -> list[str]:
        """Return the names of the entries, sorted."""
        with translated("list", self.path):
            return sorted(os.listdir(self.descriptor))

    def temporary(self, prefix: str) -> "TemporaryFile":
        """Make a private file (mode 0600) with a fresh name that begins with `prefix`."""
        name = prefix + os.urandom(8).hex()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated("create a temporary file in", self.path):
            return TemporaryFile(self, name, os.open(name, flags, 0o600, dir_fd=self.descriptor))

    def replace(self, name: str, data: bytes, *, staging: "Directory") -> None:
        """Put a small file in place atomically and durably, over whatever had the name.

        The file is written in `staging`, a folder of the same file system.
        """
        temporary = staging.temporary(f"{name}.")
        try:
            temporary.write(data)
            temporary.publish(self, name)
        finally:
            temporary.discard()
        self.sync()

    def append(self, name: str, data: bytes) -> None:
        """Add bytes to the end of a file, durably; the file is made when absent."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        # Without O_NONBLOCK a FIFO of that name would be waited for.
        flags |= os.O_NONBLOCK
        with translated("append to", self.child(name)):
            descriptor = os.open(name, flags, 0o666, dir_fd=self.descriptor)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise IntegrityError(f"{self.child(name)!r} is not a regular file")
                if status.st_size == 0:
                    os.fsync(self.descriptor)
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def touch(self, name: str) -> None:
        """Set a file's modification time to now; silently does nothing where it may not."""
        with contextlib.suppress(OSError):
            os.utime(name, dir_fd=self.descriptor, follow_symlinks=False)

    def remove(self, name: str) -> int:
        """Remove a file if it is there and return the bytes that gave free (0 if shared)."""
        with translated("remove", self.child(name)):
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
                os.unlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return 0
        return status.st_size if status.st_nlink == 1 else 0

    def kind(self, name: str) -> Kind | None:
        """Return what an entry is, links not followed; None when there is none."""
        try:
            mode = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate(error, "look at", self.child(name)) from error
        if stat.S_ISDIR(mode):
            return "folder"
        if stat.S_ISREG(mode):
            return "file"
        return "link" if stat.S_ISLNK(mode) else "special"

    def permissions(self, name: str) -> int:
        """Return the nine permission bits of an entry, links not followed."""
        with translated("look at", self.child(name)):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode & 0o777

    def private_folder(self, prefix: str) -> "tuple[str, Directory]":
        """Make a folder (mode 0700) with a fresh name that begins with `prefix`, and open it."""
        name = prefix + os.urandom(8).hex()
        with translated("make a folder in", self.path):
            os.mkdir(name, 0o700, dir_fd=self.descriptor)
        return name, self.subdirectory(name)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link; what has the name already is a StorageError."""
        with translated("make the link", self.child(name)):
            os.symlink(target, name, dir_fd=self.descriptor)

    def second_name(self, name: str, directory: "Directory", other: str) -> None:
        """Give a file of this folder another name as well, in another of the same file system."""
        with translated("link", directory.child(other)):
            os.link(
                name,
                other,
                src_dir_fd=self.descriptor,
                dst_dir_fd=directory.descriptor,
                follow_symlinks=False,
            )

    def move(self, name: str, directory: "Directory") -> None:
        """Move an entry into another folder of the same file system, atomically.

        A file or link replaces one that has its name there; a folder replaces an empty folder only.
        """
        with translated("move to", directory.child(name)):
            os.rename(name, name, src_dir_fd=self.descriptor, dst_dir_fd=directory.descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a folder of ours and all that it holds; follows no link.

        As deep as the folder is, so many of it are open at a time.
        """
        with self.subdirectory(name) as folder:
            for child in folder.names():
                if folder.kind(child) == "folder":
                    folder.remove_tree(child)
                else:
                    folder.remove(child)
        with translated("remove the folder", self.child(name)):
            os.rmdir(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make earlier changes of names in this directory durable."""
        with translated("sync the folder", self.path):
            os.fsync(self.descriptor)

    def settle(self) -> None:
        """Make all that was written to this folder's file system durable: for whole trees."""
        import ctypes

        with translated("sync", self.path):
            if ctypes.CDLL(None, use_errno=True).syncfs(self.descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def free_space(self) -> tuple[int, int]:
        """Return how many bytes of this file system are free for us, and how many it has."""
        with translated("look at", self.path):
            status = os.fstatvfs(self.descriptor)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def status(self, name: str) -> os.stat_result | None:
        """Return what the system knows of an entry, links not followed; None without one."""
        with translated("look at", self.child(name)):
            try:
                return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def make_folder(self, name: str, mode: int = 0o700) -> None:
        """Make a folder with exactly `mode`; what has the name already is a StorageError."""
        with translated("make the folder", self.child(name)):
            os.mkdir(name, mode & 0o700, dir_fd=self.descriptor)
            if mode & 0o077:
                with self.subdirectory(name) as made:
                    os.fchmod(made.descriptor, mode)

    def new_file(self, name: str) -> "NewFile":
        """Make a file (mode 0600) that nothing had the name of, to be filled and described."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self.child(name)
        with translated("make the file", path):
            return NewFile(os.open(name, flags, 0o600, dir_fd=self.descriptor), path)

    def make_node(self, name: str, mode: int, device: int = 0) -> bool:
        """Make a FIFO or device, `mode` as in mknod(2); tell whether this user may."""
        with translated("make the special file", self.child(name)):
            try:
                os.mknod(name, mode, device, dir_fd=self.descriptor)
            except PermissionError:
                return False
        return True

    def describe(self, *, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
        """Give this folder itself an owner (user, group) and a mode, in this order."""
        with translated("change the owner or mode of", self.path):
            if owner is not None:
                os.fchown(self.descriptor, *owner)
            if mode is not None:
                os.fchmod(self.descriptor, mode)

    def set_times(self, name: str, seconds: float) -> None:
        """Set when an entry was changed, links not followed; "." is the folder itself."""
        with translated("set the time of", self.child(name)):
            at = nanoseconds(seconds)
            os.utime(name, ns=(at, at), dir_fd=self.descriptor, follow_symlinks=False)

    def set_owner(self, name: str, user: int, group: int) -> None:
        """Set who owns an entry, links not followed."""
        with translated("change the owner of", self.child(name)):
            os.chown(name, user, group, dir_fd=self.descriptor, follow_symlinks=False)

    def set_attribute(self, attribute: str, value: bytes) -> bool:
        """Give this folder an extended attribute; False where that is not possible."""
        return _set_attribute(self.descriptor, attribute, value)

    def remove_folder(self, name: str) -> bool:
        """Remove a folder if it is empty; tell whether it is gone."""
        with translated("remove the folder", self.child(name)):
            try:
                os.rmdir(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return True
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        return True

    def set_mode(self, name: str, mode: int) -> None:
        """Set the mode of an entry that is known to be no link: one would be followed."""
        with translated("change the mode of", self.child(name)):
            os.chmod(name, mode, dir_fd=self.descriptor)

    def move_as(self, name: str, directory: "Directory", other: str) -> None:
        """Move an entry into another folder of the same file system under another name.

        A file or link replaces one that has that name; a folder replaces an empty folder only.
        """
        with translated("move to", directory.child(other)):
            os.rename(name, other, src_dir_fd=self.descriptor, dst_dir_fd=directory.descriptor)


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
        return _set_attribute(self._descriptor, attribute, value)

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


def nanoseconds(seconds: float) -> int:
    """Return a time for the disk, in the range that every file system can hold (to year 2446)."""
    return int(min(max(seconds, -(1 << 31)), (1 << 34) - (1 << 31) - 1) * 1_000_000_000)


_NO_SUCH_ATTRIBUTE = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.ERANGE,
    errno.E2BIG,
    errno.ENOSPC,
}


def _set_attribute(descriptor: int, attribute: str, value: bytes) -> bool:
    try:
        os.setxattr(descriptor, attribute, value)
    except OSError as error:
        if error.errno in _NO_SUCH_ATTRIBUTE:
            return False
        raise translate(error, "set the attribute", attribute) from error
    return True


class TemporaryFile:
    """A private file on its way to its final name. Close it with `publish` or `discard`."""

    def __init__(self, directory: Directory, name: str, descriptor: int) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = descriptor
        self._writeback = _Writeback(descriptor)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the end."""
        with translated("write", self._directory.child(self._name)):
            write_all(self._descriptor, data)
        self._writeback.wrote(len(data))

    def publish(
        self, directory: Directory, name: str, mode: int = 0o666, *, durable: bool = True
    ) -> None:
        """Make the file durable and give it its final name, over whatever had the name.

        The mode is `mode` less the umask. The name itself is durable after `directory.sync()`.
        What ends with this process need not be `durable`.
        """
        with translated("write", directory.child(name)):
            _settle(self._descriptor, mode, durable=durable)
            _rename(self._directory, self._name, directory, name)
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
        """Make the file durable and give it its final name, over whatever had the name.

        The mode is `mode` less the umask. The name itself is durable after `directory.sync()`.
        What ends with this process need not be `durable`.
        """
        with translated("write", directory.child(name)):
            _settle(self._descriptor, mode, durable=durable)
            _rename(self._directory, self._name, directory, name)
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


def _settle(descriptor: int, mode: int, *, durable: bool) -> None:
    """Give a file that is complete its mode, less the umask, and bring it to the disk."""
    os.fchmod(descriptor, mode & ~_umask())
    if durable:
        os.fsync(descriptor)


def _rename(source: Directory, old: str, target: Directory, new: str) -> None:
    os.rename(old, new, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)


def _journal_name(name: str) -> str:
    return f"{name}.ranges"


class _Writeback:
    """Has the kernel begin to write to the disk while more is on its way.

    The fsync at the end then finds little to do. It changes no promise, only when the work is done.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0
        self._written = 0

    def wrote(self, count: int) -> None:
        """Hear that `count` bytes more were written at the end."""
        self._written += count
        size = self._written - self._begun
        if size >= _WRITEBACK:
            # On Linux this starts the writing of dirty pages, and keeps them until it is done.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, self._begun, size, os.POSIX_FADV_DONTNEED)
            self._begun = self._written


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte: a single `write` may be short, for example on a full tmpfs."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_up_to(descriptor: int, limit: int) -> bytes:
    """Read until the end or `limit` bytes."""
    parts: list[bytes] = []
    while limit > 0 and (part := os.read(descriptor, min(limit, CHUNK))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _is_empty(descriptor: int) -> bool:
    with os.scandir(descriptor) as entries:
        return next(entries, None) is None


def _sync_path(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_umask() -> int:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_cached_umask: int | None = None


def _umask() -> int:
    # Reading the umask by setting it is a race between threads; /proc has no such race.
    global _cached_umask  # noqa: PLW0603
    if _cached_umask is None:
        _cached_umask = _read_umask()
    return _cached_umask


def _fresh_name() -> str:
    return f".ocitool-{os.urandom(8).hex()}"


@contextlib.contextmanager
def scratch_folder(path: str | None) -> Iterator[str]:
    """Make a private folder, in `path` or a usual one, that is removed with the block."""
    import tempfile

    place = path or _usual_scratch()
    with translated("make a temporary folder in", place):
        folder = tempfile.TemporaryDirectory(prefix="ocitool-", dir=place)
    with folder as name:
        yield name


def _usual_scratch() -> str:
    # /tmp is often kept in memory, and images are large.
    return next((p for p in ("/var/tmp", "/tmp") if os.path.isdir(p)), ".")  # noqa: S108


def scratch_file(path: str | None) -> int:
    """Return a descriptor of an empty file without a name, in `path` or a usual folder.

    The kernel frees its space when the descriptor is closed, however the process ends.
    """
    folder = path or _usual_scratch()
    with translated("create a temporary file in", folder):
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
        name = os.path.join(folder, _fresh_name())
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(name)
        return descriptor


class OutputFile:
    """A file for the user that appears whole or not at all.

    A file that it replaces leaves it its mode. Until `publish` it has no name where the file
    system allows that, so that even a killed process leaves nothing. A pipe, terminal or device
    is written as it is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        real = os.path.realpath(path)
        self._name = os.path.basename(real)
        self._folder = Directory.open(os.path.dirname(real))
        self._temporary: str | None = None
        self._direct = False
        self._mode: int | None = None
        try:
            with translated("write", path):
                self._descriptor = self._open()
                self._writeback = _Writeback(self._descriptor)
        except BaseException:
            self._folder.close()
            raise

    def _open(self) -> int:
        # By the path as given: what /dev/stdout leads to may be a pipe, which has no other path.
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode) or self.path.endswith("/"):
            raise UsageError(f"{self.path!r} is a folder; name a file in it")
        self._mode = stat.S_IMODE(mode) or None
        if not stat.S_ISREG(mode):
            self._direct = True
            return os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        flags = os.O_RDWR | os.O_CLOEXEC
        # A nameless file gets its name through /proc, which a chroot may lack.
        if os.path.isdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                return os.open(".", flags | os.O_TMPFILE, 0o666, dir_fd=self._folder.descriptor)
        self._temporary = _fresh_name()
        flags |= os.O_CREAT | os.O_EXCL
        return os.open(self._temporary, flags, 0o666, dir_fd=self._folder.descriptor)

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        with translated("write", self.path):
            write_all(self._descriptor, data)
        self._writeback.wrote(len(data))

    def publish(self) -> None:
        """Make the file durable and give it its name, over whatever had it."""
        if self._direct:
            return
        with translated("write", self.path):
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
            os.fsync(self._descriptor)
            if self._temporary is None:
                self._temporary = _fresh_name()
                os.link(
                    f"/proc/self/fd/{self._descriptor}",
                    self._temporary,
                    dst_dir_fd=self._folder.descriptor,
                    follow_symlinks=True,
                )
            folder = self._folder.descriptor
            os.rename(self._temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            self._temporary = None
            os.fsync(folder)

    def close(self) -> None:
        """Drop what was not published; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if self._temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary, dir_fd=self._folder.descriptor)
            self._folder.close()
