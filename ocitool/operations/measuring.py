"""What each layer of an image measures: remembered, from headers alone, or by reading it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import OcitoolError
from ocitool.events import Observer
from ocitool.formats.compression import Codec, DecompressingReader, sniff
from ocitool.image.content import Blob, PlannedImage, Positioned, Source
from ocitool.image.graph import images_of
from ocitool.image.layers import LayerMeasure, measure_layer, measure_plain_layer
from ocitool.image.wholeness import is_absent_foreign
from ocitool.oci import Descriptor, Digest, Manifest, mediatype
from ocitool.places.layout import Cache, Layout

_SNIFFED = 512
_MEMBERS = 10_000
"""How many members of an image's plain layers are looked at: about as many as 0.1 s allows."""
_UNPACKED = 256 << 20
_CACHE = "layers"
Measured = LayerMeasure | int | str
"""A layer in numbers, the size of its tar alone, or why there is neither."""


def measure_layers(
    source: Source, manifest: Manifest, cache: Cache | None, jobs: int, observer: Observer
) -> dict[Digest, Measured]:
    """Return the sizes of each layer, or the reason why they are not known."""
    found: dict[Digest, Measured] = {}
    missing: list[Descriptor] = []
    members = 0
    for layer in {layer.digest: layer for layer in manifest.layers}.values():
        known = _recall(cache, layer)
        reason = _opaque(source, layer)
        measure = reason or known or _measure_headers(source, layer, most=_MEMBERS - members)
        members += measure.entries if isinstance(measure, LayerMeasure) else 0
        if measure is None:
            missing.append(layer)
        else:
            found[layer.digest] = measure
    if missing:
        found |= _read_all(source, missing, measure_layer, jobs, observer)
        if cache is not None:
            cache.update(
                {
                    str(digest): msgspec.to_builtins(measure)
                    for digest, measure in found.items()
                    if isinstance(measure, LayerMeasure)
                }
            )
    return found


def _measure_headers(source: Source, layer: Descriptor, *, most: int) -> Measured | None:
    """Measure a plain layer of an archive by its headers; None where it must be read.

    Of a layer of more than `most` members only the size is told: a million headers take seconds.
    Whether the bytes are what the digest says is not looked at: `verify` proves that.
    """
    if not isinstance(source, Positioned):
        return None
    try:
        with source.positioned(layer) as read_at:
            if sniff(read_at(0, _SNIFFED)) is not Codec.NONE:
                return None
            measured = measure_plain_layer(read_at, layer, most=max(0, most))
    except OcitoolError as error:
        return error.message
    return layer.size if measured is None else measured


def _read_all(
    source: Source,
    layers: Sequence[Descriptor],
    read: Callable[[Blob], Measured],
    jobs: int,
    observer: Observer,
) -> dict[Digest, Measured]:
    """Return what is read of each layer, or in words why it cannot be read."""
    found: dict[Digest, Measured] = {}

    def task(layer: Descriptor) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            def watch(count: int) -> None:
                stop.check()
                observer.advance(count)

            try:
                with source.open(layer).watched(watch) as blob:
                    found[layer.digest] = read(blob)
            except OcitoolError as error:
                found[layer.digest] = error.message

        return run

    observer.begin("measuring", sum(layer.size for layer in layers))
    try:
        run_all([task(layer) for layer in layers], jobs)
    finally:
        observer.end()
    return found


def _recall(cache: Cache | None, layer: Descriptor) -> LayerMeasure | None:
    fact = cache.get(str(layer.digest)) if cache is not None else None
    try:
        return msgspec.convert(fact, LayerMeasure) if fact is not None else None
    except msgspec.ValidationError:
        return None


def _opaque(source: Source, layer: Descriptor) -> str | None:
    """Return why a layer cannot be read at all, or None."""
    if mediatype.is_encrypted_layer(layer.media_type):
        return "it is encrypted"
    if is_absent_foreign(source, layer):
        return "it is a foreign layer, which is not stored with the image"
    if mediatype.is_foreign_layer(layer.media_type) and layer.urls:
        return "it is a foreign layer"
    if not mediatype.is_layer(layer.media_type):
        return f"its type is {layer.media_type}, not a layer"
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
        elif _opaque(layout, layer) is None:
            packed[layer.digest] = layer
    left, chosen = _UNPACKED, []
    for layer in sorted(packed.values(), key=lambda layer: layer.size):
        left -= layer.size
        if left >= 0:
            chosen.append(layer)
    if chosen:
        read = _read_all(layout, chosen, _tar_size, DEFAULT_JOBS, observer)
        facts |= {str(d): {"tar_size": size} for d, size in read.items() if isinstance(size, int)}
    cache.update(facts)


def _layers_of(images: Iterable[PlannedImage]) -> Iterator[tuple[Descriptor, Digest]]:
    for image in images:
        for _, manifest in images_of(image.closure):
            diff_ids = image.configs[manifest.config.digest].diff_ids
            yield from zip(manifest.layers, diff_ids, strict=True)


def _tar_size(blob: Blob) -> int:
    return DecompressingReader(blob).drain()
