"""What one layer adds, changes and deletes, measured against the tree of the layers below."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from ocitool.inside.state import (
    IMPLIED,
    IMPLIED_MODE,
    NEW,
    NOTHING,
    Fate,
    Folder,
    LayerRecord,
    TreeState,
    implied,
)
from ocitool.inside.table import DIRECTORY, FILE, SYMLINK, LayerTable

_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class LayerChanges(Struct, frozen=True, kw_only=True):
    """How many paths a layer adds, changes and deletes.

    `deleted` counts all that is below a deleted folder, `deleted_roots` the topmost paths only. A
    folder that a layer only repeats is none of them, and neither is a path of which only the time
    differs.
    """

    added: int
    changed: int
    deleted: int
    deleted_roots: int


def changes_of(tree: TreeState, record: LayerRecord) -> LayerChanges:
    """Count what a layer did. Content counts as changed where it was not hashed."""
    made = implied(record.number)
    changed = sum(differs(tree, record.base + row, old) for row, old in _replacements(record))
    return LayerChanges(
        added=record.previous.count(NEW) + record.implied.count(NEW),
        changed=changed + sum(differs(tree, made, old) for old in record.implied if old != NEW),
        deleted=sum(_paths_in(folder) for folder in record.deleted.values()),
        deleted_roots=sum(map(len, record.deleted.values())),
    )


def mark_same_content(tree: TreeState) -> None:
    """Give files that a layer replaced with the same content another fate.

    That is metadata where their attributes or times changed, else identical. Only files count
    whose content was looked at.
    """
    for record in tree.records:
        indexes: dict[str, int] = {}
        for row, old in same_size(tree, record):
            other = tree.record_of(old)
            at = old - other.base
            is_hidden_here = tree.fates[other.fates[at]].layer == record.number
            if is_hidden_here and same_content(record.table, row, other.table, at):
                new = record.base + row
                is_same = _attributes(tree, new) == _attributes(tree, old)
                is_same = is_same and record.table.mtimes[row] == other.table.mtimes[at]
                how = "identical" if is_same else "metadata"
                if how not in indexes:
                    indexes[how] = len(tree.fates)
                    tree.fates.append(Fate(layer=record.number, how=how))
                other.fates[at] = indexes[how]


def same_size(tree: TreeState, record: LayerRecord) -> Iterator[tuple[int, int]]:
    """Yield the files of a layer that replace a file of their size: each row and that inode."""
    table = record.table
    for row, old in _replacements(record):
        if old >= 0 and table.kinds[row] == FILE and table.sizes[row]:
            other, at = tree.member(tree.inode(old))
            if other.kinds[at] == FILE and other.sizes[at] == table.sizes[row]:
                yield row, tree.inode(old)


def differs(tree: TreeState, new: int, old: int) -> bool:
    """Tell whether two inodes differ in type, content, mode, owner, xattrs, link or device.

    A content that was not hashed is taken for a different one.
    """
    new, old = tree.inode(new), tree.inode(old)
    if new == old:
        return False
    if _attributes(tree, new) != _attributes(tree, old):
        return True
    if new < 0 or old < 0:
        return False
    table, row = tree.member(new)
    other, at = tree.member(old)
    if table.kinds[row] != FILE or not table.sizes[row]:
        return False
    return not same_content(table, row, other, at)


def same_content(table: LayerTable, row: int, other: LayerTable, at: int) -> bool | None:
    """Tell whether two files of equal size have equal content; None if that is not known."""
    digest, check = table.digest(row), table.check(row)
    if digest is not None and (other_digest := other.digest(at)) is not None:
        return digest == other_digest
    if check is not None and (other_check := other.check(at)) is not None:
        return check == other_check
    return None


def _replacements(record: LayerRecord) -> Iterator[tuple[int, int]]:
    for row, old in enumerate(record.previous):
        if old not in (NEW, NOTHING):
            yield row, old


def _attributes(tree: TreeState, inode: int) -> tuple[object, ...]:
    if inode <= IMPLIED:
        return (DIRECTORY, IMPLIED_MODE, 0, 0, _NO_XATTRS, None, None, 0)
    table, row = tree.member(inode)
    kind = table.kinds[row]
    return (
        kind,
        # The mode of a symbolic link means nothing, and tools write different ones.
        0 if kind == SYMLINK else table.modes[row],
        table.uids[row],
        table.gids[row],
        table.xattrs.get(row, _NO_XATTRS),
        table.links.get(row),
        table.devices.get(row),
        table.sizes[row],
    )


def _paths_in(folder: Folder) -> int:
    """Return how many paths are in a folder, at any depth."""
    count = 0
    todo = [folder]
    while todo:
        for name, value in todo.pop().items():
            count += name != ""
            if isinstance(value, dict):
                todo.append(value)
    return count
