"""Operations on open descriptors, shared by all kinds of files here."""

import contextlib
import errno
import os
import stat

from ocitool.fsops.failures import translate

CHUNK = 1 << 18
_WRITEBACK = 8 << 20
_NO_SUCH_ATTRIBUTE = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.ERANGE,
    errno.E2BIG,
    errno.ENOSPC,
}


class Writeback:
    """Makes the kernel start writing to the disk while more data arrives.

    The fsync at the end then has little left to do. It changes the timing, not what is promised.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0
        self._written = 0

    def wrote(self, count: int) -> None:
        """Note that `count` more bytes were written at the end."""
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


def is_empty(descriptor: int) -> bool:
    """Tell whether a folder has no entry."""
    with os.scandir(descriptor) as entries:
        return next(entries, None) is None


def sync_path(path: str) -> None:
    """Make changes of names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share_with_group(descriptor: int, group: int) -> None:
    """Give a group what the owner of a file or folder may do; nothing happens for other owners.

    A folder hands its group on to what is made in it, as in git's shared repositories.
    """
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    shared = mode | (mode & stat.S_IRWXU) >> 3
    if stat.S_ISDIR(status.st_mode):
        shared |= stat.S_ISGID
    # Who made it may change it; who may not finds it as its maker left it.
    with contextlib.suppress(PermissionError):
        if status.st_gid != group:
            os.fchown(descriptor, -1, group)
        if shared != mode:
            os.fchmod(descriptor, shared)


def _read_umask() -> int:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_cached_umask: int | None = None


def umask() -> int:
    """Return the umask of this process, read once."""
    # Reading the umask by setting it is a race between threads; /proc has no such race.
    global _cached_umask  # noqa: PLW0603
    if _cached_umask is None:
        _cached_umask = _read_umask()
    return _cached_umask


def nanoseconds(seconds: float) -> int:
    """Return a time for the disk, in the range that every file system can hold (to year 2446)."""
    return int(min(max(seconds, -(1 << 31)), (1 << 34) - (1 << 31) - 1) * 1_000_000_000)


def set_attribute(descriptor: int, attribute: str, value: bytes) -> bool:
    """Set an extended attribute; False where the file system or this user cannot."""
    try:
        os.setxattr(descriptor, attribute, value)
    except OSError as error:
        if error.errno in _NO_SUCH_ATTRIBUTE:
            return False
        raise translate(error, "set the attribute", attribute) from error
    return True
