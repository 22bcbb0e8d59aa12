"""The figures that dive prints, by its rules: for those who compare, and for limits set with it.

They are not ours. dive counts every copy of a file that occurs more than once, the one that stays
too, sees neither opaque folders nor changes of type, and leaves out what lies below a removed
folder. Its rules (filetree/efficiency.go, dive 0.13): of each layer the members without children
count, a whiteout under the path that it hides. The least size that a path has is what it should
take, the sum of its sizes what it does; the efficiency is the ratio of these two over all paths.
A path that occurs twice is wasted whole.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from ocitool.image.layers import WHITEOUT_PREFIX
from ocitool.inside.table import DIRECTORY, OPAQUE, OTHER, WHITEOUT, LayerTable

_AUFS = ".wh..wh."


class DiveFigures(Struct, frozen=True, kw_only=True):
    """What dive says of an image.

    `efficiency` is a ratio from 0 to 1, `wasted_bytes` a number of bytes. `user_wasted_percent` is
    their ratio to the bytes of all layers but the first: 0.1 is 10 %, as in dive's own rule of that
    name. It is None if those layers have no bytes.
    """

    efficiency: float
    wasted_bytes: int
    user_wasted_percent: float | None


def dive_figures(tables: Sequence[LayerTable]) -> DiveFigures:
    """Return what dive says of an image with these layers, the lowest first.

    A whiteout of what is not there counts as an empty file, as dive means it; dive itself skips the
    rest of such a layer, by mistake.
    """
    layers = Counter(folder for table in tables for folder in _folders(table))
    hidden = {path for table in tables for path in _hidden(table)}
    tally = _Tally({_parent(path) for path in hidden})
    stack = _Stack(hidden & layers.keys())
    user_bytes = 0
    for number, table in enumerate(tables):
        layer = _Layer(table)
        if number:
            user_bytes += layer.size
        folders = _folders(table)
        layers.subtract(folders)
        for folder, sizes in layer.leaves():
            tally.add(folder, sizes, again=layers[folder] > 0)
        for path in layer.hidden:
            sizes = {_name(path): stack.bytes_below(path)}
            tally.add(_parent(path), sizes, again=layers[_parent(path)] > 0)
        stack.apply(layer)
        tally.forget(folder for folder in folders if not layers[folder])
    return tally.figures(user_bytes)


class _Tally:
    """The sums over all paths. Only paths that may occur again are remembered.

    `hiding` are folders with whiteouts in them: a path in one of these can occur twice in a layer.
    """

    def __init__(self, hiding: set[str]) -> None:
        self._hiding = hiding
        self._least: dict[str, dict[str, int]] = {}
        self._repeated: dict[str, set[str]] = {}
        self._bytes = self._least_bytes = self._wasted_bytes = 0

    def add(self, folder: str, sizes: dict[str, int], *, again: bool) -> None:
        """Count an occurrence of each of the names in a folder; keeps `sizes`.

        `again` tells whether the folder occurs in layers to come.
        """
        total = sum(sizes.values())
        self._bytes += total
        self._least_bytes += total
        least = self._least.get(folder)
        if least is not None:
            for name in least.keys() & sizes.keys():
                self._repeat(folder, name, least[name], sizes[name])
                sizes[name] = min(least[name], sizes[name])
            least.update(sizes)
        elif again or folder in self._hiding:
            self._least[folder] = sizes

    def _repeat(self, folder: str, name: str, least: int, size: int) -> None:
        self._least_bytes -= max(least, size)
        self._wasted_bytes += size
        repeated = self._repeated.setdefault(folder, set())
        if name not in repeated:
            repeated.add(name)
            self._wasted_bytes += least

    def forget(self, folders: Iterable[str]) -> None:
        """Forget folders that do not occur any more."""
        for folder in folders:
            self._least.pop(folder, None)
            self._repeated.pop(folder, None)

    def figures(self, user_bytes: int) -> DiveFigures:
        """Return what follows from the sums."""
        return DiveFigures(
            efficiency=self._least_bytes / self._bytes if self._bytes else 1.0,
            wasted_bytes=self._wasted_bytes,
            user_wasted_percent=self._wasted_bytes / user_bytes if user_bytes else None,
        )


class _Layer:
    """A layer as dive sees it: of two members of one path the later, and no opaque markers.

    `entries` are the rows of its members, by folder and name, `containers` the folders that have
    something in them, `hidden` the paths of its whiteouts.
    """

    def __init__(self, table: LayerTable) -> None:
        self.table = table
        self.entries: dict[str, dict[str, int]] = {}
        self.hidden: dict[str, None] = {}
        self.containers: set[str] = set()
        self._opaque: set[str] = set()
        self.size = sum(table.sizes)
        self._sort_rows()
        for path in (*self.entries, *map(_parent, (*self.hidden, *self._opaque))):
            self._contain(path)

    def _sort_rows(self) -> None:
        table = self.table
        groups: dict[int, dict[str, int]] = {}
        for row, (parent, name, kind) in enumerate(
            zip(table.parents, table.names, table.kinds, strict=True)
        ):
            if kind >= OTHER and self._is_marker(row, name, kind):
                continue
            if name:
                group = groups.get(parent)
                if group is None:
                    group = groups[parent] = {}
                group[name] = row
        for parent, group in groups.items():
            self.entries[table.folders[parent]] = group

    def _is_marker(self, row: int, name: str, kind: int) -> bool:
        if kind == OTHER:
            return name.startswith(_AUFS)
        self.size += self.table.stored_size(row)
        if kind == OPAQUE:
            self._opaque.update({self.table.path(row)} - {""})
        elif name:
            self.hidden[self.table.path(row)] = None
        return True

    def _contain(self, folder: str) -> None:
        while folder not in self.containers:
            self.containers.add(folder)
            folder = _parent(folder)

    def row(self, path: str) -> int | None:
        """Return the row of the member that has a path, None if it has none of its own."""
        return self.entries.get(_parent(path), {}).get(_name(path))

    def leaves(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield the sizes of all members without children, by name, with their folder."""
        inner: dict[str, set[str]] = {}
        for path in self.containers:
            inner.setdefault(_parent(path), set()).add(_name(path))
        sizes = self.table.sizes
        for folder, rows in self.entries.items():
            left_out = inner.get(folder, ())
            yield folder, {name: sizes[row] for name, row in rows.items() if name not in left_out}
        # The marker itself is nothing to dive, but it makes the folder that it stands in.
        for path in self._opaque - self.containers:
            if self.row(path) is None:
                yield _parent(path), {_name(path): 0}


class _Node:
    __slots__ = ("children", "is_folder", "size")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.is_folder = False
        self.size = 0


class _Stack:
    """The tree that dive makes of layers, as far as it is at or below one of the `roots`.

    A path that a layer has no member for, but something below it, is no folder to dive from then
    on, and its whiteout hides nothing.
    """

    def __init__(self, roots: set[str]) -> None:
        self._roots = roots
        self._tree = _Node()
        self._inside: dict[str, bool] = {"": False}

    def bytes_below(self, path: str) -> int:
        """Return the bytes in a folder; 0 for anything else."""
        node = self._find(path)
        if node is None or not node.is_folder:
            return 0
        found, todo = 0, [node]
        while todo:
            node = todo.pop()
            found += node.size
            todo.extend(node.children.values())
        return found

    def apply(self, layer: _Layer) -> None:
        """Lay a layer over the tree."""
        if not self._roots:
            return
        # dive visits a layer by name, and a dot file before its whiteout.
        late = [path for path in layer.hidden if _name(path) < WHITEOUT_PREFIX + _name(path)]
        for path in layer.hidden.keys() - set(late):
            self._remove(path)
        for path in self._covered(layer):
            row, node = layer.row(path), self._make(path)
            node.is_folder = row is not None and layer.table.kinds[row] == DIRECTORY
            node.size = layer.table.sizes[row] if row is not None else 0
        for path in late:
            self._remove(path)

    def _covered(self, layer: _Layer) -> Iterator[str]:
        """Yield the paths of a layer that are at or below a root."""
        for path in self._roots:
            if path in layer.containers or layer.row(path) is not None:
                yield path
        for folder in layer.containers:
            if self._is_inside(folder):
                yield folder
                yield from (f"{folder}/{name}" for name in layer.entries.get(folder, ()))

    def _is_inside(self, folder: str) -> bool:
        chain = []
        while (known := self._inside.get(folder)) is None and folder not in self._roots:
            chain.append(folder)
            folder = _parent(folder)
        found = True if known is None else known
        self._inside.update(dict.fromkeys(chain, found))
        return found

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self._tree
        for name in path.split("/"):
            node = node.children.get(name) if node is not None else None
        return node

    def _make(self, path: str) -> _Node:
        node = self._tree
        for name in path.split("/"):
            found = node.children.get(name)
            if found is None:
                found = node.children[name] = _Node()
            node = found
        return node

    def _remove(self, path: str) -> None:
        parent = self._find(_parent(path)) if _parent(path) else self._tree
        if parent is not None:
            parent.children.pop(_name(path), None)


def _folders(table: LayerTable) -> set[str]:
    """Return the folders that a layer has something in; for dive a marker makes its folder."""
    found = set(table.folders)
    row = table.kinds.find(OPAQUE)
    while row >= 0:
        found.add(_parent(table.path(row)))
        row = table.kinds.find(OPAQUE, row + 1)
    return found


def _hidden(table: LayerTable) -> Iterator[str]:
    row = table.kinds.find(WHITEOUT)
    while row >= 0:
        if table.names[row]:
            yield table.path(row)
        row = table.kinds.find(WHITEOUT, row + 1)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
