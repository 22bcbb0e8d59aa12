"""Which layers of an image in a registry are read by ranges, and which whole."""

from collections.abc import Callable, Sequence
from functools import partial

from ocitool.concurrency import Stop, run_all
from ocitool.events import Observer
from ocitool.image.content import OpenRange, Ranged, Source
from ocitool.inside.hashes import Hashes
from ocitool.inside.ranges.tables import ChunkedTable, chunked_table, is_chunked
from ocitool.inside.ranges.toc import NoTable
from ocitool.inside.scanning import TableCache
from ocitool.inside.table import LayerTable
from ocitool.oci import Descriptor, Digest, Limits


class RangedTables:
    """The tables of layers that carry one, beside those that `cache` has; a `TableCache`.

    The former are fetched at once. Raises what `chunked_table` raises, except NoTable: the observer
    is told which layers have to be read whole.
    """

    def __init__(
        self,
        source: Source,
        layers: Sequence[Descriptor],
        *,
        cache: TableCache | None,
        jobs: int,
        observer: Observer,
        limits: Limits,
    ) -> None:
        self._cache = cache
        self._limits = limits
        self._tables: dict[Digest, ChunkedTable] = {}
        self._reasons: dict[Digest, str] = {}
        unique = {layer.digest: layer for layer in layers}
        run_all([task for layer in unique.values() if (task := self._task(source, layer))], jobs)
        if isinstance(source, Ranged):
            self._tell(list(unique), observer)

    def _tell(self, layers: Sequence[Digest], observer: Observer) -> None:
        """Tell which layers have to be read whole, and why."""
        for digest, reason in self._reasons.items():
            observer.remark(f"layer {digest.short} is read whole: {reason}")
        count = len(layers) - len(self._tables) - len(self._reasons)
        if count:
            text = f"{count} of {len(layers)} layers have" if len(layers) > 1 else "the layer has"
            observer.remark(f"{text} no table of contents: what is needed is read whole")

    def _task(self, source: Source, layer: Descriptor) -> Callable[[Stop], None] | None:
        if not is_chunked(layer) or not isinstance(source, Ranged):
            return None
        open_range = source.ranges(layer)
        return partial(self._fetch, layer, open_range) if open_range is not None else None

    def _fetch(self, layer: Descriptor, open_range: OpenRange, stop: Stop) -> None:
        stop.check()
        try:
            self._tables[layer.digest] = chunked_table(layer, open_range, limits=self._limits)
        except NoTable as reason:
            self._reasons[layer.digest] = str(reason)

    def get(self, source: Source, layer: Descriptor, hashes: Hashes) -> LayerTable | None:
        """Return the table of a layer of the source if it has the hashes; None if there is none."""
        found = self._tables.get(layer.digest)
        if found is not None and (found.is_hashed or hashes is Hashes.NONE):
            return found
        return self._cache.get(source, layer, hashes) if self._cache is not None else None

    def put(self, source: Source, layer: Descriptor, table: LayerTable) -> None:
        """Keep the table of a layer that was read."""
        if self._cache is not None:
            self._cache.put(source, layer, table)
