"""What the layers below have, while one layer is applied over them.

The tree is changed in place, so a name that this layer removes or replaces has to be remembered
until the end: only then is it known whether the layer brings it again.

An example: the layers below have the folder `d` with the files `d/x` and `d/y`. The whiteout of
`d` takes the folder out of the tree, and `remember` notes it under its name in the root. Then `d`
comes again with `d/x`: `adopt` finds what `d` was, so that the new folder counts as changed and not
as added, and goes on to remember for the new `d` what the old one held. `d/x` adopts the old `d/x`;
`d/y` is left over at the end, and `note_deleted` tells that it was deleted.
"""

from array import array

from msgspec import Struct

from ocitool.inside.state import NEW, NOTHING, Folder, LayerRecord, attributes


class Former(Struct):
    """What the layers below have in a folder and this one removed, by name; and where that is."""

    folder: Folder
    path: str
    names: Folder

    def note_deleted(self, record: LayerRecord) -> None:
        """Note in the record of the layer which of these names it did not bring again."""
        for name, old in self.names.items():
            now = self.folder.get(name)
            if name and now is None:
                record.deleted.setdefault(self.path, {})[name] = old
            elif isinstance(old, dict) and not isinstance(now, dict):
                inner = {key: value for key, value in old.items() if key}
                where = f"{self.path}/{name}" if self.path else name
                record.deleted.setdefault(where, {}).update(inner)


class Below:
    """What the layers below have at the paths that one layer changes.

    `removed` has what is remembered of folders, by the identity of the folder, which is kept alive
    in it.
    """

    def __init__(self, record: LayerRecord) -> None:
        self.removed: dict[int, Former] = {}
        # Folders without a member of their own, and what the layers below have in their place.
        self._implied: dict[int, tuple[Folder, int]] = {}
        self._record = record

    def note_deleted(self) -> None:
        """Note in the record what was removed for good, once the layer is applied."""
        for former in self.removed.values():
            former.note_deleted(self._record)
        self._record.implied = array("q", (before for _, before in self._implied.values()))

    def remember(self, folder: Folder, path: str) -> Former:
        """Return what is remembered of a folder, so that more can be added."""
        former = self.removed.get(id(folder))
        if former is None:
            former = self.removed[id(folder)] = Former(folder, path, {})
        return former

    def imply(self, folder: Folder, before: int) -> None:
        """Note a folder that was made without a member, and what was in its place."""
        self._implied[id(folder)] = (folder, before)

    def adopt(self, folder: Folder, where: str, name: str, made: Folder | None) -> int:
        """Return the inode that the layers below have under a name that this layer removed.

        NEW if there is none. If that is a folder, `made` takes its place.
        """
        former = self.removed.get(id(folder))
        old = former.names.get(name, NEW) if former is not None else NEW
        if isinstance(old, int):
            return old
        if made is not None:
            self.removed[id(made)] = Former(made, where, old)
        return attributes(old)

    def inode(self, value: int) -> int:
        """Return the inode that the layers below have in place of one, which is about to go."""
        row = value - self._record.base
        if row < 0:
            return value
        before = self._record.previous[row]
        self._record.previous[row] = NOTHING
        return before

    def inode_of_folder(self, folder: Folder) -> int:
        """Return the inode that a folder has in the layers below, NEW if it is of this layer."""
        _, before = self._implied.pop(id(folder), (folder, None))
        return self.inode(attributes(folder)) if before is None else before

    def tree(self, folder: Folder) -> Folder:
        """Return what the layers below have in a folder that is about to go."""
        result = self._take(folder)
        todo = [(folder, result)]
        while todo:
            inner, lower = todo.pop()
            for name, value in inner.items():
                if not name:
                    continue
                if isinstance(value, int):
                    if (before := self.inode(value)) != NEW:
                        lower.setdefault(name, before)
                    continue
                below = self._take(value)
                if (before := self.inode_of_folder(value)) != NEW:
                    below[""] = before
                    lower[name] = below
                todo.append((value, below))
        return result

    def _take(self, folder: Folder) -> Folder:
        """Take over what this layer removed from a folder: it is no copy, which could be large."""
        former = self.removed.pop(id(folder), None)
        return {} if former is None else former.names
