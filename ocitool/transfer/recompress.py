"""Conversion: where the bytes of an image must change, and only there.

From a source to a source: new layers go into a scratch layout (usually the store itself), new
manifests stay in memory, everything else is read from where it was. What was done is returned as
`Conversion`s; nothing is converted silently. The config blob, hence the image ID, never changes.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import Stop, processors, run_all
from ocitool.errors import IntegrityError, MalformedDocument
from ocitool.events import Observer, Outcome
from ocitool.formats.compression import GZIP_LEVEL, ZSTD_LEVEL, Codec, Compressor, sniff
from ocitool.image.content import PlannedImage, Root, Source
from ocitool.image.graph import closure_of, images_of, read_config
from ocitool.image.layers import unpacked
from ocitool.oci import Descriptor, Digest, Index, Manifest, mediatype
from ocitool.oci.document import encode
from ocitool.places.layout import Cache, Writing
from ocitool.transfer.layered import LayeredSource

KEEP = mediatype.KEEP
COMPRESSIONS = mediatype.COMPRESSIONS
_CODECS = {"gzip": Codec.GZIP, "zstd": Codec.ZSTD, "none": Codec.NONE}
_LEVELS = {Codec.GZIP: GZIP_LEVEL, Codec.ZSTD: ZSTD_LEVEL}
_SUFFIXES: Mapping[Codec, mediatype.Compression] = {
    Codec.GZIP: "gzip",
    Codec.ZSTD: "zstd",
    Codec.NONE: "none",
}


class Conversion(Struct, frozen=True, kw_only=True):
    """A manifest that became another one. `layers` counts those whose bytes changed.

    `old` is None where the archive had no manifest and one was made.
    """

    old: Digest | None
    new: Digest
    layers: int
    compression: str


class _Layer(Struct, frozen=True, kw_only=True):
    """A layer to convert: what it is, what it must unpack to, and the codec it shall have."""

    descriptor: Descriptor
    diff_id: Digest
    codec: Codec


class Recompressor:
    """Converts layers into a scratch layout, each once, several at a time.

    `layered` is where the result is read from; `known_outcomes` tells what became of each new
    layer. `after` is called with each layer that is ready, while others are still converted: then
    only as many at a time as there are processors, so that they are not all ready at the end.
    """

    def __init__(
        self,
        source: Source,
        scratch: Writing,
        *,
        jobs: int,
        observer: Observer | None = None,
        after: Callable[[Descriptor], None] | None = None,
    ) -> None:
        self.layered = LayeredSource(scratch, source)
        self._source = source
        self._scratch = scratch
        self._jobs = jobs
        self._after = after
        self._processors = threading.Semaphore(jobs if after is None else processors())
        self._observer = observer or Observer()
        self._converted = scratch.layout.cache("recompressed")
        self._checked = scratch.layout.cache("diff-ids")
        self._results: dict[Digest, Descriptor] = {}
        self.known_outcomes: dict[Digest, Outcome] = {}
        self._lock = threading.Lock()
        self._facts: dict[Cache, dict[str, object]] = {self._converted: {}, self._checked: {}}

    def made_up(
        self, manifests: Sequence[tuple[Root, Manifest, Sequence[Digest]]], compression: str | None
    ) -> tuple[list[PlannedImage], list[Conversion]]:
        """Convert images that came without a manifest, and verify every diff ID.

        `compression` None keeps layers that are gzip or zstd and compresses the others with gzip.
        """
        layers = [
            _Layer(descriptor=layer, diff_id=diff_id, codec=self._wanted(layer, compression))
            for _, manifest, diff_ids in manifests
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        ]
        self._convert(layers)
        planned, conversions = [], []
        for root, manifest, _ in manifests:
            new = self._rewrite(manifest)
            changed = sum(self._results[x.digest].digest != x.digest for x in manifest.layers)
            descriptor = replace(
                root.descriptor, digest=new.digest, size=new.size, media_type=new.media_type
            )
            closure = closure_of(self.layered, descriptor)
            moved = replace(root, descriptor=descriptor)
            planned.append(PlannedImage(root=moved, closure=closure))
            conversions.append(
                Conversion(
                    old=None,
                    new=new.digest,
                    layers=changed,
                    compression=compression or "gzip",
                )
            )
        return planned, conversions

    def images(
        self, planned: Sequence[PlannedImage], compression: str
    ) -> tuple[list[PlannedImage], list[Conversion]]:
        """Convert the layers of all images of these closures; indexes follow their children."""
        codec = _CODECS[compression]
        layers = [
            layer
            for image in planned
            for _, manifest in images_of(image.closure)
            for layer in self._layers_of(manifest, codec)
        ]
        self._convert(layers)
        converted, conversions = [], []
        for image in planned:
            moved, old_and_new = self._follow(image)
            converted.append(moved)
            conversions += [
                Conversion(old=old, new=new, layers=count, compression=compression)
                for old, new, count in old_and_new
            ]
        return converted, conversions

    def _layers_of(self, manifest: Manifest, codec: Codec) -> list[_Layer]:
        diff_ids = read_config(self._source, manifest).diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise IntegrityError(
                f"the image has {len(manifest.layers)} layers but {len(diff_ids)} diff IDs"
            )
        return [
            _Layer(descriptor=layer, diff_id=diff_id, codec=codec)
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
            if mediatype.is_layer(layer.media_type)
            and not mediatype.is_foreign_layer(layer.media_type)
        ]

    def _wanted(self, layer: Descriptor, compression: str | None) -> Codec:
        actual = self._codec_of(layer)
        if compression is None:
            return actual if actual in (Codec.GZIP, Codec.ZSTD) else Codec.GZIP
        if compression == KEEP:
            return actual if actual in _SUFFIXES else Codec.GZIP
        return _CODECS[compression]

    def _codec_of(self, layer: Descriptor) -> Codec:
        with self._source.open(layer) as blob:
            return sniff(blob.read(512))

    def _convert(self, layers: Sequence[_Layer]) -> None:
        # One blob under two diff IDs is looked at twice: one of them may be a lie.
        unique = {(layer.descriptor.digest, layer.diff_id): layer for layer in layers}
        ordered = sorted(unique.values(), key=lambda layer: -layer.descriptor.size)
        self._observer.begin("converting", sum(layer.descriptor.size for layer in ordered))
        try:
            run_all([self._task(layer) for layer in ordered], self._jobs)
        finally:
            self._observer.end()
        for cache, facts in self._facts.items():
            cache.update(facts)

    def _task(self, layer: _Layer) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            with self._processors:
                result, outcome = self._layer(layer, stop)
            if self._after is not None:
                self._after(result)
            with self._lock:
                self._results[layer.descriptor.digest] = result
                self.known_outcomes[result.digest] = outcome
            self._observer.finish(result, outcome)

        return run

    def _layer(self, layer: _Layer, stop: Stop) -> tuple[Descriptor, Outcome]:
        if self._codec_of(layer.descriptor) is layer.codec:
            return self._kept(layer, stop)
        remembered = self._remembered(layer)
        if remembered is not None:
            self._check(layer, stop)
            return remembered, Outcome.EXISTED
        compressor = None if layer.codec is Codec.NONE else Compressor(layer.codec)
        writer = self._scratch.writer()
        try:
            for part in self._unpacked(layer, stop):
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

    def _kept(self, layer: _Layer, stop: Stop) -> tuple[Descriptor, Outcome]:
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

    def _remembered(self, layer: _Layer) -> Descriptor | None:
        try:
            text, size = msgspec.convert(self._converted.get(_key(layer)), tuple[str, int])
            digest = Digest.parse(text)
        except (msgspec.ValidationError, MalformedDocument):
            return None
        result = Descriptor(media_type=_media_type(layer), digest=digest, size=size)
        self._scratch.announce([result])
        return result if self._scratch.has(result) else None

    def _check(self, layer: _Layer, stop: Stop) -> None:
        for _ in self._unpacked(layer, stop):
            pass

    def _unpacked(self, layer: _Layer, stop: Stop) -> Iterator[bytes]:
        """Yield a layer's tar, and raise DigestMismatch unless it hashes to the diff ID."""

        def watch(count: int) -> None:
            stop.check()
            self._observer.advance(count)

        stored = layer.descriptor.digest
        with self._source.open(layer.descriptor).watched(watch) as blob:
            yield from unpacked(blob, layer.diff_id, stored=stored)

    def _note(self, cache: Cache, key: str, value: object) -> None:
        with self._lock:
            self._facts[cache][key] = value

    def _rewrite(self, manifest: Manifest) -> Descriptor:
        """Keep a manifest with its new layers in the layered; unknown fields survive.

        Without a new layer its bytes stay as they are.
        """
        if all(_is_same(layer, self._results.get(layer.digest)) for layer in manifest.layers):
            return self.layered.add(manifest.raw, manifest.media_type)
        document = json.loads(manifest.raw)
        for value, layer in zip(document["layers"] or (), manifest.layers, strict=True):
            result = self._results.get(layer.digest)
            if result is not None:
                value.update(
                    mediaType=result.media_type, digest=str(result.digest), size=result.size
                )
        media_type = manifest.media_type
        if _needs_oci(manifest, self._results):
            media_type = document["mediaType"] = mediatype.OCI_MANIFEST
            document["config"]["mediaType"] = mediatype.OCI_CONFIG
            for value in document["layers"]:
                compression = mediatype.declared_compression(value["mediaType"])
                if compression is not None:
                    value["mediaType"] = mediatype.layer_type(compression)
        return self.layered.add(encode(document), media_type)

    def _follow(self, image: PlannedImage) -> tuple[PlannedImage, list[tuple[Digest, Digest, int]]]:
        images = {descriptor.digest for descriptor, _ in images_of(image.closure)}
        changes: list[tuple[Digest, Digest, int]] = []
        renamed: dict[Digest, Descriptor] = {}
        for descriptor, document in image.closure.documents:
            if isinstance(document, Index):
                new = _index_of(document, renamed, self.layered)
            elif descriptor.digest in images:
                new = self._rewrite(document)
            else:
                continue
            if new is not None and new.digest != descriptor.digest:
                renamed[descriptor.digest] = new
                if isinstance(document, Manifest):
                    count = sum(
                        self._results.get(x.digest, x).digest != x.digest for x in document.layers
                    )
                    changes.append((descriptor.digest, new.digest, count))
        return _moved(image, renamed, self.layered), changes


def _moved(
    image: PlannedImage, renamed: Mapping[Digest, Descriptor], source: Source
) -> PlannedImage:
    new = renamed.get(image.root.descriptor.digest)
    if new is None:
        return image
    descriptor = replace(
        image.root.descriptor, digest=new.digest, size=new.size, media_type=new.media_type
    )
    return PlannedImage(
        root=replace(image.root, descriptor=descriptor),
        closure=closure_of(source, descriptor),
    )


def _index_of(
    index: Index, renamed: Mapping[Digest, Descriptor], layered: LayeredSource
) -> Descriptor | None:
    """Keep an index that lists the new children, or return None when none is new."""
    texts = {str(old): str(new.digest) for old, new in renamed.items()}
    if not any(child.digest in renamed for child in index.manifests):
        return None
    document = json.loads(index.raw)
    for value, child in zip(document["manifests"], index.manifests, strict=True):
        new = renamed.get(child.digest)
        if new is not None:
            value.update(mediaType=new.media_type, digest=str(new.digest), size=new.size)
        annotations = value.get("annotations") or {}
        for key, text in annotations.items():
            annotations[key] = texts.get(text, text)
    return layered.add(encode(document), index.media_type)


def _needs_oci(manifest: Manifest, results: Mapping[Digest, Descriptor]) -> bool:
    """Docker's own manifest has no zstd layers that every tool knows."""
    return manifest.media_type == mediatype.DOCKER_MANIFEST and any(
        results[layer.digest].media_type == mediatype.OCI_LAYER_ZSTD
        for layer in manifest.layers
        if layer.digest in results
    )


def _is_same(layer: Descriptor, result: Descriptor | None) -> bool:
    if result is None:
        return True
    return (layer.digest, layer.media_type) == (result.digest, result.media_type)


def _media_type(layer: _Layer) -> str:
    compression = _SUFFIXES[layer.codec]
    docker = layer.descriptor.media_type.startswith("application/vnd.docker.")
    return mediatype.layer_type(compression, docker=docker and compression != "zstd")


def _key(layer: _Layer) -> str:
    return f"{layer.diff_id} {layer.codec} {_LEVELS.get(layer.codec, 0)}"
