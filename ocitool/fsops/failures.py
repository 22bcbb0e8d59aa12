"""Errors of the operating system, translated into the kinds of `ocitool.errors`."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ocitool.errors import IntegrityError, NoSpace, NotFound, OcitoolError, StorageError

_STORAGE = {
    errno.ENOSPC: ("no space left", "free some space, or choose another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another disk"),
    errno.EROFS: ("the file system is read-only", "choose a place that is writable"),
    errno.EACCES: ("permission denied", "check the owner and the mode of the path"),
    errno.EPERM: ("operation not permitted", "check the owner and the mode of the path"),
    errno.EIO: ("the disk reports an I/O error", "check the disk; the old state is intact"),
    errno.EMFILE: ("too many open files", "raise the limit with `ulimit -n`"),
    errno.ENFILE: ("too many open files on this machine", "close other programs"),
    errno.EFBIG: ("the file is too large for this file system", "choose another file system"),
}


@contextlib.contextmanager
def translated(action: str, path: str) -> Iterator[None]:
    """Turn an `OSError` of the block into an OcitoolError that names the action and the path."""
    try:
        yield
    except OSError as error:
        raise translate(error, action, path) from error


def translate(error: OSError, action: str, path: str) -> OcitoolError:
    """Return the OcitoolError for `error`: what could not be done to which path, and why."""
    what = f"cannot {action} {path!r}"
    if error.errno == errno.ENOENT:
        return NotFound(f"{what}: it does not exist")
    if error.errno == errno.ENXIO:
        return IntegrityError(f"{what}: it is not a regular file")
    if error.errno == errno.ELOOP:
        return IntegrityError(f"{what}: it is a symbolic link, which is not followed")
    if error.errno in (errno.ENOTDIR, errno.EISDIR):
        return IntegrityError(f"{what}: {os.strerror(error.errno or 0).lower()}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full, advice = _STORAGE[error.errno]
        return NoSpace(f"{what}: {full}", path=path, hint=advice)
    reason, hint = _STORAGE.get(error.errno or 0, (error.strerror or str(error), None))
    return StorageError(f"{what}: {reason}", hint=hint)
