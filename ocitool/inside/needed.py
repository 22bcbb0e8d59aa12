"""Finding one file without reading all layers, where the upper ones tell for certain what it is.

A path is certain when a layer has the file and, before it, every folder on the way: these are real
folders from then on, so that no link of a lower layer leads there. The layers above must have
nothing that could be the file or one of these folders under another path. Wherever that is not
sure, all layers are read and merged.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS, processors
from ocitool.errors import OcitoolError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Ranged, Root, Source
from ocitool.image.layers.tree import MOST_LINKS
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.kept import KeptTars
from ocitool.inside.ranges.fetching import RangedTables
from ocitool.inside.scanning import TableCache, scan_layers
from ocitool.inside.table import DIRECTORY, FILE, OPAQUE, SYMLINK, WHITEOUT, LayerTable
from ocitool.inside.tree import MergedTree
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits, Platform


def look_for(
    source: Source,
    root: Root,
    path: str,
    *,
    platform: Platform | None = None,
    required: bool = False,
    cache: TableCache | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
    up_to: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    ranges: bool = False,
    keep: KeptTars | None = None,
) -> tuple[Inside, str]:
    """Look into an image for one file, and read no layer that is not needed to be sure of it.

    Returns what to look it up in, and under which path: perhaps a tree with the layer of the file
    alone, else the tree of all layers. The options and errors are those of `look_inside`.
    """
    inside = look_inside(
        source, root, platform=platform, required=required, layers=[], limits=limits
    )
    layers = inside.layers[: inside.layer(up_to).number if up_to else None]
    if ranges:
        descriptors = [layer.descriptor for layer in layers]
        cache = RangedTables(
            source, descriptors, cache=cache, jobs=jobs, observer=observer, limits=limits
        )
    held = _Held(source, cache, observer, limits, keep)
    search = _Search(path)
    found = search.through(held, [layer.descriptor for layer in reversed(layers)])
    if found is None:
        whole = look_inside(
            source,
            root,
            platform=platform,
            required=required,
            cache=held,
            jobs=jobs,
            observer=observer,
            up_to=up_to,
            limits=limits,
            keep=keep,
        )
        return whole, path
    number = len(layers) - found
    table = held.tables[inside.layer(number).descriptor.digest]
    tree = MergedTree(limits=limits)
    tree.apply(number, table)
    read = tuple(
        replace(layer, table=table) if layer.number == number else layer for layer in inside.layers
    )
    return replace(inside, layers=read, tree=tree, kept=keep), search.path


class _Unsure(Exception):
    """Only all layers together tell what is at the path."""


class _Held:
    """Tables, kept once they were made; a `TableCache`."""

    def __init__(
        self,
        source: Source,
        cache: TableCache | None,
        observer: Observer,
        limits: Limits,
        keep: KeptTars | None,
    ) -> None:
        self.tables: dict[Digest, LayerTable] = {}
        self._source = source
        self._cache = cache
        self._observer = observer
        self._limits = limits
        self._keep = keep

    def get(self, source: Source, layer: Descriptor, hashes: Hashes) -> LayerTable | None:
        """Return the table of a layer of the source; None if there is none."""
        found = self.tables.get(layer.digest)
        if found is None and self._cache is not None:
            found = self._cache.get(source, layer, hashes)
        return found

    def put(self, source: Source, layer: Descriptor, table: LayerTable) -> None:
        """Keep the table of a layer."""
        if self._cache is not None:
            self._cache.put(source, layer, table)

    def each(self, layers: list[Descriptor]) -> Iterator[LayerTable]:
        """Yield the tables of layers in this order, and read some ahead, one for each processor."""
        # A download of a layer that is not needed costs more than waiting for one that is.
        step = 1 if isinstance(self._source, Ranged) else processors()
        for start in range(0, len(layers), step):
            some = layers[start : start + step]
            scanned = scan_layers(
                self._source,
                some,
                observer=self._observer,
                cache=self,
                limits=self._limits,
                keep=self._keep,
            )
            for layer in some:
                table = scanned[layer.digest]
                if not isinstance(table, LayerTable):
                    raise _Unsure
                self.tables[layer.digest] = table
                yield table


class _Search:
    """The search for a path, from the highest layer down. `path` is where its links lead."""

    def __init__(self, path: str) -> None:
        self.path = path

    def through(self, held: _Held, layers: list[Descriptor]) -> int | None:
        """Return how many layers are above the one with the file; None if that is not certain."""
        try:
            for _ in range(MOST_LINKS):
                found = self._once(held, layers)
                if found is not None:
                    return found
        except (_Unsure, OcitoolError):
            # What is wrong with a layer is told when all are read.
            pass
        return None

    def _once(self, held: _Held, layers: list[Descriptor]) -> int | None:
        """Return the same for the path as it is; None if it is a link, which `path` follows."""
        way = _Way(self.path)
        for above, table in enumerate(held.each(layers)):
            row = way.row_in(table)
            if row is None:
                continue
            if table.kinds[row] == FILE:
                return above
            self.path = _followed(way.paths[-1], table.links.get(row, ""))
            return None
        raise _Unsure


def _followed(path: str, target: str) -> str:
    """Return the path that a link means whose own folder is a real one."""
    above = path.split("/")[:-1] if not target.startswith("/") else []
    parts = _parts(target)
    while parts[:1] == [".."]:
        del above[-1:], parts[0]
    return "/".join([*above, *parts])


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


class _Way:
    """The folders on the way to a path, and the path itself."""

    def __init__(self, path: str) -> None:
        parts = _parts(path)
        # What is above a name depends on whether that is a link.
        if not parts or ".." in parts:
            raise _Unsure
        self.paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        self._names = set(parts)

    def row_in(self, table: LayerTable) -> int | None:
        """Return the row of the file or link in a layer; None if the layer has nothing on the way.

        Raises _Unsure where the layer may change what is at the path in another way.
        """
        on_the_way: dict[str, list[int]] = {}
        kinds, order = table.kinds, _Order(table)
        if not all(self._leaves_it(folder, order) for folder in table.folders):
            raise _Unsure
        for row in self._rows(table):
            path = table.path(row)
            if kinds[row] in (WHITEOUT, OPAQUE):
                raise _Unsure
            if path in self.paths:
                on_the_way.setdefault(path, []).append(row)
            elif path and not order.is_below_folders(path, row):
                raise _Unsure
        last = on_the_way.pop(self.paths[-1], [])
        if any(kinds[row] != DIRECTORY for rows in on_the_way.values() for row in rows):
            raise _Unsure
        if not last:
            return None
        row = last[-1]
        if kinds[row] not in (FILE, SYMLINK) or not order.is_below_folders(self.paths[-1], row):
            raise _Unsure
        return row

    def _leaves_it(self, folder: str, order: "_Order") -> bool:
        """Tell whether members of a folder cannot make a folder of the file."""
        last = self.paths[-1].rpartition("/")[2]
        if last not in folder:
            return True
        above = [*_above(folder), folder]
        return all(order.has(path) for path in above if path.rpartition("/")[2] == last)

    def _rows(self, table: LayerTable) -> Iterator[int]:
        """Yield what may be on the way under any path: by its name, or as a folder it empties."""
        kinds, has_opaque = table.kinds, OPAQUE in table.kinds
        for row, name in enumerate(table.names):
            if name in self._names or (has_opaque and kinds[row] == OPAQUE):
                yield row


class _Order:
    """Which folders a layer has, and from which of its members on."""

    def __init__(self, table: LayerTable) -> None:
        self._table = table
        self._first: dict[str, int] | None = None

    def is_below_folders(self, path: str, row: int) -> bool:
        """Tell whether all folders above a path were there, as folders, before a member."""
        return all(self._known.get(folder, row) < row for folder in _above(path))

    def has(self, path: str) -> bool:
        """Tell whether a path, and all above it, is a folder in the layer."""
        return all(folder in self._known for folder in (*_above(path), path))

    @property
    def _known(self) -> dict[str, int]:
        if self._first is None:
            self._first = self._folders()
        return self._first

    def _folders(self) -> dict[str, int]:
        """Return the first row of each path that is a folder in every member of the layer."""
        table = self._table
        first: dict[str, int] = {}
        for row, kind in enumerate(table.kinds):
            if kind == DIRECTORY:
                first.setdefault(table.path(row), row)
        parents = {folder for path in first for folder in (*_above(path), path)}
        for row, kind in enumerate(table.kinds):
            if kind not in (DIRECTORY, WHITEOUT, OPAQUE) and table.path(row) in parents:
                first.pop(table.path(row), None)
        return first


def _above(path: str) -> Iterable[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
