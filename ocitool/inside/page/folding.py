"""Fewer nodes for the page: the smallest files of each folder are added up."""

from array import array
from bisect import bisect_left
from typing import Final

from ocitool.inside.columns import FILE, FOLDED, HIDDEN, Columns

_TRIES: Final = 8
_NEAR: Final = 0.8
"""A result with this part of the nodes that are allowed is good enough."""
_Rest = dict[int, dict[tuple[int, int], list[int]]]
"""By folder: what was added up by layer and hidden bit, as bytes, files and one node of them."""


def folded(columns: Columns, most: int) -> Columns:
    """Return at most `most` nodes: the smallest files of each folder become one node.

    Such a node stands for the files of one layer that are all live or all hidden, also those
    of small folders; the sums of each folder and layer stay what they are. If the image has more
    layers than nodes are allowed, there are more.
    """
    return columns if len(columns) <= most else _Folding(columns).to(most)


class _Folding:
    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._parents = columns.parents()
        self._totals = columns.totals(self._parents)
        smallest: dict[int, int] = {}
        for node in range(1, len(columns)):
            parent, total = self._parents[node], self._totals[node]
            if total < smallest.get(parent, total + 1):
                smallest[parent] = total
        self._sizes = sorted(self._totals)
        self._folders = sorted(self._totals[folder] for folder in smallest)
        self._smallest = sorted(smallest.values())

    def to(self, most: int) -> Columns:
        """Find by trial from how many bytes nodes may stay, and make the columns of that."""
        # Files of several layers in one folder make more nodes than can be foreseen.
        fits, exceeds, wanted = 0, most + 1, most
        for _ in range(_TRIES):
            kept, rest, count = self._split(self._threshold(wanted))
            if count > most:
                exceeds = wanted
            elif count >= most * _NEAR:
                break
            else:
                fits = wanted
            wanted = (fits + exceeds) // 2
        else:
            kept, rest, _ = self._split(self._threshold(fits))
        return self._copied(kept, rest)

    def _threshold(self, most: int) -> int:
        """Return from how many bytes a node may stay, so that about `most` nodes are left."""
        low, high = 0, self._sizes[-1] + 1
        while low < high:
            middle = (low + high) // 2
            if self._left(middle) <= most:
                high = middle
            else:
                low = middle + 1
        return low

    def _left(self, least: int) -> int:
        """Count the nodes that stay, and one more for each folder whose smallest entry goes."""
        staying, with_rest, whole = (
            len(sizes) - bisect_left(sizes, least)
            for sizes in (self._sizes, self._folders, self._smallest)
        )
        return staying + with_rest - whole

    def _split(self, least: int) -> tuple["array[int]", _Rest, int]:
        """Return for each node the one that stays for it, the rest, and how many nodes that is."""
        columns, parents, totals = self._columns, self._parents, self._totals
        kept = array("I", [0])
        rest: _Rest = {}
        count = 1
        for node in range(1, len(columns)):
            parent = parents[node]
            if kept[parent] == parent and totals[node] >= least:
                kept.append(node)
                count += 1
                continue
            parent = kept[parent]
            kept.append(parent)
            if columns.kind(node) == FILE:
                key = (columns.layers[node], columns.flags[node] & HIDDEN)
                sums = rest.setdefault(parent, {}).setdefault(key, [0, 0, node])
                sums[0] += columns.sizes[node]
                sums[1] += 1
        return kept, rest, count + sum(map(len, rest.values()))

    def _copied(self, kept: "array[int]", rest: _Rest) -> Columns:
        columns, copy = self._columns, Columns()
        for node, at in enumerate(kept):
            if at != node:
                continue
            depth = columns.depths[node]
            copy.add(columns.names[node], depth, columns.flags[node], columns.entry(node))
            for (_, hides), (size, files, first) in rest.get(node, {}).items():
                entry = columns.entry(first, size)
                copy.add("", depth + 1, FOLDED | hides, entry, files=files)
        return copy
