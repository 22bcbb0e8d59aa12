"""Which bytes of the layers nobody can see in the image, by path."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from heapq import nlargest

from msgspec import Struct

from ocitool.inside.state import LayerRecord, TreeState


class Waste(Struct, frozen=True, kw_only=True):
    """Bytes of one layer that nobody can see in the image, and which layer hid them.

    `how` is a word of `Fate`, such as metadata: hidden by the same content with other attributes.
    Where `is_folder`, the folder went with all that was in it: so many `files` of this layer.
    """

    path: str
    bytes: int
    layer: int
    hidden_by: int
    how: str
    files: int = 1
    is_folder: bool = False


class _Item(Struct, frozen=True):
    """Hidden bytes of a layer before the path is needed: those of a row, or of a folder."""

    bytes: int
    record: LayerRecord
    fate: int
    row: int | None
    files: int = 1


def hidden(record: LayerRecord) -> Iterator[tuple[int, int]]:
    """Yield the rows of files with content that no name leads to, and the index of their fate."""
    if any(record.fates):
        for row, (index, size) in enumerate(zip(record.fates, record.table.sizes, strict=True)):
            if index and size:
                yield row, index


Counts = Callable[[LayerRecord, int], bool]
"""Tells whether a row of a layer counts."""


def wastes(tree: TreeState, *, top: int | None = None, counts: Counts | None = None) -> list[Waste]:
    """Return the wasted bytes by path, the `top` largest first; a deleted folder is one of them.

    Files that do not count are left out, also of their folder.
    """
    items = _items(tree, counts)
    if top is None:
        chosen = sorted(items, key=_bytes, reverse=True)
    else:
        chosen = nlargest(top, items, key=_bytes)
    return [_waste(tree, item) for item in chosen]


def wasted_bytes(tree: TreeState, counts: Counts) -> int:
    """Return the sum of the waste that counts."""
    return sum(item.bytes for item in _items(tree, counts))


def _bytes(item: _Item) -> int:
    return item.bytes


def _items(tree: TreeState, counts: Counts | None) -> Iterator[_Item]:
    for record in tree.records:
        folders: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        for row, index in hidden(record):
            if counts is not None and not counts(record, row):
                continue
            size = record.table.sizes[row]
            if tree.fates[index].path is None:
                yield _Item(size, record, index, row)
            else:
                folders[index][0] += size
                folders[index][1] += 1
        for index, (size, files) in folders.items():
            yield _Item(size, record, index, None, files)


def _waste(tree: TreeState, item: _Item) -> Waste:
    fate = tree.fates[item.fate]
    return Waste(
        path=fate.path or "" if item.row is None else item.record.path(item.row),
        bytes=item.bytes,
        layer=item.record.number,
        hidden_by=fate.layer,
        how=fate.how,
        files=item.files,
        is_folder=item.row is None,
    )
