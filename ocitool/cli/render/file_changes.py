"""Rows of files that differ, folded to what a person reads.

A folder that is new or gone as a whole is one row, and so is a change that a folder has together
with what is below it, as after `chown -R`, or that several files of a folder have.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.render.columns import arrow, counted, size
from ocitool.cli.render.console import safe
from ocitool.image.layers import EntryKind

if TYPE_CHECKING:
    from ocitool.inside.differences import Entry, FileChange, FileChanges

_MANY: Final = 5
"""Files of one folder that have rows of their own."""
_SET_ID: Final = 0o6000
_URGENT: Final = 1 << 62
_WORDS: Final = {EntryKind.DIRECTORY: "folder", EntryKind.SYMLINK: "symbolic link"}


class Row(Struct, frozen=True, kw_only=True):
    """One difference: a mark, what it is about, and what about it, all of it safe to print.

    Where not all rows are shown, those of the largest `weight` are; `paths` is how many paths the
    row stands for.
    """

    mark: str
    name: str
    detail: str = ""
    weight: int = 0
    paths: int = 1


class _Item(Struct, frozen=True, kw_only=True):
    """A row to be: `key` tells which items of one folder may be told together."""

    row: Row
    path: str
    key: tuple[str, ...]
    before: int = 0
    after: int = 0


def path_rows(found: "FileChanges") -> Iterator[Row]:
    """Yield a row for every path, in the order of their paths."""
    items = [_one(entry, "+") for entry in found.added]
    items += [_one(entry, "-") for entry in found.removed]
    items += [_changed(change) for change in found.changed]
    for item in sorted(items, key=_order):
        yield item.row


def file_rows(found: "FileChanges") -> Iterator[Row]:
    """Yield rows in the order of their paths, folded."""
    items = [*_whole(found.added, "+"), *_whole(found.removed, "-"), *_alike(found.changed)]
    folders: dict[tuple[str, ...], list[_Item]] = defaultdict(list)
    for item in sorted(items, key=_order):
        folders[(item.path.rpartition("/")[0], *item.key)].append(item)
    told = [one for group in folders.values() for one in _siblings(group)]
    for item in sorted(told, key=_order):
        yield item.row


def _order(item: _Item) -> list[str]:
    return item.path.split("/")


def _whole(entries: "Sequence[Entry]", mark: str) -> Iterator[_Item]:
    """Yield an item for each entry that has its folder in both images."""
    at = 0
    while at < len(entries):
        top = entries[at]
        at += 1
        if top.kind is not EntryKind.DIRECTORY:
            yield _one(top, mark)
            continue
        begin = at
        while at < len(entries) and entries[at].path.startswith(f"{top.path}/"):
            at += 1
        below = [entry for entry in entries[begin:at] if entry.kind is not EntryKind.DIRECTORY]
        amount = sum(entry.size for entry in below)
        detail = f"{counted(len(below), 'file')}, {size(amount)}" if below else "folder"
        row = Row(mark=mark, name=_name(top), detail=detail, weight=amount, paths=1 + at - begin)
        yield _Item(row=row, path=top.path, key=(mark, "folder", top.path))


def _one(entry: "Entry", mark: str) -> _Item:
    amount = f"link to {safe(entry.link or '')}" if entry.link is not None else entry.kind.value
    if entry.kind is EntryKind.FILE:
        amount = size(entry.size)
    if entry.mode & _SET_ID:
        amount += f", mode {entry.mode:o}"
    weight = entry.size + (_URGENT if entry.mode & _SET_ID else 0)
    row = Row(mark=mark, name=_name(entry), detail=amount, weight=weight)
    key = (mark, entry.path if entry.mode & _SET_ID else "")
    before, after = (0, entry.size) if mark == "+" else (entry.size, 0)
    return _Item(row=row, path=entry.path, key=key, before=before, after=after)


def _changed(change: "FileChange") -> _Item:
    before, after = change.a.size, change.b.size
    set_id = (change.a.mode ^ change.b.mode) & _SET_ID or "type" in change.what
    row = Row(
        mark="~",
        name=_name(change.b),
        detail=change_words(change),
        weight=max(before, after) + (_URGENT if set_id else 0),
    )
    key = ("~", _transition(change), change.path if set_id else "")
    return _Item(row=row, path=change.path, key=key, before=before, after=after)


class _Open(Struct):
    """A changed folder, and how many changes below it are the same."""

    prefix: str
    transition: str
    item: _Item
    count: int = 0

    def told(self) -> _Item:
        """Return one item for all of them."""
        if not self.count:
            return self.item
        row, path = self.item.row, self.item.path
        detail = f"and {counted(self.count, 'path')} below: {row.detail}"
        all_rows = replace(row, detail=detail, paths=1 + self.count)
        return replace(self.item, row=all_rows, key=(*self.item.key, path))


def _alike(changes: "Sequence[FileChange]") -> Iterator[_Item]:
    """Yield an item for each change; one for a folder whose change all below it have too."""
    folders: list[_Open] = []
    for change in changes:
        while folders and not change.path.startswith(folders[-1].prefix):
            yield folders.pop().told()
        mine = "" if _has_own_text(change) else _transition(change)
        alike = next((one for one in reversed(folders) if one.transition == mine), None)
        if alike is not None:
            alike.count += 1
        elif mine and change.b.kind is EntryKind.DIRECTORY:
            prefix = f"{change.path}/" if change.path else ""
            folders.append(_Open(prefix, mine, _changed(change)))
        else:
            yield _changed(change)
    while folders:
        yield folders.pop().told()


def _siblings(items: list[_Item]) -> list[_Item]:
    """Return the items of one folder that are alike, as one if they are many."""
    if len(items) <= _MANY:
        return items
    first = items[0]
    mark, folder = first.row.mark, first.path.rpartition("/")[0]
    before, after = sum(one.before for one in items), sum(one.after for one in items)
    if mark != "~":
        what = size(before + after)
    elif before == after:
        what = first.key[1]
    else:
        what = f"{first.key[1]}, {size(before)} {arrow()} {size(after)}"
    row = Row(
        mark=mark,
        name=f"{_shown(folder)}/*" if folder else "/*",
        detail=f"{len(items)} paths, {what}",
        weight=max(before, after),
        paths=len(items),
    )
    return [_Item(row=row, path=first.path, key=first.key)]


def _has_own_text(change: "FileChange") -> bool:
    return bool({"content", "type", "link", "device", "xattrs"} & set(change.what))


def _transition(change: "FileChange") -> str:
    """Return what is the same about changes that are told together."""
    return ", ".join(_WRITERS.get(what, _word)(change, what) for what in _told(change))


def change_words(change: "FileChange") -> str:
    """Return what differs about a path, in words."""
    return ", ".join(_DETAILS.get(what, _word)(change, what) for what in _told(change))


def _told(change: "FileChange") -> list[str]:
    return [what.value for what in change.what if what.value != "mtime"]


def _word(_: "FileChange", what: str) -> str:
    return what


def _mode(change: "FileChange", _: str) -> str:
    return f"mode {change.a.mode:o} {arrow()} {change.b.mode:o}"


def _owner(change: "FileChange", _: str) -> str:
    a, b = change.a, change.b
    return f"owner {a.uid}:{a.gid} {arrow()} {b.uid}:{b.gid}"


def _content(change: "FileChange", _: str) -> str:
    a, b = change.a.size, change.b.size
    if a == b:
        return f"content, {size(b)} as before"
    if size(a) == size(b):
        return f"content, {size(b)} ({b - a:+,} B)"
    return f"content, {size(a)} {arrow()} {size(b)}"


def _type(change: "FileChange", _: str) -> str:
    return f"{_kind(change.a)} {arrow()} {_kind(change.b)}"


def _link(change: "FileChange", _: str) -> str:
    if change.a.link is None or change.b.link is None:
        return "other hard links"
    return f"link {safe(change.a.link)} {arrow()} {safe(change.b.link)}"


def _device(change: "FileChange", _: str) -> str:
    a, b = change.a.device or (0, 0), change.b.device or (0, 0)
    return f"device {a[0]}:{a[1]} {arrow()} {b[0]}:{b[1]}"


def _xattrs(change: "FileChange", _: str) -> str:
    a, b = change.a.xattrs or {}, change.b.xattrs or {}
    names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    return f"xattrs {safe(', '.join(names))}"


def _kind(entry: "Entry") -> str:
    return _WORDS.get(entry.kind, entry.kind.value)


def _name(entry: "Entry") -> str:
    name = _shown(entry.path)
    return f"{name}/" if entry.kind is EntryKind.DIRECTORY and entry.path else name


def _shown(path: str) -> str:
    return safe(f"/{path}")


_Writer = Callable[["FileChange", str], str]
_WRITERS: Final[Mapping[str, _Writer]] = {"mode": _mode, "owner": _owner, "type": _type}
_DETAILS: Final[Mapping[str, _Writer]] = {
    **_WRITERS,
    "content": _content,
    "link": _link,
    "device": _device,
    "xattrs": _xattrs,
}
