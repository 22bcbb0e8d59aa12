"""Long lists of differences, whose items are made when they are looked at.

Two images may differ in a million paths; what is kept of each is its path and where its members
are in the tables of the layers.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import TypeVar, overload

from ocitool.inside.differences import Entry

Item = TypeVar("Item")


class Made(Sequence[Item]):
    """A sequence of so many items, each made by its number, and anew each time."""

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> list[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | list[Item]:
        if isinstance(number, slice):
            return [self._make(one) for one in range(*number.indices(self._count))]
        return self._make(range(self._count)[number])


class Paths:
    """Paths that only one image has, each with its inode there."""

    def __init__(self, entry: Callable[[str, int], Entry]) -> None:
        self._entry = entry
        self._paths: list[str] = []
        self._inodes = array("q")

    def add(self, path: str, inode: int) -> None:
        """Note one more."""
        self._paths.append(path)
        self._inodes.append(inode)

    def entries(self) -> Sequence[Entry]:
        """Return what the image has at them."""
        return Made(len(self._paths), lambda n: self._entry(self._paths[n], self._inodes[n]))
