"""From the layers of an image to their tables: by headers alone, or in one verified pass."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, NEVER, Stop, processors, run_abortable
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
from ocitool.inside.hashes import Hashes
from ocitool.inside.kept import KeptTars
from ocitool.inside.members import TableBuilder
from ocitool.inside.table import LayerTable
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits, mediatype

_SNIFFED: Final = 512
_DRAIN: Final = 1 << 20
_KINDS: Final = ((LimitExceeded, "limit"), (NotFound, "missing"), (IntegrityError, "damaged"))


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
    diff_ids: bool = False,
    keep: KeptTars | None = None,
    done: Callable[[Descriptor, Scanned], None] = lambda _layer, _scanned: None,
) -> dict[Digest, Scanned]:
    """Return the table of each layer, or why there is none; each digest is read once.

    Layers are scanned in parallel, the largest first, on one thread for each processor at most.
    `done` is called once for each as soon as it is known, one at a time, on any thread. Plain
    layers of a source that can be read at any offset are not verified. With `diff_ids` the tables
    have that of every layer. `keep` keeps the tars of layers that are read whole. Raises what
    `done` raises.
    """
    options = _Options(
        hashes=hashes,
        diff_ids=diff_ids,
        observer=observer,
        cache=cache,
        limits=limits,
        keep=keep,
    )
    scan = _Scan(source, options, done)
    todo = _left_to_read(scan, source, layers)
    if todo:
        tasks = [partial(scan.run, layer) for layer in todo]
        with observer.work("reading layers", sum(layer.size for layer in todo)):
            run_abortable(tasks, min(jobs, processors()), source)
    return scan.found


def _left_to_read(scan: "_Scan", source: Source, layers: Sequence[Descriptor]) -> list[Descriptor]:
    """Finish what is known without reading; return the rest, the largest first."""
    todo = []
    for layer in {layer.digest: layer for layer in layers}.values():
        known = unreadable(source, layer) or scan.recalled(layer)
        if known is None:
            todo.append(layer)
        else:
            scan.finish(layer, known)
    return sorted(todo, key=lambda layer: -layer.size)


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
    hashes: Hashes = Hashes.NONE,
    most: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    stop: Stop = NEVER,
) -> LayerTable | None:
    """Return the table of a plain layer by reading only headers, with Hashes.ALL also all files.

    Nothing is verified; `diff_id` is the layer's own digest. None for a compressed layer and for a
    source that cannot be read at any offset. TooManyMembers for more than `most`, IntegrityError,
    NotFound, and Stopped when `stop` says so.
    """
    if not isinstance(source, Positioned):
        return None
    with source.positioned(layer) as read_at:
        if sniff(read_at(0, _SNIFFED)) is not Codec.NONE:
            return None

        def read(offset: int, size: int) -> bytes:
            stop.check()
            return read_at(offset, size)

        reader = TarReader(PositionedInput(read, layer.size), limits=_tar_limits(limits))
        hashed = hashes if hashes is Hashes.ALL else Hashes.NONE
        table = TableBuilder(Codec.NONE, most=most, limits=limits).read(reader, hashed)
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


class _Options(Struct, frozen=True, kw_only=True):
    hashes: Hashes
    diff_ids: bool
    observer: Observer
    cache: TableCache | None
    limits: Limits
    keep: KeptTars | None


class _Scan:
    def __init__(
        self, source: Source, options: _Options, done: Callable[[Descriptor, Scanned], None]
    ) -> None:
        self._source = source
        self._options = options
        self._done = done
        self._lock = threading.Lock()
        self.found: dict[Digest, Scanned] = {}

    def recalled(self, layer: Descriptor) -> LayerTable | None:
        """Return the table of a layer that was made before."""
        if self._options.cache is None:
            return None
        table = self._options.cache.get(self._source, layer, self._options.hashes)
        lacks_diff_id = self._options.diff_ids and table is not None and table.diff_id is None
        return None if lacks_diff_id else table

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
        if isinstance(scanned, LayerTable) and self._options.cache is not None:
            self._options.cache.put(self._source, layer, scanned)

    def _scan(self, layer: Descriptor, stop: Stop) -> LayerTable:
        stop.check()
        table = table_of_headers(
            self._source,
            layer,
            hashes=self._options.hashes,
            limits=self._options.limits,
            stop=stop,
        )
        if table is not None:
            self._options.observer.advance(layer.size)
            return table

        def watch(count: int) -> None:
            stop.check()
            self._options.observer.advance(count)

        with self._source.open(layer).watched(watch) as blob:
            return self._read(layer, blob)

    def _read(self, layer: Descriptor, blob: Blob) -> LayerTable:
        """Make the table of a layer by reading all of it, and verify it."""
        keep = self._options.keep
        limits = self._options.limits
        content = DecompressingReader(blob, limits=_compression_limits(limits))
        hashed = _HashedReader(content) if self._options.diff_ids else None
        read = content.read if hashed is None else hashed.read
        if keep is not None:
            read = keep.beside(layer, read)
        reader = TarReader(StreamInput(read), limits=_tar_limits(limits))
        try:
            table = TableBuilder(content.codec, limits=limits).read(reader, self._options.hashes)
        except IntegrityError:
            # Where the bytes are not those of the digest, that is what is wrong with them.
            while blob.read():
                pass
            raise
        # What follows the end of the tar is part of its digest, and so is a cut gzip trailer.
        while read(_DRAIN):
            pass
        table.tar_size = content.bytes_out
        table.diff_id = hashed.diff_id if hashed is not None else None
        table.verified = True
        return table


class _HashedReader:
    """Hashes what is read from the uncompressed content of a layer."""

    def __init__(self, content: DecompressingReader) -> None:
        self._content = content
        self._hasher = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        self._hasher.update(data)
        return data

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"
