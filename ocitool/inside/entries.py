"""What is in a merged tree, live and hidden, as entries for columns."""

from collections.abc import Iterator
from typing import Final

from ocitool.image.layers import EntryKind
from ocitool.inside import columns, table
from ocitool.inside.changes import differs
from ocitool.inside.columns import ColumnEntry, Columns
from ocitool.inside.state import NEW, NOTHING, LayerRecord, TreeState
from ocitool.inside.tree import MergedTree, Node
from ocitool.inside.waste import hidden

HOWS: Final = (
    "overwritten",
    "deleted",
    "opaque",
    "replaced",
    "repeated",
    "unreachable",
    "metadata",
    "identical",
)
"""How a file can be hidden; `ColumnEntry.how` is a position in this."""
_CODES: Final = {
    table.DIRECTORY: columns.FOLDER,
    table.FILE: columns.FILE,
    table.SYMLINK: columns.LINK,
    table.HARD_LINK: columns.NAME,
}
_KINDS: Final = {
    EntryKind.DIRECTORY: columns.FOLDER,
    EntryKind.FILE: columns.FILE,
    EntryKind.SYMLINK: columns.LINK,
}


def image_columns(tree: MergedTree) -> Columns:
    """Return everything in the layers: what a container sees, and what is hidden from it."""
    return Columns.build(live_entries(tree), hidden_entries(tree))


def live_entries(tree: MergedTree) -> Iterator[ColumnEntry]:
    """Yield what a container sees, each file counted under the first of its names."""
    counted: set[tuple[int, int | None]] = set()
    names = {record.number: record.table.names for record in tree.records}
    for node in tree.walk():
        if not node.path:
            continue
        if node.nlink > 1:
            inode = (node.layer, node.row)
            if inode in counted:
                yield ColumnEntry(node.path, columns.NAME, 0, node.named_by)
                continue
            counted.add(inode)
            yield live_entry(node)
        else:
            yield live_entry(node, "" if node.row is None else names[node.layer][node.row])


def live_entry(node: Node, name: str = "") -> ColumnEntry:
    """Return a node of the tree as an entry; `name` is what its member is called, or ""."""
    kind = _KINDS.get(node.kind, columns.OTHER)
    return ColumnEntry(node.path, kind, node.size, node.layer, name=name)


def hidden_entries(tree: MergedTree) -> Iterator[ColumnEntry]:
    """Yield every file with content that no container sees, in no order."""
    for record in tree.records:
        for row, index in hidden(record):
            fate, size = tree.fates[index], record.table.sizes[row]
            how = HOWS.index(fate.how)
            path = record.path(row)
            yield ColumnEntry(path, columns.FILE, size, record.number, fate.layer, how)


def added_entries(tree: TreeState, record: LayerRecord) -> Iterator[ColumnEntry]:
    """Yield what a layer has a member for and the layers below do not have, in no order."""
    for row, old in enumerate(record.previous):
        if old == NEW:
            yield _member(tree, record, row)


def changed_entries(tree: TreeState, record: LayerRecord) -> Iterator[ColumnEntry]:
    """Yield what a layer has in place of something else, in no order."""
    for row, old in enumerate(record.previous):
        if old not in (NEW, NOTHING) and differs(tree, record.base + row, old):
            yield _member(tree, record, row)


def deleted_entries(tree: TreeState, record: LayerRecord) -> Iterator[ColumnEntry]:
    """Yield what the layers below have and a layer takes away, with the layer it was in."""
    todo = list(record.deleted.items())
    while todo:
        path, folder = todo.pop()
        for name, value in folder.items():
            if not name:
                continue
            where = f"{path}/{name}" if path else name
            if isinstance(value, dict):
                todo.append((where, value))
                yield ColumnEntry(where, columns.FOLDER, 0, 0)
            else:
                former = tree.record_of(value)
                found = _member(tree, former, value - former.base)
                yield ColumnEntry(where, found.kind, found.size, found.layer)


def _member(tree: TreeState, record: LayerRecord, row: int) -> ColumnEntry:
    kind = _CODES.get(record.table.kinds[row], columns.OTHER)
    size = record.table.sizes[row]
    fate = tree.fates[record.fates[row]]
    by, how = (fate.layer, HOWS.index(fate.how)) if record.fates[row] else (0, 0)
    return ColumnEntry(record.path(row), kind, size, record.number, by, how)
