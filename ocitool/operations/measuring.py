"""What each layer of an image measures: remembered, from headers alone, or by reading it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import OcitoolError
from ocitool.events import Observer
from ocitool.formats.compression import DecompressingReader
from ocitool.image.choosing import PlatformImage
from ocitool.image.content import PlannedImage, Source
from ocitool.image.graph import images_of
from ocitool.inside.hashes import Hashes
from ocitool.inside.measures import LayerMeasure, WasteMeasure
from ocitool.inside.members import TooManyMembers
from ocitool.inside.scanning import (
    Scanned,
    TableCache,
    scan_layers,
    table_of_headers,
    unreadable,
)
from ocitool.inside.table import LayerTable
from ocitool.inside.tree import MergedTree
from ocitool.oci import Descriptor, Digest, Manifest
from ocitool.places.layout import Cache, Layout

_MEMBERS = 10_000
"""How many members of an image's plain layers are looked at: about as many as 0.1 s allows."""
_UNPACKED = 256 << 20
_CACHE = "layers"
Measured = LayerMeasure | int | str
"""A layer in numbers, the size of its tar alone, or why there is neither."""
Fact = TypeVar("Fact", LayerMeasure, WasteMeasure)


class Measures(Struct, frozen=True, kw_only=True):
    """What the layers of an image measure, and their waste, None where it is not known."""

    layers: Mapping[Digest, Measured]
    waste: WasteMeasure | None


def measure_image(
    source: Source,
    image: PlatformImage,
    *,
    cache: Cache | None,
    jobs: int,
    observer: Observer,
    tables: TableCache | None = None,
) -> Measures:
    """Return the sizes of each layer, or the reason why they are not known, and the waste.

    `cache` remembers the numbers, `tables` the tables of the layers that had to be read.
    """
    measuring = _Measuring(source, cache, tables)
    missing = [
        layer
        for layer in {layer.digest: layer for layer in image.manifest.layers}.values()
        if not measuring.is_known(layer)
    ]
    if missing:
        measuring.read(missing, jobs, observer)
    return measuring.result(image)


class _Measuring:
    def __init__(self, source: Source, cache: Cache | None, tables: TableCache | None) -> None:
        self._source = source
        self._cache = cache
        self._table_cache = tables
        self._left = _MEMBERS
        self._found: dict[Digest, Measured] = {}
        self._tables: dict[Digest, LayerTable] = {}
        self._fresh: dict[str, object] = {}

    def is_known(self, layer: Descriptor) -> bool:
        """Tell whether a layer need not be read as a whole, and note what is known of it."""
        reason = unreadable(self._source, layer)
        if reason is not None:
            self._found[layer.digest] = reason.text
        elif (known := self._recall(layer.digest, LayerMeasure)) is not None:
            self._found[layer.digest] = known
        else:
            self._look_at_headers(layer)
        return layer.digest in self._found

    def _look_at_headers(self, layer: Descriptor) -> None:
        """Measure a plain layer by its headers, if its source can be read at any offset.

        Of a layer of too many members only the size is told: a million headers take seconds.
        Whether the bytes are what the digest says is not looked at: `verify` proves that.
        """
        try:
            table = table_of_headers(self._source, layer, most=self._left)
        except TooManyMembers:
            self._found[layer.digest] = layer.size
        except OcitoolError as error:
            self._found[layer.digest] = error.message
        else:
            if table is not None:
                self._left -= len(table)
                self._note(layer, table)

    def read(self, layers: Sequence[Descriptor], jobs: int, observer: Observer) -> None:
        """Read layers to their end, in parallel."""

        def note(layer: Descriptor, scanned: Scanned) -> None:
            if isinstance(scanned, LayerTable):
                self._note(layer, scanned)
            else:
                self._found[layer.digest] = scanned.text

        scan_layers(
            self._source,
            layers,
            jobs=jobs,
            observer=observer,
            cache=self._table_cache,
            diff_ids=True,
            done=note,
        )

    def _note(self, layer: Descriptor, table: LayerTable) -> None:
        measure = LayerMeasure.of(layer, table)
        self._tables[layer.digest] = table
        self._found[layer.digest] = measure
        if table.verified:
            self._fresh[str(layer.digest)] = msgspec.to_builtins(measure)

    def result(self, image: PlatformImage) -> Measures:
        """Return what was found, and remember it."""
        digest = image.descriptor.digest
        waste = self._recall(digest, WasteMeasure)
        if waste is None:
            waste = self._waste(image.manifest)
            if waste is not None and all(table.verified for table in self._tables.values()):
                self._fresh[str(digest)] = msgspec.to_builtins(waste)
        if self._cache is not None:
            self._cache.update(self._fresh)
        return Measures(layers=self._found, waste=waste)

    def _waste(self, manifest: Manifest) -> WasteMeasure | None:
        """Return the waste, if the tables of all layers are at hand."""
        tables = [self._table(layer) for layer in manifest.layers]
        tree = MergedTree()
        for number, table in enumerate(tables, 1):
            if table is None:
                return None
            tree.apply(number, table)
        return WasteMeasure.of(tree)

    def _table(self, layer: Descriptor) -> LayerTable | None:
        table = self._tables.get(layer.digest)
        if table is None and self._table_cache is not None:
            table = self._table_cache.get(self._source, layer, Hashes.NONE)
        return table

    def _recall(self, digest: Digest, kind: type[Fact]) -> Fact | None:
        fact = self._cache.get(str(digest)) if self._cache is not None else None
        try:
            return msgspec.convert(fact, kind) if fact is not None else None
        except msgspec.ValidationError:
            return None


def note_tar_sizes(layout: Layout, images: Sequence[PlannedImage], observer: Observer) -> None:
    """Remember how long the tar of each layer is that has just been stored.

    A plain layer is as long as its tar. Compressed layers are unpacked once, the smallest first and
    up to `_UNPACKED` bytes: more would make a load slow for the sake of one column.
    """
    cache = layout.cache(_CACHE)
    facts: dict[str, object] = {}
    packed: dict[Digest, Descriptor] = {}
    for layer, diff_id in _layers_of(images):
        if cache.get(str(layer.digest)) is not None:
            continue
        if layer.digest == diff_id:
            facts[str(layer.digest)] = {"tar_size": layer.size}
        elif unreadable(layout, layer) is None:
            packed[layer.digest] = layer
    left, chosen = _UNPACKED, []
    for layer in sorted(packed.values(), key=lambda layer: layer.size):
        left -= layer.size
        if left >= 0:
            chosen.append(layer)
    if chosen:
        facts |= _read_tar_sizes(layout, chosen, observer)
    cache.update(facts)


def _read_tar_sizes(
    layout: Layout, layers: Sequence[Descriptor], observer: Observer
) -> dict[str, object]:
    """Return the fact for each layer that can be unpacked."""
    found: dict[str, object] = {}

    def task(layer: Descriptor, stop: Stop) -> None:
        def watch(count: int) -> None:
            stop.check()
            observer.advance(count)

        with suppress(OcitoolError), layout.open(layer).watched(watch) as blob:
            found[str(layer.digest)] = {"tar_size": DecompressingReader(blob).drain()}

    with observer.work("measuring", sum(layer.size for layer in layers)):
        run_all([partial(task, layer) for layer in layers], DEFAULT_JOBS)
    return found


def _layers_of(images: Iterable[PlannedImage]) -> Iterator[tuple[Descriptor, Digest]]:
    for image in images:
        for _, manifest in images_of(image.closure):
            diff_ids = image.configs[manifest.config.digest].diff_ids
            yield from zip(manifest.layers, diff_ids, strict=True)
