"""Convert images: change their bytes where that is necessary, and only there.

New layers go into a scratch layout (usually the store itself), new manifests stay in memory,
everything else is read from where it was. What was done is returned as `Conversion`s; nothing is
converted silently. The config blob, hence the image ID, never changes.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec.structs import replace

from ocitool.events import Observer, Outcome
from ocitool.formats.compression import Codec
from ocitool.image.content import PlannedImage, Source
from ocitool.image.graph import closure_of, images_of
from ocitool.oci import Descriptor, Digest, Index, Manifest, mediatype
from ocitool.oci.annotations import is_about_bytes
from ocitool.oci.children import list_anew
from ocitool.oci.document import encode
from ocitool.oci.family import use_family
from ocitool.places.layout import Writing
from ocitool.transfer.layer_conversion import (
    LAYER_CODECS,
    AfterLayer,
    LayerConverter,
    LayerTask,
)
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.plan import is_attached
from ocitool.transfer.report import Conversion

_CODECS = {"gzip": Codec.GZIP, "zstd": Codec.ZSTD, "none": Codec.NONE}


class Recompressor:
    """Converts images: their layers into a scratch layout, their manifests in memory.

    The result is read from `layered`; `known_outcomes` says what happened to each new layer.
    `synthesized` are the digests of manifests that were made for images without one: such images
    are always converted, and all their diff IDs are verified. `after` is called with each finished
    layer while others are still converted.
    """

    def __init__(
        self,
        source: Source,
        scratch: Writing,
        *,
        synthesized: Collection[Digest] = (),
        jobs: int,
        observer: Observer,
        after: AfterLayer | None = None,
    ) -> None:
        self.layered = LayeredSource(scratch, source)
        self._synthesized = synthesized
        self._layers = LayerConverter(source, scratch, jobs=jobs, observer=observer, after=after)

    @property
    def known_outcomes(self) -> Mapping[Digest, Outcome]:
        """What happened to each new layer."""
        return self._layers.outcomes

    def convert(
        self, images: Sequence[PlannedImage], compression: str | None
    ) -> tuple[list[PlannedImage], list[Conversion]]:
        """Convert images without a manifest, and all of them when `compression` names a codec.

        With None, gzip and zstd layers of images without a manifest are kept, and their other
        layers are compressed with gzip. Indexes get the new digests of their children; attached
        artifacts are not changed.
        """
        chosen = [image for image in images if self._is_converted(image, compression)]
        self._layers.convert([task for image in chosen for task in self._tasks(image, compression)])
        digests = {image.root.descriptor.digest for image in chosen}
        results, conversions = [], []
        for image in images:
            result = image
            if image.root.descriptor.digest in digests:
                result, done = self._follow(image, compression or "gzip")
                conversions += done
            results.append(result)
        return results, conversions

    def _is_converted(self, image: PlannedImage, compression: str | None) -> bool:
        if image.root.descriptor.digest in self._synthesized:
            return True
        return compression in _CODECS and not is_attached(image)

    def _tasks(self, image: PlannedImage, compression: str | None) -> Iterator[LayerTask]:
        made_up = image.root.descriptor.digest in self._synthesized
        for _, manifest in images_of(image.closure):
            diff_ids = image.configs[manifest.config.digest].diff_ids
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
                if not mediatype.is_layer(layer.media_type):
                    continue
                if mediatype.is_foreign_layer(layer.media_type):
                    continue
                codec = self._codec(layer, compression) if made_up else _CODECS[compression or ""]
                yield LayerTask(descriptor=layer, diff_id=diff_id, codec=codec)

    def _codec(self, layer: Descriptor, compression: str | None) -> Codec:
        if compression in _CODECS:
            return _CODECS[compression]
        actual = self._layers.codec_of(layer)
        kept = LAYER_CODECS if compression == mediatype.KEEP else (Codec.GZIP, Codec.ZSTD)
        return actual if actual in kept else Codec.GZIP

    def _follow(
        self, image: PlannedImage, compression: str
    ) -> tuple[PlannedImage, list[Conversion]]:
        """Rewrite the manifests of an image that lists converted layers, children first."""
        results = self._layers.results
        images = {descriptor.digest for descriptor, _ in images_of(image.closure)}
        conversions: list[Conversion] = []
        renamed: dict[Digest, Descriptor] = {}
        for descriptor, document in image.closure.documents:
            if isinstance(document, Index):
                new = _rewrite_index(document, renamed, self.layered)
            elif descriptor.digest in images:
                new = _rewrite_manifest(document, results, self.layered)
            else:
                continue
            changed = new is not None and new.digest != descriptor.digest
            if new is not None and changed:
                renamed[descriptor.digest] = new
            made_up = descriptor.digest in self._synthesized
            if new is not None and isinstance(document, Manifest) and (changed or made_up):
                count = sum(results.get(x.digest, x).digest != x.digest for x in document.layers)
                old = None if made_up else descriptor.digest
                conversions.append(
                    Conversion(old=old, new=new.digest, layers=count, compression=compression)
                )
        return self._renamed(image, renamed), conversions

    def _renamed(self, image: PlannedImage, renamed: Mapping[Digest, Descriptor]) -> PlannedImage:
        new = renamed.get(image.root.descriptor.digest)
        if new is None:
            return image
        descriptor = replace(
            image.root.descriptor, digest=new.digest, size=new.size, media_type=new.media_type
        )
        return replace(
            image,
            root=replace(image.root, descriptor=descriptor),
            closure=closure_of(self.layered, descriptor),
        )


def _rewrite_manifest(
    manifest: Manifest, results: Mapping[Digest, Descriptor], layered: LayeredSource
) -> Descriptor:
    """Keep a manifest with its new layers in memory; unknown fields survive.

    Without a new layer its bytes stay as they are.
    """
    if all(_is_same(layer, results.get(layer.digest)) for layer in manifest.layers):
        return layered.add(manifest.raw, manifest.media_type)
    document = json.loads(manifest.raw)
    for value, layer in zip(document["layers"] or (), manifest.layers, strict=True):
        result = results.get(layer.digest)
        if result is not None:
            value.update(mediaType=result.media_type, digest=str(result.digest), size=result.size)
            if result.digest != layer.digest:
                _drop_tables(value)
    media_type = manifest.media_type
    if _needs_oci(manifest, results):
        media_type = mediatype.OCI_MANIFEST
        use_family(document, docker=False)
    return layered.add(encode(document), media_type)


def _drop_tables(descriptor: dict[str, object]) -> None:
    """Drop annotations that tell where the files are in the bytes that a layer had before."""
    annotations = descriptor.get("annotations")
    if isinstance(annotations, dict):
        for key in [key for key in annotations if is_about_bytes(key)]:
            del annotations[key]
        if not annotations:
            del descriptor["annotations"]


def _rewrite_index(
    index: Index, renamed: Mapping[Digest, Descriptor], layered: LayeredSource
) -> Descriptor | None:
    """Keep an index that lists the new children, or return None when none is new."""
    if not any(child.digest in renamed for child in index.manifests):
        return None
    return layered.add(*list_anew(index, renamed))


def _needs_oci(manifest: Manifest, results: Mapping[Digest, Descriptor]) -> bool:
    """Tell whether a docker manifest gets zstd layers, which many tools do not know in it."""
    return manifest.media_type == mediatype.DOCKER_MANIFEST and any(
        results[layer.digest].media_type == mediatype.OCI_LAYER_ZSTD
        for layer in manifest.layers
        if layer.digest in results
    )


def _is_same(layer: Descriptor, result: Descriptor | None) -> bool:
    if result is None:
        return True
    return (layer.digest, layer.media_type) == (result.digest, result.media_type)
