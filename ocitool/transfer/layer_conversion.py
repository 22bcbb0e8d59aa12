"""Convert layers to another compression: each once, several at a time, all verified."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import Stop, processors, run_abortable
from ocitool.errors import MalformedDocument
from ocitool.events import Observer, Outcome
from ocitool.formats.compression import GZIP_LEVEL, ZSTD_LEVEL, Codec, Compressor, sniff
from ocitool.image.content import Source
from ocitool.image.layers import unpacked
from ocitool.oci import Descriptor, Digest, mediatype
from ocitool.places.layout import Cache, Writing
from ocitool.transfer.counted import Counted

LAYER_CODECS: Mapping[Codec, mediatype.Compression] = {
    Codec.GZIP: "gzip",
    Codec.ZSTD: "zstd",
    Codec.NONE: "none",
}
"""The compressions that a layer may have (image-spec layer.md)."""
_LEVELS = {Codec.GZIP: GZIP_LEVEL, Codec.ZSTD: ZSTD_LEVEL}


class AfterLayer(Protocol):
    """What becomes of each layer that is ready, while others are still converted."""

    def send(self, descriptor: Descriptor, open_blob: Counted) -> None:
        """Take a layer, which `open_blob` gives to read."""


class LayerTask(Struct, frozen=True, kw_only=True):
    """A layer to convert: its descriptor, what it must unpack to, and its new codec."""

    descriptor: Descriptor
    diff_id: Digest
    codec: Codec


class LayerConverter:
    """Converts layers into a scratch layout.

    `results` are the new layers by the digests of the old ones; `outcomes` says what happened to
    each new layer. `after` gets each finished layer while others are still converted; to have the
    first ones early, no more are then converted at a time than there are processors. Progress
    counts what it does as half of the work.
    """

    def __init__(
        self,
        source: Source,
        scratch: Writing,
        *,
        jobs: int,
        observer: Observer,
        after: AfterLayer | None = None,
    ) -> None:
        self.results: dict[Digest, Descriptor] = {}
        self.outcomes: dict[Digest, Outcome] = {}
        self._source = source
        self._scratch = scratch
        self._jobs = jobs
        self._after = after
        self._processors = threading.Semaphore(jobs if after is None else processors())
        self._observer = observer
        self._converted = scratch.layout.cache("recompressed")
        self._checked = scratch.layout.cache("diff-ids")
        self._measured = scratch.layout.cache("layers")
        self._tar_sizes: dict[Digest, int] = {}
        self._lock = threading.Lock()
        self._facts: dict[Cache, dict[str, object]] = {
            cache: {} for cache in (self._converted, self._checked, self._measured)
        }

    def codec_of(self, layer: Descriptor) -> Codec:
        """Return the codec of a layer by its first bytes, whatever its media type says."""
        with self._source.open(layer) as blob:
            return sniff(blob.read(512))

    def convert(self, layers: Sequence[LayerTask]) -> None:
        """Convert layers; DigestMismatch for one that does not unpack to its diff ID."""
        # A blob that is listed with two diff IDs is checked against both.
        unique = {(layer.descriptor.digest, layer.diff_id): layer for layer in layers}
        ordered = sorted(unique.values(), key=lambda layer: -layer.descriptor.size)
        label = "converting" if self._after is None else "converting and sending"
        with self._observer.work(label, sum(layer.descriptor.size for layer in ordered)):
            tasks = [self._task(layer) for layer in ordered]
            run_abortable(tasks, self._jobs, self._source, self._after)
        for cache, facts in self._facts.items():
            cache.update(facts)

    def _task(self, layer: LayerTask) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            with self._processors:
                result, outcome = self._layer(layer, stop)
            self._note_size(result.digest, layer.diff_id)
            if self._after is not None:
                self._send(layer, result, self._after, stop)
            with self._lock:
                self.results[layer.descriptor.digest] = result
                self.outcomes[result.digest] = outcome
            self._observer.finish(result, outcome)

        return run

    def _send(self, layer: LayerTask, result: Descriptor, after: AfterLayer, stop: Stop) -> None:
        half = layer.descriptor.size / 2 / max(result.size, 1)
        sending = Counted(
            lambda: self._scratch.open(result),
            stop,
            lambda count: self._observer.advance(int(count * half)),
        )
        after.send(result, sending)
        sending.finish(result.size)

    def _layer(self, layer: LayerTask, stop: Stop) -> tuple[Descriptor, Outcome]:
        if self.codec_of(layer.descriptor) is layer.codec:
            return self._keep(layer, stop)
        known = self._recall(layer)
        if known is not None:
            self._check(layer, stop)
            return known, Outcome.EXISTED
        compressor = None if layer.codec is Codec.NONE else Compressor(layer.codec)
        writer = self._scratch.writer()
        try:
            for part in self._unpack(layer, stop):
                data = part if compressor is None else compressor.compress(part)
                if data:
                    writer.write(data)
            if compressor is not None:
                writer.write(compressor.flush())
            result = writer.commit(_media_type(layer))
        finally:
            writer.close()
        self._note(self._converted, _key(layer), [str(result.digest), result.size])
        return result, Outcome.CONVERTED

    def _keep(self, layer: LayerTask, stop: Stop) -> tuple[Descriptor, Outcome]:
        """Store a layer as it is, once it is known to unpack to its diff ID."""
        descriptor = replace(layer.descriptor, media_type=_media_type(layer))
        self._scratch.announce([descriptor])
        text = str(descriptor.digest)
        present = self._scratch.has(descriptor)
        if not (present and self._checked.get(text) == str(layer.diff_id)):
            self._check(layer, stop)
            self._scratch.put(descriptor, lambda: self._source.open(layer.descriptor))
            self._note(self._checked, text, str(layer.diff_id))
        return descriptor, Outcome.EXISTED if present else Outcome.STORED

    def _recall(self, layer: LayerTask) -> Descriptor | None:
        try:
            text, size = msgspec.convert(self._converted.get(_key(layer)), tuple[str, int])
            digest = Digest.parse(text)
        except (msgspec.ValidationError, MalformedDocument):
            return None
        result = Descriptor(media_type=_media_type(layer), digest=digest, size=size)
        self._scratch.announce([result])
        return result if self._scratch.has(result) else None

    def _check(self, layer: LayerTask, stop: Stop) -> None:
        for _ in self._unpack(layer, stop):
            pass

    def _unpack(self, layer: LayerTask, stop: Stop) -> Iterator[bytes]:
        """Yield a layer's tar, and raise DigestMismatch unless it hashes to the diff ID."""

        share = 1 if self._after is None else 2

        def watch(count: int) -> None:
            stop.check()
            self._observer.advance(count // share)

        stored, count = layer.descriptor.digest, 0
        with self._source.open(layer.descriptor).watched(watch) as blob:
            for part in unpacked(blob, layer.diff_id, stored=stored):
                count += len(part)
                yield part
        with self._lock:
            self._tar_sizes[layer.diff_id] = count

    def _note(self, cache: Cache, key: str, value: object) -> None:
        with self._lock:
            self._facts[cache][key] = value

    def _note_size(self, digest: Digest, diff_id: Digest) -> None:
        """Remember how long the tar of a layer is, unless all its measures are known already."""
        size = self._tar_sizes.get(diff_id)
        if size is not None and self._measured.get(str(digest)) is None:
            self._note(self._measured, str(digest), {"tar_size": size})


def _media_type(layer: LayerTask) -> str:
    compression = LAYER_CODECS[layer.codec]
    docker = layer.descriptor.media_type.startswith("application/vnd.docker.")
    return mediatype.layer_type(compression, docker=docker and compression != "zstd")


def _key(layer: LayerTask) -> str:
    return f"{layer.diff_id} {layer.codec} {_LEVELS.get(layer.codec, 0)}"
