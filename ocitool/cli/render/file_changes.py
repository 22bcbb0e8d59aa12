"""Rows of files that differ, folded to what a person reads.

A folder that is new or gone as a whole is one row, and so is a change that a folder has together
with what is below it, as after `chown -R`, or that several files of a folder have.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.render.columns import arrow, counted, size
from ocitool.cli.render.console import safe
from ocitool.image.layers import EntryKind

if TYPE_CHECKING:
    from ocitool.inside.differences import Entry, FileChange, FileChanges

MOST_ROWS: Final = 40
"""Rows of a section that are shown, unless every path is asked for."""
_MANY: Final = 5
"""Files of one folder that have rows of their own."""
_SET_ID: Final = 0o6000
_URGENT: Final = 1 << 62
_WORDS: Final = {EntryKind.DIRECTORY: "folder", EntryKind.SYMLINK: "symbolic link"}


class Row(Struct, frozen=True, kw_only=True):
    """One difference: a mark, what it is about, and what about it, all of it safe to print.

    Where not all rows are shown, those of the largest `weight` are; `paths` is how many paths the
    row stands for. A detail that `is_cut` ends where the line does, another one gets its own line.
    """

    mark: str
    name: str
    detail: str = ""
    weight: int = 0
    paths: int = 1
    is_cut: bool = True


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


def own_bytes(entry: "Entry") -> int:
    """Return the bytes of a file, only once for one that has several paths."""
    return entry.size if entry.hard_link is None else 0


def file_rows(found: "FileChanges") -> Iterator[Row]:
    """Yield rows in the order of their paths, folded, and more so if they are too many to read."""
    changes, others = _by_first_path(found.changed)
    items = [*_whole(found.added, "+"), *_whole(found.removed, "-"), *_alike(changes, others)]
    items = _fold(sorted(items, key=_order), None, "*")
    depth = max((item.path.count("/") for item in items), default=0) - 1
    while len(items) > MOST_ROWS and depth > 0:
        items = _fold(items, depth, "**")
        depth -= 1
    for item in items:
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
        below = amount = 0
        # There may be a million of them: none is kept.
        while at < len(entries) and (entry := entries[at]).path.startswith(f"{top.path}/"):
            at += 1
            below += entry.kind is not EntryKind.DIRECTORY
            amount += own_bytes(entry) if entry.kind is not EntryKind.DIRECTORY else 0
        detail = f"{counted(below, 'file')}, {size(amount)}" if below else "empty folder"
        row = Row(mark=mark, name=_name(top), detail=detail, weight=amount, paths=1 + at - begin)
        key = (mark, "folder", top.path) if below else (mark, detail)
        yield _Item(row=row, path=top.path, key=key)


def _one(entry: "Entry", mark: str) -> _Item:
    what = _description(entry)
    is_urgent = bool(entry.mode & _SET_ID)
    amount = own_bytes(entry)
    row = Row(
        mark=mark,
        name=_name(entry),
        detail=f"{what}, mode {entry.mode:o}" if is_urgent else what,
        weight=amount + (_URGENT if is_urgent else 0),
    )
    alike = entry.path if is_urgent else "" if entry.kind is EntryKind.FILE and amount else what
    before, after = (0, amount) if mark == "+" else (amount, 0)
    return _Item(row=row, path=entry.path, key=(mark, alike), before=before, after=after)


def _description(entry: "Entry") -> str:
    if entry.hard_link is not None:
        return f"hard link to {_shown(entry.hard_link)}"
    if entry.link is not None:
        return f"link to {safe(entry.link)}"
    return size(entry.size) if entry.kind is EntryKind.FILE else _kind(entry)


def _changed(change: "FileChange", others: int = 0) -> _Item:
    """Return the item of a change; `others` are more paths of the same file."""
    before, after = own_bytes(change.a), own_bytes(change.b)
    set_id = (change.a.mode ^ change.b.mode) & _SET_ID
    names = f", with {counted(others, 'other path')} of it" if others else ""
    row = Row(
        mark="~",
        name=_name(change.b),
        detail=f"{change_words(change)}{names}",
        weight=max(before, after) + (_URGENT if set_id else 0),
        paths=1 + others,
    )
    key = ("~", _transition(change), change.path if set_id or others else "")
    return _Item(row=row, path=change.path, key=key, before=before, after=after)


def _by_first_path(
    changes: "Sequence[FileChange]",
) -> "tuple[list[FileChange], Mapping[str, int]]":
    """Return changes without those of further paths of a file, and how many these are."""
    first = {change.path: change.what for change in changes}
    left, others = [], Counter[str]()
    for change in changes:
        path = change.b.hard_link
        if path is not None and change.a.hard_link == path and first.get(path) == change.what:
            others[path] += 1
        else:
            left.append(change)
    return left, others


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


def _alike(changes: "Sequence[FileChange]", others: Mapping[str, int]) -> Iterator[_Item]:
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
            yield _changed(change, others.get(change.path, 0))
    while folders:
        yield folders.pop().told()


def _as_one(items: Sequence[_Item], name: str) -> list[_Item]:
    """Return items that are alike as one with this name, if they are many."""
    if len(items) <= _MANY:
        return list(items)
    first = items[0]
    mark, what = first.row.mark, first.key[1]
    before, after = sum(one.before for one in items), sum(one.after for one in items)
    if mark != "~":
        what = what or size(before + after)
    elif before != after:
        what = f"{what}, {size(before)} {arrow()} {size(after)}"
    paths = sum(item.row.paths for item in items)
    row = Row(
        mark=mark,
        name=name,
        detail=f"{paths} paths, {what}",
        weight=max(before, after),
        paths=paths,
    )
    return [_Item(row=row, path=first.path, key=first.key, before=before, after=after)]


def _fold(items: Iterable[_Item], depth: int | None, mark: str) -> list[_Item]:
    """Fold items that are alike and below one folder, or right in it if `depth` is None."""
    groups: dict[tuple[str, ...], list[_Item]] = defaultdict(list)
    left: list[_Item] = []
    for item in items:
        folders = item.path.split("/")[:-1]
        if depth is not None and len(folders) <= depth:
            left.append(item)
        else:
            groups["/".join(folders[:depth]), *item.key].append(item)
    for (folder, *_), group in groups.items():
        left += _as_one(group, f"{_shown(folder)}/{mark}" if folder else f"/{mark}")
    return sorted(left, key=_order)


def _has_own_text(change: "FileChange") -> bool:
    return bool({"content", "type", "link", "device", "xattrs"} & set(change.what))


def _transition(change: "FileChange") -> str:
    """Return what is the same about changes that are told together."""
    return ", ".join(_WRITERS.get(what, _word)(change, what) for what in _told(change))


def change_words(change: "FileChange") -> str:
    """Return what differs about a path, in words."""
    return ", ".join(_DETAILS.get(what, _word)(change, what) for what in _told(change))


def _told(change: "FileChange") -> list[str]:
    told = [what.value for what in change.what if what.value != "mtime"]
    # A file has another mode than a link, and that says nothing.
    return [what for what in told if what in ("type", "owner")] if "type" in told else told


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
