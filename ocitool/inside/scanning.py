"""From the layers of an image to their tables: by headers alone, or in one verified pass."""

import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, Stop, processors, run_all
from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    NotFound,
    OcitoolError,
)
from ocitool.events import SILENT, Observer
from ocitool.formats.compression import Codec, CompressionLimits, DecompressingReader, sniff
from ocitool.formats.tar import PositionedInput, StreamInput, TarLimits, TarReader
from ocitool.image.content import Blob, Positioned, Source
from ocitool.image.wholeness import is_absent_foreign
from ocitool.inside.members import TableBuilder
from ocitool.inside.table import LayerTable
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits, mediatype

_SNIFFED: Final = 512
_KINDS: Final = ((LimitExceeded, "limit"), (NotFound, "missing"), (IntegrityError, "damaged"))


class Hashes(StrEnum):
    """Of which files the content is hashed.

    DOUBTFUL: only where two files have the same size, and only `look_inside` knows which these are.
    Of a compressed layer all are hashed then, in the pass that has to read them anyway.
    """

    NONE = "none"
    DOUBTFUL = "doubtful"
    ALL = "all"


class Unreadable(Struct, frozen=True):
    """Why there is no table of a layer.

    `kind` is encrypted, foreign or not_a_layer for a layer that cannot be read; with the error that
    was met, missing, damaged, limit for a hostile layer, or failed for anything else.
    """

    kind: str
    text: str
    error: OcitoolError | None = None


Scanned = LayerTable | Unreadable


class TableCache(Protocol):
    """Tables that were made before. Thread-safe."""

    def get(self, source: Source, layer: Descriptor, hashes: Hashes) -> LayerTable | None:
        """Return the table of a layer of the source if it has the hashes; None if there is none."""

    def put(self, source: Source, layer: Descriptor, table: LayerTable) -> None:
        """Keep the table of a layer of the source, and what was hashed so far."""


def scan_layers(
    source: Source,
    layers: Sequence[Descriptor],
    *,
    hashes: Hashes = Hashes.NONE,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
    cache: TableCache | None = None,
    limits: Limits = DEFAULT_LIMITS,
    done: Callable[[Descriptor, Scanned], None] = lambda _layer, _scanned: None,
) -> dict[Digest, Scanned]:
    """Return the table of each layer, or why there is none; each digest is read once.

    Layers are scanned in parallel, the largest first, on one thread for each processor at most.
    `done` is called once for each as soon as it is known, one at a time, on any thread. Plain
    layers of a source that can be read at any offset are not verified. Raises what `done` raises.
    """
    scan = _Scan(source, hashes, observer, cache, limits, done)
    todo = []
    for layer in {layer.digest: layer for layer in layers}.values():
        known = unreadable(source, layer) or scan.recalled(layer)
        if known is None:
            todo.append(layer)
        else:
            scan.finish(layer, known)
    todo.sort(key=lambda layer: -layer.size)
    if todo:
        observer.begin("reading layers", sum(layer.size for layer in todo))
        try:
            run_all([partial(scan.run, layer) for layer in todo], min(jobs, processors()))
        finally:
            observer.end()
    return scan.found


def unreadable(source: Source, layer: Descriptor) -> Unreadable | None:
    """Return why a layer cannot be read at all, or None."""
    if mediatype.is_encrypted_layer(layer.media_type):
        return Unreadable("encrypted", "it is encrypted")
    if is_absent_foreign(source, layer):
        return Unreadable("foreign", "it is a foreign layer, which is not stored with the image")
    if mediatype.is_foreign_layer(layer.media_type) and layer.urls:
        return Unreadable("foreign", "it is a foreign layer")
    if not mediatype.is_layer(layer.media_type):
        return Unreadable("not_a_layer", f"its type is {layer.media_type}, not a layer")
    return None


def table_of_headers(
    source: Source,
    layer: Descriptor,
    *,
    hashing: bool = False,
    most: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> LayerTable | None:
    """Return the table of a plain layer by reading only headers, with `hashing` also all files.

    Nothing is verified; `diff_id` is the layer's own digest. None for a compressed layer and for a
    source that cannot be read at any offset. TooManyMembers for more than `most`, IntegrityError,
    NotFound.
    """
    if not isinstance(source, Positioned):
        return None
    with source.positioned(layer) as read_at:
        if sniff(read_at(0, _SNIFFED)) is not Codec.NONE:
            return None
        reader = TarReader(PositionedInput(read_at, layer.size), limits=_tar_limits(limits))
        table = TableBuilder(Codec.NONE, most=most, limits=limits).read(reader, hashing=hashing)
    table.tar_size = layer.size
    table.diff_id = str(layer.digest)
    return table


def _tar_limits(limits: Limits) -> TarLimits:
    return TarLimits(extension_bytes=limits.extension_header_bytes)


def _compression_limits(limits: Limits) -> CompressionLimits:
    return CompressionLimits(
        ratio=limits.ratio,
        ratio_grace=limits.ratio_floor,
        zstd_window_log=limits.zstd_window_log,
    )


class _Scan:
    def __init__(
        self,
        source: Source,
        hashes: Hashes,
        observer: Observer,
        cache: TableCache | None,
        limits: Limits,
        done: Callable[[Descriptor, Scanned], None],
    ) -> None:
        self._source = source
        self._hashes = hashes
        self._observer = observer
        self._cache = cache
        self._limits = limits
        self._done = done
        self._lock = threading.Lock()
        self.found: dict[Digest, Scanned] = {}

    def recalled(self, layer: Descriptor) -> LayerTable | None:
        """Return the table of a layer that was made before."""
        if self._cache is None:
            return None
        return self._cache.get(self._source, layer, self._hashes)

    def finish(self, layer: Descriptor, scanned: Scanned) -> None:
        """Note what became of a layer."""
        with self._lock:
            self.found[layer.digest] = scanned
            self._done(layer, scanned)

    def run(self, layer: Descriptor, stop: Stop) -> None:
        """Make the table of a layer."""
        try:
            scanned: Scanned = self._scan(layer, stop)
        except OcitoolError as error:
            kind = next((word for type_, word in _KINDS if isinstance(error, type_)), "failed")
            scanned = Unreadable(kind, error.message, error)
        self.finish(layer, scanned)
        if isinstance(scanned, LayerTable) and self._cache is not None:
            self._cache.put(self._source, layer, scanned)

    def _scan(self, layer: Descriptor, stop: Stop) -> LayerTable:
        stop.check()
        hashing = self._hashes is Hashes.ALL
        table = table_of_headers(self._source, layer, hashing=hashing, limits=self._limits)
        if table is not None:
            self._observer.advance(layer.size)
            return table

        def watch(count: int) -> None:
            stop.check()
            self._observer.advance(count)

        with self._source.open(layer).watched(watch) as blob:
            return self._read(blob)

    def _read(self, blob: Blob) -> LayerTable:
        """Make the table of a layer by reading all of it, and verify it."""
        content = DecompressingReader(blob, limits=_compression_limits(self._limits))
        hasher = Digest.of(b"").hasher()

        def read(size: int) -> bytes:
            data = content.read(size)
            hasher.update(data)
            return data

        reader = TarReader(StreamInput(read), limits=_tar_limits(self._limits))
        builder = TableBuilder(content.codec, limits=self._limits)
        try:
            table = builder.read(reader, hashing=self._hashes is not Hashes.NONE)
        except IntegrityError:
            # Where the bytes are not those of the digest, that is what is wrong with them.
            while blob.read():
                pass
            raise
        # What follows the end of the tar is part of its digest, and so is a cut gzip trailer.
        while read(1 << 20):
            pass
        table.tar_size = content.bytes_out
        table.diff_id = f"sha256:{hasher.hexdigest()}"
        table.verified = True
        return table
