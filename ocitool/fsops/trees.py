"""Building, measuring and removing trees: folders, links and devices, their modes and owners.

Nothing here is durable by itself. A tree is built in a private folder, `sync_file_system` makes
it durable as a whole, and one rename gives it its place.
"""

import contextlib
import os
from collections.abc import Iterator

from ocitool.fsops.descriptors import nanoseconds
from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated

_BLOCK = 512
"""What st_blocks counts, whatever the file system's own blocks are (stat(2))."""


def make_folder(directory: Directory, name: str, mode: int = 0o700) -> None:
    """Make a folder with exactly `mode`; a name that is taken is a StorageError."""
    with translated("make the folder", directory.child(name)):
        os.mkdir(name, mode & 0o700, dir_fd=directory.descriptor)
        # mkdir clears what the umask forbids, so the rest of the mode is set afterwards.
        if mode & 0o077:
            with directory.subdirectory(name) as made:
                os.fchmod(made.descriptor, mode)


def make_private_folder(directory: Directory, prefix: str) -> tuple[str, Directory]:
    """Make a folder (mode 0700) with a fresh name that begins with `prefix`, and open it."""
    name = prefix + os.urandom(8).hex()
    with translated("make a folder in", directory.path):
        os.mkdir(name, 0o700, dir_fd=directory.descriptor)
    return name, directory.subdirectory(name)


@contextlib.contextmanager
def staging_folder(directory: Directory) -> Iterator[Directory]:
    """Make a private folder in another; at the end of the block it is removed with its content."""
    name, inner = make_private_folder(directory, ".ocitool-")
    try:
        with inner:
            yield inner
    finally:
        remove_tree(directory, name)


def make_link(directory: Directory, name: str, target: str) -> None:
    """Make a symbolic link; a name that is taken is a StorageError."""
    with translated("make the link", directory.child(name)):
        os.symlink(target, name, dir_fd=directory.descriptor)


def make_hard_link(directory: Directory, name: str, target: Directory, other: str) -> None:
    """Give a file a second name, in a folder of the same file system."""
    with translated("link", target.child(other)):
        os.link(
            name,
            other,
            src_dir_fd=directory.descriptor,
            dst_dir_fd=target.descriptor,
            follow_symlinks=False,
        )


def make_node(directory: Directory, name: str, mode: int, device: int = 0) -> bool:
    """Make a FIFO or device, `mode` as in mknod(2); False if this user may not."""
    with translated("make the special file", directory.child(name)):
        try:
            os.mknod(name, mode, device, dir_fd=directory.descriptor)
        except PermissionError:
            return False
    return True


def describe_folder(
    directory: Directory, *, mode: int | None = None, owner: tuple[int, int] | None = None
) -> None:
    """Set the owner (user, group) and the mode of the folder itself, in this order."""
    # A change of the owner clears the set-group-ID bit, so the mode is set after it.
    with translated("change the owner or mode of", directory.path):
        if owner is not None:
            os.fchown(directory.descriptor, *owner)
        if mode is not None:
            os.fchmod(directory.descriptor, mode)


def set_times(directory: Directory, name: str, seconds: float) -> None:
    """Set the access and modification times of an entry, links not followed; "." is the folder."""
    set_nanoseconds(directory, name, nanoseconds(seconds))


def set_nanoseconds(directory: Directory, name: str, at: int) -> None:
    """Set both times of an entry, in nanoseconds since 1970; links are not followed."""
    with translated("set the time of", directory.child(name)):
        os.utime(name, ns=(at, at), dir_fd=directory.descriptor, follow_symlinks=False)


def set_owner(directory: Directory, name: str, user: int, group: int) -> None:
    """Set the user and group of an entry, links not followed."""
    with translated("change the owner of", directory.child(name)):
        os.chown(name, user, group, dir_fd=directory.descriptor, follow_symlinks=False)


def set_mode(directory: Directory, name: str, mode: int) -> None:
    """Set the mode of an entry, which must not be a link: chmod would follow it."""
    with translated("change the mode of", directory.child(name)):
        os.chmod(name, mode, dir_fd=directory.descriptor)


def tree_size(directory: Directory, name: str) -> int:
    """Return the bytes of all files in a folder; what cannot be read counts 0. Follows no link."""
    return sum(status.st_size for status in _files_below(directory, name))


def tree_usage(directory: Directory, name: str) -> int:
    """Return the bytes of disk that all files in a folder take, each once; as `tree_size` else."""
    size = 0
    seen: set[tuple[int, int]] = set()
    for status in _files_below(directory, name):
        if status.st_nlink > 1:
            inode = status.st_dev, status.st_ino
            if inode in seen:
                continue
            seen.add(inode)
        size += status.st_blocks * _BLOCK
    return size


def _files_below(directory: Directory, name: str) -> Iterator[os.stat_result]:
    """Yield the status of everything in a folder that is not a folder; follows no link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    todo = [name]
    while todo:
        path = todo.pop()
        try:
            folder = os.open(path, flags, dir_fd=directory.descriptor)
        except OSError:
            continue
        try:
            with translated("look at", directory.child(path)), os.scandir(folder) as entries:
                for entry in entries:
                    # What another process removed since the folder was listed counts 0.
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(f"{path}/{entry.name}")
                        else:
                            yield entry.stat(follow_symlinks=False)
        finally:
            os.close(folder)


def remove_tree(directory: Directory, name: str) -> None:
    """Remove a folder that ocitool made, with its content; follows no link.

    Holds one open descriptor for each level of the tree.
    """
    with directory.subdirectory(name) as folder:
        for child in folder.names():
            if folder.kind(child) == "folder":
                remove_tree(folder, child)
            else:
                folder.remove(child)
    with translated("remove the folder", directory.child(name)):
        os.rmdir(name, dir_fd=directory.descriptor)


def sync_file_system(directory: Directory) -> None:
    """Make everything written to the folder's file system durable: syncfs(2), for whole trees."""
    # One syncfs costs less than an fsync for each of a hundred thousand files; `os` lacks it.
    import ctypes

    with translated("sync", directory.path):
        if ctypes.CDLL(None, use_errno=True).syncfs(directory.descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
