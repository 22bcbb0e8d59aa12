"""The files that differ in two images, as a listing for the tree."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from ocitool.cli.explore.listing import Listing
from ocitool.cli.render.files import mode_text, time_text
from ocitool.image.layers import EntryKind
from ocitool.inside.columns import FILE, FOLDER, LINK, OTHER, ColumnEntry, Columns

if TYPE_CHECKING:
    from ocitool.inside.differences import Comparison, Entry, FileChange, FileChanges

_KINDS: Final[Mapping[EntryKind, int]] = {
    EntryKind.FILE: FILE,
    EntryKind.DIRECTORY: FOLDER,
    EntryKind.SYMLINK: LINK,
}


class Differences:
    """How the files of two images differ. `listing` has a node for each path that does."""

    def __init__(self, found: "Comparison", files: "FileChanges") -> None:
        self.found = found
        self._added = {entry.path: entry for entry in files.added}
        self._removed = {entry.path: entry for entry in files.removed}
        self._changed = {change.path: change for change in files.changed}
        self.listing = Listing(Columns.build((), self._entries(), gone=0), mark=self._mark)

    def _entries(self) -> Iterator[ColumnEntry]:
        changed = [change.b for change in self._changed.values()]
        for entry in (*self._added.values(), *self._removed.values(), *changed):
            if entry.path:
                kind = _KINDS.get(entry.kind, OTHER)
                yield ColumnEntry(entry.path, kind, entry.size, entry.layer)

    @property
    def summary(self) -> str:
        """How many paths were added, removed and changed."""
        return f"+{len(self._added):,} -{len(self._removed):,} ~{len(self._changed):,}"

    def _mark(self, node: int) -> str:
        path = self.listing.path(node)
        for mark, paths in (("+", self._added), ("-", self._removed), ("~", self._changed)):
            if path in paths:
                return mark
        return ""

    def describe(self, node: int) -> list[str]:
        """Return lines about a path: what differs, and what both images have there."""
        path = self.listing.path(node)
        change = self._changed.get(path)
        if change is not None:
            what = ", ".join(change.what)
            return [f"/{path}  {what} changed", _attributes(change.a), _attributes(change.b)]
        for word, entries in (("added", self._added), ("removed", self._removed)):
            if path in entries:
                return [f"/{path}  {word}", _attributes(entries[path])]
        return [f"/{path}", "something below it differs"]

    def lines(self, node: int) -> list[str]:
        """Return all that is known of a path that differs, with the lines of a text."""
        change = self._changed.get(self.listing.path(node))
        return [*self.describe(node), *(_content(change) if change is not None else ())]


def _attributes(entry: "Entry") -> str:
    link = f"  -> {entry.link}" if entry.link is not None else ""
    time = time_text(entry.mtime) if entry.mtime is not None else "-"
    mode = mode_text(entry.kind, entry.mode)
    return f"{mode} {entry.uid}:{entry.gid}  {entry.size:,} bytes  {time}{link}"


def _content(change: "FileChange") -> Iterator[str]:
    yield ""
    if change.diff is not None:
        yield from change.diff
        return
    for name, entry in (("a", change.a), ("b", change.b)):
        if entry.sha256 is not None:
            yield f"{name}  sha256 {entry.sha256}"
