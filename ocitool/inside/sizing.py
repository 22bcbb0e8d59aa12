"""How many bytes an image has, in which files and layers, and how many of them are waste.

Sizes are those of the unpacked files. Every regular file with data is an inode of its layer; it is
live while a name of the final tree leads to it, else its bytes are wasted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import nlargest
from typing import Any, Final

from msgspec import Struct

from ocitool.inside.changes import changes_of
from ocitool.inside.dive import DiveFigures, dive_figures
from ocitool.inside.duplicates import Duplicates, duplicates_of, live_files
from ocitool.inside.image import Inside, ScannedLayer
from ocitool.inside.problems import Problem
from ocitool.inside.state import LayerRecord, TreeState
from ocitool.inside.table import FILE
from ocitool.inside.waste import Waste, hidden, wastes
from ocitool.oci import Digest, Platform

TOP: Final = 20
"""How many of the largest of each kind a report has by default."""


class LayerSize(Struct, frozen=True, kw_only=True):
    """One layer in bytes, and what it did.

    `stored` is as it is stored, `tar_size` its uncompressed tar, `file_bytes` its files.
    `hidden_bytes` are those of files that are gone in the final tree, `repeated_bytes` those of
    them that another member of the same layer replaced. `metadata_only_bytes` are files that it
    has again with the same content. All but `stored` are None if the layer could not be read.
    """

    number: int
    digest: Digest
    diff_id: Digest | None
    instruction: str | None
    stored: int
    tar_size: int | None = None
    file_bytes: int | None = None
    hidden_bytes: int | None = None
    repeated_bytes: int | None = None
    files: int | None = None
    added: int | None = None
    changed: int | None = None
    deleted: int | None = None
    metadata_only_bytes: int | None = None
    problem: str | None = None

    @property
    def overhead(self) -> int | None:
        """The bytes of the tar that are not content of files: headers and padding."""
        if self.tar_size is None or self.file_bytes is None:
            return None
        return self.tar_size - self.file_bytes


class Large(Struct, frozen=True, kw_only=True):
    """A file of the image, and the layer that it is of."""

    path: str
    bytes: int
    layer: int


class LargeFolder(Struct, frozen=True, kw_only=True):
    """A folder of the image, with all files below it."""

    path: str
    bytes: int
    files: int


class SizeReport(Struct, frozen=True, kw_only=True):
    """The sizes of an image in bytes.

    `stored` counts a layer once that the image lists twice; everything else only has the layers
    that could be read. `live_bytes` are the files that can be seen, `wasted_bytes` all others.
    `wasted_stored` estimates how much of `stored` those take. `files` and `directories` are what
    the image has in the end. `wasted`, `largest`, `directories_by_size` and `duplicates` have the
    largest of each. `duplicate_bytes` is None unless duplicates were looked for. `dive` is what
    dive says of the image, by rules of its own.
    """

    digest: Digest
    platform: Platform
    stored: int
    tar_size: int
    file_bytes: int
    live_bytes: int
    wasted_bytes: int
    wasted_stored: int
    duplicate_bytes: int | None
    dive: DiveFigures
    files: int
    directories: int
    layers: tuple[LayerSize, ...]
    wasted: tuple[Waste, ...]
    largest: tuple[Large, ...]
    directories_by_size: tuple[LargeFolder, ...]
    duplicates: tuple[Duplicates, ...]
    problems: tuple[Problem, ...]

    @property
    def efficiency(self) -> float:
        """The part of all bytes of files that can be seen, from 0 to 1."""
        return self.live_bytes / self.file_bytes if self.file_bytes else 1.0

    @property
    def read(self) -> int:
        """How many of the layers could be read."""
        return sum(layer.tar_size is not None for layer in self.layers)


def measure(inside: Inside, *, top: int | None = TOP, duplicates: bool = False) -> SizeReport:
    """Return the sizes of an image, with the `top` largest of each kind, None for all.

    The content of files that may be equal must have been looked at: see `hash_doubtful`.
    """
    tree = inside.tree
    layers = _layers(inside)
    groups = duplicates_of(tree) if duplicates else None
    file_bytes = sum(layer.file_bytes or 0 for layer in layers)
    wasted = sum(layer.hidden_bytes or 0 for layer in layers)
    stored = {layer.descriptor.digest: layer.descriptor.size for layer in inside.layers}
    return SizeReport(
        digest=inside.chosen.image.descriptor.digest,
        platform=inside.chosen.image.platform,
        stored=sum(stored.values()),
        tar_size=sum(layer.tar_size or 0 for layer in layers),
        file_bytes=file_bytes,
        live_bytes=file_bytes - wasted,
        wasted_bytes=wasted,
        wasted_stored=sum(map(_hidden_share, layers)),
        duplicate_bytes=None if groups is None else sum(x.reclaimable for x in groups),
        dive=dive_figures([record.table for record in tree.records]),
        files=sum(map(_live_count, tree.records)),
        directories=_count_folders(tree),
        layers=layers,
        wasted=tuple(wastes(tree, top=top)),
        largest=tuple(_largest(tree, top)),
        directories_by_size=tuple(_folders(tree, top)),
        duplicates=tuple(_most(top, ((group.reclaimable, group) for group in groups or ()))),
        problems=inside.problems,
    )


def _most(top: int | None, found: Iterable[tuple[int, Any]]) -> list[Any]:
    """Return the second parts of those pairs whose first is largest, of equal ones the first."""
    if top is None:
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]
    return [one for _, one in nlargest(top, found, key=lambda pair: pair[0])]


# Layers.


class _Tally:
    """The bytes of one layer, and by which layer some of them were replaced by the same content."""

    def __init__(self, tree: TreeState, record: LayerRecord) -> None:
        self.bytes = sum(record.table.sizes)
        self.files = record.table.kinds.count(FILE)
        self.hidden = self.repeated = 0
        self.metadata: Counter[int] = Counter()
        for row, index in hidden(record):
            size, fate = record.table.sizes[row], tree.fates[index]
            self.hidden += size
            self.repeated += size if fate.how == "repeated" else 0
            if fate.how in ("metadata", "identical"):
                self.metadata[fate.layer] += size


def _layers(inside: Inside) -> tuple[LayerSize, ...]:
    records = {record.number: record for record in inside.tree.records}
    tallies = {number: _Tally(inside.tree, record) for number, record in records.items()}
    metadata: Counter[int] = Counter()
    for tally in tallies.values():
        metadata.update(tally.metadata)
    found = []
    for layer in inside.layers:
        figures: Mapping[str, int] = {}
        if layer.number in records:
            figures = _figures(inside.tree, records[layer.number], tallies[layer.number])
            figures = {**figures, "metadata_only_bytes": metadata[layer.number]}
        found.append(_layer(layer, figures))
    return tuple(found)


def _figures(tree: TreeState, record: LayerRecord, tally: _Tally) -> Mapping[str, int]:
    changes = changes_of(tree, record)
    return {
        "tar_size": record.table.tar_size,
        "file_bytes": tally.bytes,
        "hidden_bytes": tally.hidden,
        "repeated_bytes": tally.repeated,
        "files": tally.files,
        "added": changes.added,
        "changed": changes.changed,
        "deleted": changes.deleted,
    }


def _layer(layer: ScannedLayer, figures: Mapping[str, int]) -> LayerSize:
    return LayerSize(
        number=layer.number,
        digest=layer.descriptor.digest,
        diff_id=layer.diff_id,
        instruction=layer.instruction,
        stored=layer.descriptor.size,
        problem=layer.problem,
        **figures,
    )


def _hidden_share(layer: LayerSize) -> int:
    """Return about how many of its stored bytes a layer's hidden files take."""
    if not layer.file_bytes or not layer.hidden_bytes:
        return 0
    return layer.stored * layer.hidden_bytes // layer.file_bytes


# Files and folders.


def _largest(tree: TreeState, top: int | None) -> list[Large]:
    pairs = ((size, (record, row)) for record, row, size in live_files(tree))
    return [
        Large(
            path=tree.path_of(record.base + row),
            bytes=record.table.sizes[row],
            layer=record.number,
        )
        for record, row in _most(top, pairs)
    ]


def _live_count(record: LayerRecord) -> int:
    """Return how many files of a layer the image has in the end."""
    table = record.table
    if not any(record.fates):
        return table.kinds.count(FILE)
    pairs = zip(table.kinds, record.fates, strict=True)
    return sum(kind == FILE and not fate for kind, fate in pairs)


def _count_folders(tree: TreeState) -> int:
    """Return how many folders the image has, without its root."""
    count = -1
    todo = [tree.root]
    while todo:
        count += 1
        todo += [value for value in todo.pop().values() if isinstance(value, dict)]
    return count


def _folders(tree: TreeState, top: int | None) -> list[LargeFolder]:
    """Return the folders with the most bytes of files below them; not the root."""
    sums = _sums_by_folder(tree)
    levels = defaultdict(list)
    for path in sums:
        levels[path.count("/")].append(path)
    for depth in range(max(levels, default=0), 0, -1):
        for path in levels[depth]:
            parent = path.rpartition("/")[0]
            if parent not in sums:
                levels[depth - 1].append(parent)
            into, (size, files) = sums[parent], sums[path]
            into[0] += size
            into[1] += files
    pairs = ((size, (path, files)) for path, (size, files) in sums.items() if path)
    return [
        LargeFolder(path=path, bytes=sums[path][0], files=files)
        for path, files in _most(top, pairs)
    ]


def _sums_by_folder(tree: TreeState) -> defaultdict[str, list[int]]:
    """Return for each folder the bytes and the number of the files right in it."""
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in tree.records:
        table = record.table
        sizes, counts = [0] * len(table.folders), [0] * len(table.folders)
        columns = zip(table.parents, table.kinds, table.sizes, record.fates, strict=True)
        for parent, kind, size, fate in columns:
            if kind == FILE and not fate:
                sizes[parent] += size
                counts[parent] += 1
        for index, count in enumerate(counts):
            if count:
                into = sums[record.places.get(index, table.folders[index])]
                into[0] += sizes[index]
                into[1] += count
    return sums
