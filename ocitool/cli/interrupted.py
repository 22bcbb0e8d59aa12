"""A command that was ended from outside, and what it has left behind."""

import signal

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


def not_written(path: str) -> str:
    """Return what an archive that was not finished has left."""
    return NO_ARCHIVE if path == "-" else f"{path} was not written"
