"""An open directory: every name is relative to it, one component, and no link is followed."""

import contextlib
import errno
import os
import stat
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from ocitool.errors import IntegrityError
from ocitool.fsops.descriptors import (
    is_empty,
    nanoseconds,
    read_up_to,
    set_attribute,
    size_below,
    sync_path,
    write_all,
)
from ocitool.fsops.failures import translate, translated
from ocitool.fsops.files import NewFile, TemporaryFile

Kind = Literal["file", "folder", "link", "special"]
_SETTLED = 50_000_000
"""Nanoseconds: more than the grain of any file system's clock that is likely here."""


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
                if is_empty(folder.descriptor):
                    sync_path(parent)
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
                if create and lasting and is_empty(descriptor):
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
        return sorted(self.unordered_names())

    def unordered_names(self) -> list[str]:
        """Return the names of the entries as they come, where there may be very many."""
        with translated("list", self.path):
            return os.listdir(self.descriptor)

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

    def allocate(self, name: str, size: int) -> None:
        """Make a file of zeros that really takes its space; none is left when that fails."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated("set space aside in", self.child(name)):
            descriptor = os.open(name, flags, 0o666, dir_fd=self.descriptor)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except BaseException:
                os.unlink(name, dir_fd=self.descriptor)
                raise
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

    def tree_size(self, name: str) -> int:
        """Return the bytes of the files in a folder of ours; what may not be read counts 0."""
        return size_below(self.descriptor, name)

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
        return set_attribute(self.descriptor, attribute, value)

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
