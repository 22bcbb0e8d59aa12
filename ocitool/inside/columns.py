"""All paths of an image as columns, in depth-first order: what the page and the screen show.

What a container sees and what is hidden from it stand in one tree. Sums of folders take one loop,
and the entries of a folder are found without a look at any other.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

from msgspec import Struct

FOLDER: Final = 0
FILE: Final = 1
LINK: Final = 2
NAME: Final = 3
"""A further name of a file that is counted under its first one."""
OTHER: Final = 4
FOLDED: Final = 5
"""Several small files of one layer, added up."""
KIND: Final = 7
"""The bits of a flag that hold one of the kinds above."""
HIDDEN: Final = 8
"""The bit of a flag for what no container can see."""


class ColumnEntry(Struct, frozen=True, gc=False):
    """A path. `size` is its own bytes, `layer` the number of the layer it is in.

    A hidden entry has the number of the layer that hid it, and how as a position in a list of
    words. `kind` is one of the constants of this module. `name` is the last part of the path where
    that text is in memory anyway, else "".
    """

    path: str
    kind: int
    size: int
    layer: int
    hidden_by: int = 0
    how: int = 0
    name: str = ""


_NOTHING: Final = ColumnEntry("", FOLDER, 0, 0)


class Columns:
    """All nodes, each folder before what is in it. Node 0 is the root; its name is empty.

    `files` says for how many files a node stands.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.flags = bytearray()
        self.depths = array("I")
        self.sizes = array("Q")
        self.layers = array("I")
        self.hidden_by = array("I")
        self.hows = bytearray()
        self.files = array("I")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def build(
        cls, live: Iterable[ColumnEntry], hidden: Iterable[ColumnEntry] = (), *, gone: int = HIDDEN
    ) -> Self:
        """Return the columns of what a container sees and of what is hidden from it.

        `live` is sorted as a walk of the tree is: by the parts of the path; `hidden` need not be.
        What has no folder above it gets one with the flag `gone`.
        """
        columns = cls()
        columns.add("", 0, FOLDER, _NOTHING)
        opened: list[str] = []
        for entry in _merged(live, sorted(hidden, key=_key)):
            *folders, name = entry.path.split("/")
            columns._enter(opened, folders, FOLDER | gone)
            hides = HIDDEN if entry.hidden_by else 0
            # A million names take more memory than everything else here.
            columns.add(entry.name or name, len(opened) + 1, entry.kind | hides, entry)
            if entry.kind == FOLDER:
                opened.append(name)
        return columns

    def _enter(self, opened: list[str], folders: Sequence[str], flags: int) -> None:
        """Close the folders that are not on the way, and open those that are not there."""
        shared = 0
        for one, other in zip(opened, folders, strict=False):
            if one != other:
                break
            shared += 1
        del opened[shared:]
        for name in folders[shared:]:
            self.add(name, len(opened) + 1, flags, _NOTHING)
            opened.append(name)

    def add(self, name: str, depth: int, flags: int, entry: ColumnEntry, *, files: int = 1) -> None:
        """Add a node behind all others; of the entry everything but path and kind is taken."""
        self.names.append(name)
        self.flags.append(flags)
        self.depths.append(depth)
        self.sizes.append(entry.size)
        self.layers.append(entry.layer)
        self.hidden_by.append(entry.hidden_by)
        self.hows.append(entry.how)
        self.files.append(files)

    def entry(self, node: int, size: int | None = None) -> ColumnEntry:
        """Return a node without its path, so that it can be added to other columns."""
        return ColumnEntry(
            "",
            self.kind(node),
            self.sizes[node] if size is None else size,
            self.layers[node],
            self.hidden_by[node],
            self.hows[node],
        )

    def kind(self, node: int) -> int:
        """Return what a node is."""
        return self.flags[node] & KIND

    def is_hidden(self, node: int) -> bool:
        """Tell whether no container can see a node."""
        return bool(self.flags[node] & HIDDEN)

    def parents(self) -> "array[int]":
        """Return the node of the folder of each node; the root is its own."""
        parents = array("I", [0])
        way = [0]
        for node in range(1, len(self)):
            del way[self.depths[node] :]
            parents.append(way[-1])
            way.append(node)
        return parents

    def totals(self, parents: "array[int]") -> "array[int]":
        """Return the bytes at and below each node."""
        totals = array("Q", self.sizes)
        for node in range(len(self) - 1, 0, -1):
            totals[parents[node]] += totals[node]
        return totals


def _key(entry: ColumnEntry) -> str:
    # No name has a NUL, so this sorts as the parts of the path do, and a folder behind a file.
    return (
        f"{entry.path}/".replace("/", "\0")
        if entry.kind == FOLDER
        else entry.path.replace("/", "\0")
    )


def _merged(live: Iterable[ColumnEntry], hidden: Sequence[ColumnEntry]) -> Iterator[ColumnEntry]:
    """Yield both in one order; of one path what is hidden comes first."""
    waiting = iter(hidden)
    following = next(waiting, None)
    for entry in live:
        while following is not None and _key(following) <= _key(entry):
            yield following
            following = next(waiting, None)
        yield entry
    while following is not None:
        yield following
        following = next(waiting, None)
