"""The tree of names and inodes that the layers of an image make together.

A folder is a dict: each name leads to the number of an inode, or to the dict of a folder; the key
"", which no name can be, has the inode of the folder itself. The number of an inode is the row of
its member, counted through the tables of all layers, so that what a member says is kept only once,
in its table. The name that a hard link made has the number of the link's own row.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Union, cast

from msgspec import Struct, field

from ocitool.errors import LimitExceeded
from ocitool.image.layers.tree import MOST_LINKS
from ocitool.inside.problems import Problems
from ocitool.inside.table import SYMLINK, LayerTable
from ocitool.oci import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted

_MOST_STEPS: Final = 100_000_000
NEW: Final = -1
"""In `previous`: the layers below have nothing at the path."""
NOTHING: Final = -2
"""In `previous`: the member names nothing in the tree, or not any more after a later one."""
IMPLIED: Final = -10
"""A folder without a member of its own has an inode from this number down, one for each layer."""
IMPLIED_MODE: Final = 0o755
"""The mode that unpackers give such a folder; its owner is root."""

Folder = dict[str, Union[int, "Folder"]]


class Fate(Struct, frozen=True, kw_only=True):
    """How files went out of sight: by which layer, in which way, and with which folder.

    `how` is overwritten, deleted, opaque, replaced (by another type), repeated (in the same layer)
    or unreachable (the member was never put anywhere). Once that is known it is also metadata
    (replaced by the same content with other attributes or times) or identical (by the same file).
    `path` is the folder that went with everything in it, None for single files.
    """

    layer: int
    how: str
    path: str | None = None


class LayerRecord(Struct, kw_only=True, eq=False):
    """What one layer did to the tree.

    Row r of its table is inode `base + r`. `previous[r]` is the inode that its path had in the
    layers below, or NEW or NOTHING. `fates[r]` is the index of the fate of inode `base + r` in the
    `fates` of the tree, 0 while a name leads to it. `deleted` has for each folder the names that
    the layers below have in it and that are gone, the topmost ones only, with what they led to.
    `implied` has for each folder that the layer made without a member what the layers below have
    there. `places` has the real path
    of the folders in the table that were reached through a link.
    """

    number: int
    base: int
    table: LayerTable
    previous: "array[int]"
    fates: "array[int]"
    deleted: dict[str, Folder] = field(default_factory=dict)
    implied: "array[int]" = field(default_factory=lambda: array("q"))
    places: dict[int, str] = field(default_factory=dict)

    def path(self, row: int) -> str:
        """Return the real path of a member: links of lower layers in its folder are followed."""
        place = self.places.get(self.table.parents[row])
        if place is None:
            return self.table.path(row)
        return f"{place}/{self.table.names[row]}" if place else self.table.names[row]


Make = Callable[[Folder, str, list[str], Union[int, "Folder", None]], Folder]
"""Makes the folder that is missing: in a folder, under a name, in the folders so called; given what
is there instead."""


class Missing(Exception):
    """A path leads to nothing. `links` are those it went through, each once with its target."""

    def __init__(self, reason: str, links: list[str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.links = links


class TreeState:
    """The tree so far, and what each layer did to it."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.root: Folder = {"": implied(0)}
        self.records: list[LayerRecord] = []
        self.fates: list[Fate] = [Fate(layer=0, how="")]
        self.limits = limits
        self.is_complete = True
        """Whether all layers below the next one were applied."""
        # Hard links: the inode that a name's own row stands for, and how many names an inode has.
        self.targets: dict[int, int] = {}
        self.names: dict[int, int] = {}
        self.problems = Problems()
        # The names that all walks went through, and those of the walks that placed members.
        self.steps = self._spent = 0
        self._bases: list[int] = []
        self._implied = 0

    def begin(self, number: int, table: LayerTable) -> LayerRecord:
        """Return the record of a layer that comes over the ones before."""
        base = self.records[-1].base + len(self.records[-1].table) if self.records else 0
        record = LayerRecord(
            number=number,
            base=base,
            table=table,
            previous=array("q", [NOTHING]) * len(table),
            fates=array("I", [0]) * len(table),
        )
        self.records.append(record)
        self._bases.append(base)
        return record

    def count_implied(self) -> None:
        """Count a folder that no member was needed for; LimitExceeded if there are too many."""
        self._implied += 1
        if self._implied > self.limits.extracted_entries:
            limit = self.limits.extracted_entries
            raise LimitExceeded(f"the layers have more than {limit} folders without a member")

    def spend(self, steps: int) -> None:
        """Count steps of walks for members; LimitExceeded after more than any real image takes.

        A layer can make each of its folders one at the end of forty long links.
        """
        self._spent += steps
        if self._spent > _MOST_STEPS:
            raise LimitExceeded(
                f"the paths of the layers go through more than {_MOST_STEPS} folders and links"
            )

    def record_of(self, inode: int) -> LayerRecord:
        """Return the record of the layer that an inode is of; it must not be an implied one."""
        return self.records[bisect_right(self._bases, inode) - 1]

    def member(self, inode: int) -> tuple[LayerTable, int]:
        """Return the table and the row of an inode that has a member."""
        record = self.record_of(inode)
        return record.table, inode - record.base

    def inode(self, value: int) -> int:
        """Return the inode of a name: of a hard link, that of the file that it is a name of."""
        return self.targets.get(value, value) if self.targets else value

    def path_of(self, inode: int) -> str:
        """Return a path that leads to an inode with a member, the first name if it still does.

        Of an inode that no name leads to any more this is the path of its member.
        """
        record = self.record_of(inode)
        path = record.path(inode - record.base)
        if inode in self.names and not self._leads_to(path, inode):
            for link, target in self.targets.items():
                if target == inode:
                    other = self.record_of(link)
                    name = other.path(link - other.base)
                    if self._leads_to(name, inode):
                        return name
        return path

    def _leads_to(self, path: str, inode: int) -> bool:
        try:
            _, value, _ = self.trace(path, follow=False)
        except Missing:
            return False
        return isinstance(value, int) and self.inode(value) == inode

    def target_of(self, value: int) -> str | None:
        """Return the target of a symbolic link, None for anything else."""
        if value < 0:
            return None
        table, row = self.member(self.inode(value))
        return table.links.get(row, "") if table.kinds[row] == SYMLINK else None

    def trace(
        self, path: str, *, follow: bool, make: Make | None = None
    ) -> tuple[list[str], "int | Folder", list[int]]:
        """Return where a path really is, what is there, and the inodes of the links on the way.

        The last name is followed only if `follow`. With `make`, the path is that of a folder, and
        what is missing on it is made. Raises Missing for what is not there, and for more than
        `MOST_LINKS` links.
        """
        return _Walk(self, follow=follow, make=make).to(path)


class _Walk:
    """One walk along a path, from the root, like a process that has the tree as its root."""

    def __init__(self, tree: TreeState, *, follow: bool, make: Make | None) -> None:
        self._tree = tree
        self._follow = follow
        self._make = make
        self._names: list[str] = []
        self._folders = [tree.root]
        self._passed: list[int] = []
        self._links: dict[str, None] = {}

    def to(self, path: str) -> tuple[list[str], "int | Folder", list[int]]:
        todo = path.split("/")[::-1]
        self._tree.steps += len(todo)
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if self._names:
                    self._names.pop()
                    self._folders.pop()
                continue
            value = self._folders[-1].get(part)
            if isinstance(value, int) and (todo or self._follow) and self._pass(part, value, todo):
                continue
            if not isinstance(value, dict):
                if self._make is None:
                    return self._end(part, value, todo)
                value = self._make(self._folders[-1], part, self._names, value)
            self._names.append(part)
            self._folders.append(value)
        return self._names, self._folders[-1], self._passed

    def _pass(self, part: str, value: int, todo: list[str]) -> bool:
        """Follow a name if it is a symbolic link; tell whether it is."""
        target = self._tree.target_of(value)
        if target is None:
            return False
        self._passed.append(value)
        link = f"{quoted('/'.join((*self._names, part)))} -> {quoted(target)}"
        # A loop goes through the same links again and again.
        self._links.setdefault(link)
        if len(self._passed) > MOST_LINKS:
            raise Missing(f"goes through more than {MOST_LINKS} links", [*self._links])
        if target.startswith("/"):
            self._names, self._folders = [], [self._tree.root]
        parts = target.split("/")[::-1]
        self._tree.steps += len(parts)
        todo += parts
        return True

    def _end(
        self, part: str, value: int | None, todo: list[str]
    ) -> tuple[list[str], "int | Folder", list[int]]:
        """Return what is not a folder, if the path ends there."""
        if value is None or any(rest not in ("", ".") for rest in todo):
            raise Missing("is not in the image", [*self._links])
        return [*self._names, part], value, self._passed


def attributes(folder: Folder) -> int:
    """Return the inode of a folder itself."""
    return cast("int", folder[""])


def implied(layer: int) -> int:
    """Return the inode of a folder that a layer made without a member."""
    return IMPLIED - layer
