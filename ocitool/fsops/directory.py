"""An open directory: every name is relative to it, one component, and no link is followed."""

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import Literal, Self

from ocitool.errors import IntegrityError, StorageError
from ocitool.fsops.descriptors import (
    is_empty,
    read_up_to,
    set_attribute,
    share_with_group,
    sync_path,
    umask,
)
from ocitool.fsops.failures import translate, translated

Kind = Literal["file", "folder", "link", "special"]


class Directory:
    """An open directory. Every name given to it is a single component, and links are not followed.

    Safe to use from several threads. `path` is used in messages only. What is made in a `shared`
    folder belongs to the folder's group as well, whatever the umask is; `subdirectory` hands that
    on.
    """

    def __init__(self, descriptor: int, path: str, *, shared: bool = False) -> None:
        self.descriptor = descriptor
        self.path = path
        self.shared = shared

    @classmethod
    def open(cls, path: str) -> "Directory":
        """Open an existing directory. Links in `path` are followed: the user chose the path.

        StorageError where something else stands in the way, such as a file.
        """
        with translated("open the folder", path):
            try:
                return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY), path)
            except NotADirectoryError as error:
                raise StorageError(
                    f"cannot open the folder {path!r}: it is a file, or a folder above it is",
                    hint="name a folder, or a path at which there is nothing yet",
                ) from error

    @classmethod
    def create(cls, path: str, mode: int = 0o777) -> "Directory":
        """Open a directory; make it (with `mode` less the umask) and its parents, durably."""
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
                # An empty folder may have been made by a process that died before this sync.
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

    def share_as_it_is(self) -> None:
        """Share what is made from now on with the folder's group, if the group may write to it."""
        with translated("look at", self.path):
            self.shared = bool(os.fstat(self.descriptor).st_mode & stat.S_IWGRP)

    def share(self, descriptor: int) -> None:
        """Give the group of a shared folder the owner's rights to a file or folder made in it."""
        if self.shared:
            share_with_group(descriptor, os.fstat(self.descriptor).st_gid)

    def child(self, name: str) -> str:
        """Return the path of an entry, for messages."""
        return os.path.join(self.path, name)

    def subdirectory(self, name: str, *, create: bool = False, lasting: bool = True) -> "Directory":
        """Open a folder in this one; with `create` make it if missing, durably if `lasting`."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        with translated("open the folder", self.child(name)):
            try:
                descriptor = os.open(name, flags, dir_fd=self.descriptor)
            except FileNotFoundError:
                if not create:
                    raise
                descriptor = self._make_folder(name, flags)
            folder = Directory(descriptor, self.child(name), shared=self.shared)
            try:
                # An empty folder may have been made by a process that died before this sync.
                if create and lasting and is_empty(descriptor):
                    os.fsync(self.descriptor)
            except BaseException:
                folder.close()
                raise
        return folder

    def _make_folder(self, name: str, flags: int) -> int:
        try:
            os.mkdir(name, 0o777, dir_fd=self.descriptor)
        except FileExistsError:
            return os.open(name, flags, dir_fd=self.descriptor)
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        self.share(descriptor)
        return descriptor

    def open_to_write(self, name: str, flags: int) -> int:
        """Open a file of this folder, made if it is missing, and return its descriptor."""
        descriptor = os.open(name, flags | os.O_CREAT, 0o666, dir_fd=self.descriptor)
        self.share(descriptor)
        return descriptor

    def finish_file(self, descriptor: int, mode: int, *, durable: bool) -> None:
        """Set the mode of a complete file (less the umask), and fsync it if `durable`."""
        os.fchmod(descriptor, mode & ~umask())
        self.share(descriptor)
        if durable:
            os.fsync(descriptor)

    # Looking.

    def open_file(self, name: str) -> tuple[int, int]:
        """Open a regular file for reading and return (descriptor, size in bytes).

        Raises NotFound, and IntegrityError for a link, FIFO, device or folder; never blocks.
        """
        # Without O_NONBLOCK, opening a FIFO would wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated("open", self.child(name)):
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise IntegrityError(f"{self.child(name)!r} is not a regular file")
        return descriptor, status.st_size

    def read_file(self, name: str, limit: int) -> bytes:
        """Return the content of a small file; IntegrityError if it exceeds `limit` bytes."""
        descriptor, _ = self.open_file(name)
        try:
            with translated("read", self.child(name)):
                data = read_up_to(descriptor, limit + 1)
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise IntegrityError(f"{self.child(name)!r} is larger than {limit} bytes")
        return data

    def read_exactly(self, name: str, size: int) -> bytes | None:
        """Return the content of a file of exactly `size` bytes; None for anything else."""
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
        """Return the target of a symbolic link as it is stored; None for anything else."""
        try:
            return os.readlink(name, dir_fd=self.descriptor)
        except OSError:
            return None

    def names(self) -> list[str]:
        """Return the names of the entries, sorted."""
        return sorted(self.unordered_names())

    def unordered_names(self) -> list[str]:
        """Return the names of the entries in no order: sorting hundreds of thousands takes long."""
        with translated("list", self.path):
            return os.listdir(self.descriptor)

    def kind(self, name: str) -> Kind | None:
        """Return the kind of an entry, links not followed; None if there is no such entry."""
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

    def size_of(self, name: str) -> int | None:
        """Return the size of a regular file in bytes; None if there is no such file."""
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def modified(self, name: str) -> float | None:
        """Return the modification time of an entry, in seconds since the epoch; None if absent."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mtime
        except OSError:
            return None

    def permissions(self, name: str) -> int:
        """Return the nine permission bits of an entry, links not followed."""
        with translated("look at", self.child(name)):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode & 0o777

    def status(self, name: str) -> os.stat_result | None:
        """Return lstat(2) of an entry; None if there is no such entry."""
        with translated("look at", self.child(name)):
            try:
                return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def statuses(self) -> dict[str, os.stat_result]:
        """Return lstat(2) of every entry by its name, in no order."""
        found = {}
        with translated("list", self.path), os.scandir(self.descriptor) as entries:
            for entry in entries:
                # An entry that was removed since the folder was listed is left out.
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat(follow_symlinks=False)
        return found

    def attribute(self, name: str, attribute: str) -> bytes | None:
        """Return an extended attribute of an entry, links not followed; None if it has none."""
        try:
            return os.getxattr(self._by_path(name), attribute, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
                return None
            raise translate(error, "read an attribute of", self.child(name)) from error

    def attributes(self, name: str) -> dict[str, bytes]:
        """Return all extended attributes of an entry, sorted by name; links are not followed."""
        try:
            names = os.listxattr(self._by_path(name), follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise translate(error, "read the attributes of", self.child(name)) from error
        found = {attribute: self.attribute(name, attribute) for attribute in sorted(names)}
        return {attribute: value for attribute, value in found.items() if value is not None}

    def _by_path(self, name: str) -> str:
        """Return a path that leads to an entry of this very folder: `os` has no dir_fd for all."""
        return f"/proc/self/fd/{self.descriptor}/{name}"

    def free_space(self) -> tuple[int, int]:
        """Return the free bytes of the file system for this user, and its total size."""
        with translated("look at", self.path):
            status = os.fstatvfs(self.descriptor)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    # Changing.

    def touch(self, name: str) -> None:
        """Set the modification time to now; does nothing if this user may not."""
        with contextlib.suppress(OSError):
            os.utime(name, dir_fd=self.descriptor, follow_symlinks=False)

    def set_attribute(self, attribute: str, value: bytes) -> bool:
        """Set an extended attribute of the folder; False where that is not possible."""
        return set_attribute(self.descriptor, attribute, value)

    def remove(self, name: str) -> int:
        """Remove a file if it exists; return the bytes freed (0 if it has another hard link)."""
        with translated("remove", self.child(name)):
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
                os.unlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return 0
        return status.st_size if status.st_nlink == 1 else 0

    def remove_folder(self, name: str) -> bool:
        """Remove a folder if it is empty; False if it has entries."""
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

    def move(self, name: str, target: "Directory", other: str | None = None) -> None:
        """Move an entry into another folder of the same file system, atomically.

        It keeps its name unless `other` is given. A file or link replaces one that has the name
        there; a folder replaces only an empty folder.
        """
        other = other or name
        with translated("move to", target.child(other)):
            os.rename(name, other, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

    def sync(self) -> None:
        """Make earlier creations, renames and removals in this directory durable."""
        with translated("sync the folder", self.path):
            os.fsync(self.descriptor)
