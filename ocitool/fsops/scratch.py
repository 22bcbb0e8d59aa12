"""Temporary files and folders that vanish with the process."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ocitool.errors import OcitoolError, StorageError
from ocitool.fsops.failures import translate, translated

_ELSEWHERE = "free some space there, or choose another folder with --tmp-dir DIR"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fresh_name() -> str:
    """Return a random name, which no file has yet."""
    return f".ocitool-{os.urandom(8).hex()}"


@contextlib.contextmanager
def scratch_folder(path: str | None) -> Iterator[str]:
    """Make a private folder in `path` (default /var/tmp or /tmp); it is removed with the block."""
    import tempfile

    place = path or _default_folder()
    with translated("make a temporary folder in", place):
        folder = tempfile.TemporaryDirectory(prefix="ocitool-", dir=place)
    with folder as name:
        try:
            yield name
        except StorageError as error:
            if isinstance(error.__cause__, OSError) and name in error.message:
                raise _told(error, error.__cause__) from error
            raise


@contextlib.contextmanager
def spooling(path: str | None) -> Iterator[None]:
    """Name the folder, and the option that chooses another, when a file in it cannot grow."""
    try:
        yield
    except OSError as error:
        found = translate(error, "write a temporary file in", path or _default_folder())
        raise _told(found, error) from error


def _told(failure: OcitoolError, error: OSError) -> OcitoolError:
    """Return the failure with the advice that helps where a disk for temporary files is full."""
    if error.errno not in _FULL:
        return failure
    return StorageError(failure.message, hint=_ELSEWHERE)


def _default_folder() -> str:
    # /tmp is often kept in memory, and images are large.
    return next((p for p in ("/var/tmp", "/tmp") if os.path.isdir(p)), ".")  # noqa: S108


def scratch_file(path: str | None) -> int:
    """Return a descriptor of an empty file without a name, in `path` (default /var/tmp or /tmp).

    The kernel frees its space when the descriptor is closed, however the process ends.
    """
    folder = path or _default_folder()
    with translated("create a temporary file in", folder):
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
        name = os.path.join(folder, fresh_name())
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(name)
        return descriptor
