"""What a tree on the screen asks of columns: sums, the entries of a folder, paths."""

from array import array
from collections.abc import Callable, Iterator

from ocitool.inside.columns import FILE, FOLDER, Columns


class Listing:
    """Columns with the sums of their folders. Node 0 is the root.

    Everything that is asked costs as much as a folder has entries, however large the image is.
    """

    def __init__(self, columns: Columns, *, mark: Callable[[int], str] | None = None) -> None:
        """`mark` returns what stands behind a node, by default the number of a file's layer."""
        self.columns = columns
        self.mark = mark or self._layer
        self._parents = columns.parents()
        self._totals = columns.totals(self._parents)
        self._after = _after(columns.depths)
        self._files = self._count()

    def _count(self) -> "array[int]":
        columns, parents = self.columns, self._parents
        files = array("I", (kind & 7 == FILE for kind in columns.flags))
        for node in range(len(columns) - 1, 0, -1):
            files[parents[node]] += files[node]
        return files

    def _layer(self, node: int) -> str:
        return "" if self.is_folder(node) else f"#{self.columns.layers[node]}"

    @property
    def size(self) -> int:
        """The bytes of everything that is listed."""
        return self._totals[0]

    @property
    def file_count(self) -> int:
        """The number of files."""
        return self._files[0]

    def name(self, node: int) -> str:
        """Return the name of a node as it is, or "" for the root."""
        return self.columns.names[node]

    def size_of(self, node: int) -> int:
        """Return the bytes at and below a node."""
        return self._totals[node]

    def files_of(self, node: int) -> int:
        """Return the number of files at and below a node."""
        return self._files[node]

    def is_folder(self, node: int) -> bool:
        """Tell whether a node is a folder."""
        return self.columns.kind(node) == FOLDER

    def entries(self, folder: int, *, by_name: bool = False) -> list[int]:
        """Return what is in a folder, the largest first or by name."""
        found = list(self._children(folder))
        if not by_name:
            found.sort(key=lambda node: -self._totals[node])
        return found

    def _children(self, folder: int) -> Iterator[int]:
        node = folder + 1
        while node < self._after[folder]:
            yield node
            node = self._after[node]

    def path(self, node: int) -> str:
        """Return the path of a node, "" for the root."""
        parts = []
        while node:
            parts.append(self.columns.names[node])
            node = self._parents[node]
        return "/".join(reversed(parts))

    def way(self, path: str, *, hidden: bool) -> list[int]:
        """Return the nodes that lead to a path, without the root; as many as there are of them.

        `hidden` says which is meant if a hidden file and another one have the path.
        """
        way, at = [], 0
        parts = path.split("/")
        for number, part in enumerate(parts):
            found = [node for node in self._children(at) if self.columns.names[node] == part]
            if not found:
                break
            is_last = number == len(parts) - 1
            fits = [
                node
                for node in found
                if (self.columns.is_hidden(node) == hidden if is_last else self.is_folder(node))
            ]
            at = (fits or found)[0]
            way.append(at)
        return way


def _after(depths: "array[int]") -> "array[int]":
    """Return for each node the first one behind it that is not below it."""
    after = array("I", [len(depths)]) * len(depths)
    way: list[int] = []
    for node, depth in enumerate(depths):
        for ended in way[depth:]:
            after[ended] = node
        del way[depth:]
        way.append(node)
    return after
