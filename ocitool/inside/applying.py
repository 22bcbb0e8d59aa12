"""One layer over the tree of the layers below (image-spec layer.md, "Applying Changesets").

First all whiteouts of the layer, wherever they are in its tar: they hide only what lower layers
have. Then its members in their order: a folder over a folder changes attributes and keeps what is
in it, anything else replaces, and a hard link gives an inode one more name.
"""

from typing import cast

from ocitool.errors import LimitExceeded
from ocitool.image.layers import layer_path
from ocitool.inside.former import Below
from ocitool.inside.state import (
    NEW,
    Fate,
    Folder,
    LayerRecord,
    Make,
    Missing,
    TreeState,
    implied,
)
from ocitool.inside.table import DIRECTORY, HARD_LINK, OPAQUE, OTHER, WHITEOUT
from ocitool.oci.quoting import quoted


class Application:
    """Applies one layer. Use it once."""

    def __init__(self, tree: TreeState, record: LayerRecord) -> None:
        self._tree = tree
        self._record = record
        self._table = record.table
        self._base = record.base
        # The folder of each index as far as it is known, forgotten when a folder or link changes.
        self._folders: dict[int, Folder] = {}
        self._below = Below(record)
        self._fates: dict[str, int] = {}
        self._told: set[int] = set()
        # The same for whiteouts, forgotten when one hides a folder or a link.
        self._lower_folders: dict[int, tuple[Folder, str] | None] = {}

    def run(self) -> None:
        """Apply the layer, and note what it did in its record."""
        kinds = self._table.kinds
        if WHITEOUT in kinds or OPAQUE in kinds:
            self._hide_all()
        self._place_all()
        self._below.note_deleted()

    def _trace(
        self, path: str, *, follow: bool, make: Make | None = None
    ) -> tuple[list[str], "int | Folder", list[int]]:
        """Walk along a path; LimitExceeded if all walks for the image together are too long."""
        before = self._tree.steps
        try:
            return self._tree.trace(path, follow=follow, make=make)
        finally:
            self._tree.spend(self._tree.steps - before)

    def _tell(self, kind: str, path: str, text: str) -> None:
        self._tree.problems.add(self._record.number, kind, path, text)

    def _tell_of_lower(self, kind: str, path: str, text: str) -> None:
        """Tell what is odd only if no layer below is missing."""
        if self._tree.is_complete:
            self._tell(kind, path, text)

    # Whiteouts.

    def _hide_all(self) -> None:
        table = self._table
        for row, kind in enumerate(table.kinds):
            if kind < WHITEOUT:
                continue
            found = self._existing(table.parents[row])
            name = table.names[row]
            if kind == OPAQUE:
                if found is not None:
                    self._empty(*found)
            elif found is None or name in ("", ".", "..") or name not in found[0]:
                self._tell_of_lower(
                    "stray_whiteout", table.path(row), "a whiteout hides nothing here"
                )
            else:
                self._hide(*found, name)

    def _existing(self, index: int) -> tuple[Folder, str] | None:
        """Return the folder of an index in the layers below, and its real path."""
        if index not in self._lower_folders:
            self._lower_folders[index] = self._look_up(index)
        return self._lower_folders[index]

    def _look_up(self, index: int) -> tuple[Folder, str] | None:
        try:
            names, folder, passed = self._trace(self._table.folders[index], follow=True)
        except Missing:
            return None
        if not isinstance(folder, dict):
            return None
        self._note_place(index, names, passed)
        return folder, "/".join(names)

    def _empty(self, folder: Folder, path: str) -> None:
        """Remove all that lower layers have in a folder."""
        hidden = {name: value for name, value in folder.items() if name}
        if not hidden:
            return
        fate = self._fate("opaque", path)
        for name, value in hidden.items():
            del folder[name]
            self._lose(value, fate)
        self._below.remember(folder, path).names.update(hidden)
        self._lower_folders.clear()

    def _hide(self, folder: Folder, path: str, name: str) -> None:
        """Remove what lower layers have under a name."""
        value = folder.pop(name)
        where = f"{path}/{name}" if path else name
        self._lose(value, self._fate("deleted", where if isinstance(value, dict) else None))
        self._below.remember(folder, path).names[name] = value
        if isinstance(value, dict) or self._tree.target_of(value) is not None:
            self._lower_folders.clear()

    # Folders.

    def _folder(self, index: int) -> Folder | None:
        """Return the folder of an index, made if it is missing; None if links forbid that."""
        path = self._table.folders[index]
        try:
            names, found, passed = self._trace(path, follow=True, make=self._make)
        except Missing as missing:
            self._tell("link_loop", path, f"{missing.reason}: {', '.join(missing.links)}")
            return None
        self._note_place(index, names, passed)
        folder = self._folders[index] = cast("Folder", found)
        return folder

    def _note_place(self, index: int, names: list[str], passed: list[int]) -> None:
        """Note where a folder really is, and tell of links of lower layers that lead there."""
        if not passed:
            return
        real = self._record.places[index] = "/".join(names)
        self._check_length(real)
        lower = [link for link in passed if link < self._base]
        if lower and index not in self._told:
            self._told.add(index)
            self._tell(
                "through_symlink",
                self._table.folders[index],
                f"layer {self._tree.record_of(lower[0]).number} makes a link here, which leads to "
                f"{quoted(real)}: members below it are put there, as containerd and umoci do; "
                "docker's own store makes a folder in place of the link",
            )

    def _make(
        self, folder: Folder, name: str, above: list[str], value: "int | Folder | None"
    ) -> Folder:
        """Make a folder that has no member, in place of nothing or of a file."""
        self._tree.count_implied()
        made: Folder = {"": implied(self._record.number)}
        path = "/".join(above)
        where = f"{path}/{name}" if path else name
        self._check_length(where)
        before = self._below.adopt(folder, where, name, made)
        if isinstance(value, int):
            self._tell("below_a_file", where, "members lie below it, but it is not a folder")
            before = self._below.inode(value)
            self._lose(value, self._fate("replaced"))
        self._below.imply(made, before)
        folder[name] = made
        return made

    def _check_length(self, path: str) -> None:
        if len(path) > self._tree.limits.path_bytes:
            limit = self._tree.limits.path_bytes
            raise LimitExceeded(f"{quoted(path[:80])}… leads deeper than {limit} bytes of path")

    def _path(self, index: int, name: str) -> str:
        """Return the real path of a name in the folder of an index."""
        place = self._record.places.get(index, self._table.folders[index])
        return f"{place}/{name}" if place else name

    # Members.

    def _place_all(self) -> None:
        table, folders, base, former = self._table, self._folders, self._base, self._below.removed
        kinds, names, previous = table.kinds, table.names, self._record.previous
        for row, parent in enumerate(table.parents):
            kind = kinds[row]
            if kind >= OTHER:
                continue
            folder = folders.get(parent)
            if folder is None:
                folder = self._folder(parent)
                if folder is None:
                    self._record.fates[row] = self._fate("unreachable")
                    continue
            name = names[row]
            if name in folder or former or kind == HARD_LINK:
                self._place(row, folder)
                continue
            folder[name] = base + row if kind != DIRECTORY else {"": base + row}
            previous[row] = NEW

    def _place(self, row: int, folder: Folder) -> None:
        """Place a member where something is or was, or a hard link."""
        kind = self._table.kinds[row]
        existing = folder.get(self._table.names[row])
        if not self._table.names[row]:
            if kind == DIRECTORY:
                self._describe(row, folder)
            else:
                self._record.fates[row] = self._fate("unreachable")
                self._tell("root_replaced", "", "a member that is not a folder has this path")
        elif kind == HARD_LINK:
            self._link(row, folder, existing)
        elif kind != DIRECTORY:
            self._put(row, folder, existing, self._base + row)
        elif isinstance(existing, dict):
            self._describe(row, existing)
        else:
            self._put(row, folder, existing, {"": self._base + row})

    def _describe(self, row: int, folder: Folder) -> None:
        """Give a folder other attributes."""
        self._record.previous[row] = self._below.inode_of_folder(folder)
        folder[""] = self._base + row

    def _link(self, row: int, folder: Folder, existing: "int | Folder | None") -> None:
        """Give a file one more name."""
        path = layer_path(self._table.links.get(row, ""))
        try:
            _, value, _ = self._trace(path, follow=False)
        except Missing:
            value = self._tree.root
        if isinstance(value, dict):
            text = f"it is a hard link to {quoted(path)}, which is not a file of the image"
            self._tell_of_lower("hard_link_to_nothing", self._table.path(row), text)
            return
        inode = self._tree.inode(value)
        if isinstance(existing, int) and self._tree.inode(existing) == inode:
            return  # As tar writes a file that it adds twice.
        if inode < self._base:
            text = (
                f"it is a hard link to {quoted(path)} of layer "
                f"{self._tree.record_of(inode).number}, which docker refuses to load"
            )
            self._tell("cross_layer_hard_link", self._table.path(row), text)
        self._tree.names[inode] = self._tree.names.get(inode, 1) + 1
        self._tree.targets[self._base + row] = inode
        self._put(row, folder, existing, self._base + row)

    def _put(
        self, row: int, folder: Folder, existing: "int | Folder | None", value: "int | Folder"
    ) -> None:
        """Put a member at its path, in place of what is there."""
        name = self._table.names[row]
        where = self._path(self._table.parents[row], name)
        if isinstance(existing, dict):
            before = self._replace_folder(where, folder, existing, name)
        else:
            made = value if isinstance(value, dict) else None
            before = self._below.adopt(folder, where, name, made)
        if isinstance(existing, int):
            before = self._below.inode(existing)
            self._lose(existing, self._fate(self._how(existing, value)))
            if self._tree.target_of(existing) is not None:
                self._folders.clear()
        self._record.previous[row] = before
        folder[name] = value

    def _how(self, existing: int, value: "int | Folder") -> str:
        """Return how a member hides what is there: it takes its place, or is of another type."""
        if isinstance(value, dict):
            return "replaced"
        kinds = []
        for inode in (self._tree.inode(existing), self._tree.inode(value)):
            table, row = self._tree.member(inode)
            kinds.append(table.kinds[row])
        return "overwritten" if kinds[0] == kinds[1] else "replaced"

    def _replace_folder(self, where: str, folder: Folder, existing: Folder, name: str) -> int:
        """Remove a folder for something else; return what the layers below have there."""
        before = self._below.inode_of_folder(existing)
        lower = self._below.tree(existing)
        self._lose(existing, self._fate("replaced", where))
        if before != NEW:
            path = where[: -len(name) - 1]
            lower[""] = before
            self._below.remember(folder, path).names[name] = lower
        self._folders.clear()
        return before

    # Inodes that lose their names.

    def _fate(self, how: str, path: str | None = None) -> int:
        """Return the index of a fate; files that go one by one share theirs."""
        index = self._fates.get(how) if path is None else None
        if index is None:
            index = len(self._tree.fates)
            self._tree.fates.append(Fate(layer=self._record.number, how=how, path=path))
            if path is None:
                self._fates[how] = index
        return index

    def _lose(self, value: "int | Folder", fate: int) -> None:
        """Note that a name is gone, of a folder also all names below it."""
        todo = [value]
        while todo:
            one = todo.pop()
            if isinstance(one, dict):
                todo += one.values()
                # What went from a folder before goes with it now.
                former = self._below.removed.pop(id(one), None)
                if former is not None:
                    one.update(former.names)
            elif one >= 0:
                self._lose_name(one, fate)

    def _lose_name(self, value: int, fate: int) -> None:
        tree = self._tree
        inode = tree.inode(value)
        left = tree.names.get(inode, 1) - 1
        if left:
            tree.names[inode] = left
            return
        record = tree.record_of(inode)
        if record is self._record:
            fate = self._fate("repeated")
        record.fates[inode - record.base] = fate
