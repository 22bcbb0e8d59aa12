"""What the library tells its observer: progress, remarks, waits.

Methods may be called from several threads at once and must return quickly. The library prints
nothing; the command line overrides these methods.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.oci import Descriptor


class Outcome(StrEnum):
    """What happened to a blob."""

    STORED = "stored"
    EXISTED = "existed"
    UPLOADED = "uploaded"
    MOUNTED = "mounted"
    CONVERTED = "converted"


class Observer:
    """Receives events and ignores them; override the methods you need."""

    def begin(self, label: str, total: int) -> None:
        """Work of `total` bytes begins."""

    def advance(self, count: int) -> None:
        """`count` more bytes are done."""

    def finish(self, descriptor: "Descriptor", outcome: Outcome) -> None:
        """A blob is done."""

    def end(self) -> None:
        """The work has ended, with or without success."""

    @contextmanager
    def work(self, label: str, total: int) -> Iterator[None]:
        """Do work of `total` bytes in the block, which may end with or without success."""
        self.begin(label, total)
        try:
            yield
        finally:
            self.end()

    def remark(self, text: str) -> None:
        """Something noteworthy happened; `text` may contain untrusted text from an image."""

    def warn(self, text: str) -> None:
        """Something may be unexpected; `text` may contain untrusted text from an image."""

    def trace(self, text: str) -> None:
        """A step was done that only a user who looks for a fault wants to see."""

    def wait(self, text: str) -> None:
        """This process waits for another process; called once for each wait."""

    def busy(self, text: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return a block that does, or waits for, what `text` says; shown only if it takes long."""
        return nullcontext()


SILENT = Observer()
"""The default observer."""
