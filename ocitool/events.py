"""What the library tells its observer: progress, remarks, waits.

Methods may be called from several threads at once and must return quickly. The library prints
nothing; the command line overrides these methods.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.oci import Descriptor


class Outcome(StrEnum):
    """What became of a blob."""

    STORED = "stored"
    EXISTED = "existed"
    UPLOADED = "uploaded"
    MOUNTED = "mounted"
    CONVERTED = "converted"


class Observer:
    """Hears what happens and does nothing about it; override what interests you."""

    def begin(self, label: str, total: int) -> None:
        """Some work of `total` bytes begins."""

    def advance(self, count: int) -> None:
        """`count` bytes more are done."""

    def finish(self, descriptor: "Descriptor", outcome: Outcome) -> None:
        """A blob is done."""

    def end(self) -> None:
        """The work that began is over, whether it succeeded or not."""

    def remark(self, text: str) -> None:
        """Something worth saying happened; `text` may hold text from an image."""

    def warn(self, text: str) -> None:
        """Something may not be what the user expects; `text` may hold text from an image."""

    def wait(self, text: str) -> None:
        """This process waits for another one; told once for each wait."""


SILENT = Observer()
"""The observer where none is given."""
