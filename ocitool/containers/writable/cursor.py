"""A place in a tree on the disk, from which one goes down into a folder and up again."""

import os
from types import TracebackType
from typing import Self

from ocitool.errors import Refused
from ocitool.fsops import Directory


class Cursor:
    """An open folder of a tree. Only one descriptor is open, however deep it is."""

    def __init__(self, root: Directory) -> None:
        self.folder = root.subdirectory(".")
        self._above: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.folder.close()

    def enter(self, name: str) -> None:
        """Go into a folder; if that fails, the cursor stays where it is."""
        inner = self.folder.subdirectory(name)
        self._above.append(_identity(self.folder))
        self.folder.close()
        self.folder = inner

    def leave(self) -> None:
        """Go back to the folder above. Refused if a process has moved the folder meanwhile."""
        outer = self.folder.subdirectory("..")
        if _identity(outer) != self._above.pop():
            outer.close()
            raise Refused(
                f"{self.folder.path!r} was moved while it was read",
                hint="try again, or stop the container first",
            )
        self.folder.close()
        # Its path must not grow with each step.
        outer.path = os.path.dirname(self.folder.path)
        self.folder = outer


def _identity(folder: Directory) -> tuple[int, int]:
    status = os.fstat(folder.descriptor)
    return status.st_dev, status.st_ino
