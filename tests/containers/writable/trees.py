"""Folders that stand for a writable layer and the image below it."""

import os
from pathlib import Path

import pytest

from ocitool.containers.writable.changes import Change
from ocitool.containers.writable.cursor import Cursor
from ocitool.containers.writable.lower import TreeLower
from ocitool.containers.writable.marks import Marks
from ocitool.containers.writable.walking import find_changes
from ocitool.fsops import Directory

MARKS = "trusted.overlay."
TIME = 1_000_000 * 10**9
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and marks")


class Trees:
    """A folder `upper` over a folder `lower`; what is made in both is equal."""

    def __init__(self, folder: Path) -> None:
        self.upper, self.lower = folder / "upper", folder / "lower"
        self.upper.mkdir()
        self.lower.mkdir()

    def write(self, side: str, path: str, text: str = "", *, time: int = TIME) -> Path:
        """Make a file, and the folders above it, in "upper", "lower" or "both"."""
        for root in self._roots(side):
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            os.utime(place, ns=(time, time))
        return place

    def folder(self, side: str, path: str, mode: int = 0o755) -> Path:
        for root in self._roots(side):
            place = root / path
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(mode)
        return place

    def delete(self, path: str) -> None:
        """Mark a path of the lower tree as deleted, as an overlay does."""
        (self.upper / path).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(self.upper / path, 0o20000, 0)

    def mark(self, path: str, mark: str, value: bytes = b"y") -> None:
        os.setxattr(self.upper / path, f"{MARKS}{mark}", value)

    def changes(self, *, skip: tuple[str, ...] = ()) -> list[Change]:
        """Return the changes, read as those of an overlay."""
        with (
            Directory.open(str(self.upper)) as upper,
            Directory.open(str(self.lower)) as lower,
            Cursor(lower) as cursor,
        ):
            return find_changes(upper, TreeLower(cursor), skip=skip, marks=Marks(MARKS))

    def letters(self, *, skip: tuple[str, ...] = ()) -> list[str]:
        """Return the changes as `container diff` prints them."""
        found = self.changes(skip=skip)
        return [f"{one.letter} {one.path}" for one in found if one.letter is not None]

    def _roots(self, side: str) -> tuple[Path, ...]:
        return (self.upper, self.lower) if side == "both" else (getattr(self, side),)
