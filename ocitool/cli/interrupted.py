"""A command that was ended from outside, and what it has left behind."""

import os
import signal
from collections.abc import Callable

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
_FIRST = 128

SENT = "the registry keeps the blobs that were sent whole, and the same command sends the rest"
FETCHED = "what has arrived is kept, and the same command goes on from there"
NOT_LOADED = "nothing of the archive under way was loaded; the same command begins it anew"
UNCHANGED = "nothing was changed there; the same command begins anew"
NO_ARCHIVE = "what was written is not a whole archive"


class Interrupted(BaseException):
    """A signal asked the process to end; carries the exit code, and what is left behind."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        self.left: str | None = None

    @property
    def message(self) -> str:
        """What happened, on one line."""
        word = _WORDS.get(signal.Signals(self.code - _FIRST), "ended")
        return word if self.left is None else f"{word}: {self.left}"


def no_image_in(folder: str) -> Callable[[], str]:
    """Return what tells, at its end, what a copy into a layout that was not finished has left."""
    was_there = os.path.exists(folder)

    def left() -> str:
        stays = "" if was_there or not os.path.exists(folder) else ", the new folder stays"
        return f"no image was added to {folder}{stays}; the same command begins anew"

    return left


def not_all_volumes(path: str) -> str:
    """Return what a bundle in volumes that was not finished has left."""
    return f"not all volumes of {path} were written; the same command keeps those that are whole"


def not_written(path: str) -> str:
    """Return what an archive that was not finished has left."""
    return NO_ARCHIVE if path == "-" else f"{path} was not written"
