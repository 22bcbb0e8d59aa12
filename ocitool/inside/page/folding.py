"""Fewer nodes for the page: the smallest files of each folder are added up."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from ocitool.inside.columns import FILE, FOLDED, HIDDEN, Columns

_FEWEST: Final = 8
_Rest = dict[int, dict[tuple[int, int], list[int]]]
"""By folder: what was added up by layer and hidden bit, as bytes, files and one node of them."""


def folded(columns: Columns, most: int) -> Columns:
    """Return at most about `most` nodes: the smallest files of each folder become one node.

    Such a node stands for the files of one layer that are all live or all hidden, also those
    of small folders; the sums of each folder and layer stay what they are.
    """
    if len(columns) <= most:
        return columns
    parents = columns.parents()
    totals = columns.totals(parents)
    wanted = most
    while True:
        found = _fold(columns, parents, totals, _threshold(parents, totals, wanted))
        # Files of several layers in one folder make more nodes than was foreseen.
        if len(found) <= most or wanted < _FEWEST:
            return found
        wanted = wanted * most // len(found) - 1


def _fold(columns: Columns, parents: "array[int]", totals: "array[int]", least: int) -> Columns:
    """Return the nodes of at least so many bytes, and the rest added up in their folders."""
    kept = array("I", [0])
    rest: _Rest = {}
    for node in range(1, len(columns)):
        parent = kept[parents[node]]
        keeps = parent == parents[node] and totals[node] >= least
        kept.append(node if keeps else parent)
        if not keeps and columns.kind(node) == FILE:
            key = (columns.layers[node], columns.flags[node] & HIDDEN)
            sums = rest.setdefault(parent, {}).setdefault(key, [0, 0, node])
            sums[0] += columns.sizes[node]
            sums[1] += 1
    return _copied(columns, (node for node, at in enumerate(kept) if at == node), rest)


def _copied(columns: Columns, nodes: Iterator[int], rest: _Rest) -> Columns:
    copy = Columns()
    for node in nodes:
        depth = columns.depths[node]
        copy.add(columns.names[node], depth, columns.flags[node], columns.entry(node))
        for (_, hides), (size, files, first) in rest.get(node, {}).items():
            entry = columns.entry(first, size)
            copy.add("", depth + 1, FOLDED | hides, entry, files=files)
    return copy


def _threshold(parents: "array[int]", totals: "array[int]", most: int) -> int:
    """Return from how many bytes a node may stay, so that about `most` nodes are left.

    A folder that stays has one more node for its rest when its smallest entry goes.
    """
    smallest: dict[int, int] = {}
    for node in range(1, len(totals)):
        parent, total = parents[node], totals[node]
        if total < smallest.get(parent, total + 1):
            smallest[parent] = total
    every = sorted(totals)
    folders = sorted(totals[folder] for folder in smallest)
    entries = sorted(smallest.values())

    def left(least: int) -> int:
        staying = len(every) - bisect_left(every, least)
        with_rest = len(folders) - bisect_left(folders, least)
        return staying + with_rest - (len(entries) - bisect_left(entries, least))

    low, high = 0, every[-1] + 1
    while low < high:
        middle = (low + high) // 2
        if left(middle) <= most:
            high = middle
        else:
            low = middle + 1
    return low
