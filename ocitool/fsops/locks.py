"""Locks that last as long as a process, and the programs that inherit them (flock(2)).

The kernel frees a lock when the last process that has it open ends, however that happens.
"""

import fcntl
import os
import time
from typing import Self

from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES, _PAUSE = 10, 0.02


class HeldLock:
    """A lock that this process holds. A context manager, which frees it unless others have it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the lock; a program that was started with its descriptor keeps it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def take_lock(directory: Directory, name: str) -> HeldLock | None:
    """Take the lock of a file, which is made if it is absent; None if another process has it."""
    with translated("open the lock", directory.child(name)):
        descriptor = directory.open_to_write(name, _FLAGS)
    # One that only asks has the lock for an instant.
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return HeldLock(descriptor)
    os.close(descriptor)
    return None


def is_locked(directory: Directory, name: str) -> bool:
    """Tell whether a process has the lock; False if the file is absent."""
    return not _shared(directory, name, fcntl.LOCK_SH | fcntl.LOCK_NB)


def wait_for_lock(directory: Directory, name: str) -> None:
    """Return when no process has the lock of a file."""
    _shared(directory, name, fcntl.LOCK_SH)


def _shared(directory: Directory, name: str, how: int) -> bool:
    if directory.kind(name) != "file":
        return True
    descriptor, _ = directory.open_file(name)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
