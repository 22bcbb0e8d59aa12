"""The lock of a layout: exclusive between processes, and held only for moments."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from ocitool.errors import Refused
from ocitool.events import SILENT, Observer
from ocitool.fsops import Directory, translate, translated

LOCK_FILE = "lock"
LOCK_TIMEOUT = 60.0
_TOLD_AFTER = 1.0


class LockBusy(Refused):
    """Another process holds the lock for longer than this one waits."""


@contextlib.contextmanager
def locked(
    control: Directory, timeout: float = LOCK_TIMEOUT, *, observer: Observer = SILENT
) -> Iterator[None]:
    """Hold the exclusive lock of the layout whose `.ocitool` folder is `control`.

    Waits up to `timeout` seconds, then raises LockBusy, which names the holder. After one second
    `observer` is told about the wait. The kernel frees the lock when its holder dies. Not
    reentrant.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    with translated("open the lock", control.child(LOCK_FILE)):
        descriptor = control.open_to_write(LOCK_FILE, flags)
    try:
        _acquire(descriptor, control.child(LOCK_FILE), timeout, observer)
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: str, timeout: float, observer: Observer) -> None:
    with contextlib.ExitStack() as waiting:
        _knock(descriptor, path, timeout, observer, waiting)


def _knock(
    descriptor: int, path: str, timeout: float, observer: Observer, waiting: contextlib.ExitStack
) -> None:
    begun = time.monotonic()
    told = False
    pause = 0.001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - begun
            if waited > timeout:
                raise LockBusy(
                    f"{path!r} has been locked for {timeout:.0f} s, by process "
                    f"{_holder(descriptor)}",
                    hint="wait for that process to end, or end it, then try again",
                ) from None
            if waited > _TOLD_AFTER and not told:
                text = f"waiting for process {_holder(descriptor)}, which locks {path!r}"
                observer.wait(text)
                waiting.enter_context(observer.busy(text))
                told = True
            # Random pauses keep twenty waiting processes from knocking in step.
            time.sleep(pause * (0.5 + os.urandom(1)[0] / 255))
            pause = min(pause * 1.5, 0.05)
        except OSError as error:
            raise translate(error, "lock", path) from error
        else:
            return


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "?"
