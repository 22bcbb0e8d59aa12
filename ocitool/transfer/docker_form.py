"""The docker form of an archive: plain layers, as docker before version 25 wrote them."""

import functools
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from ocitool.errors import NotFound, UsageError
from ocitool.events import Observer
from ocitool.image.content import Catalog, PlannedImage, Source
from ocitool.image.graph import read_config
from ocitool.image.layers import unpacked
from ocitool.image.wholeness import is_absent_foreign
from ocitool.oci import Descriptor, Digest, Manifest, mediatype
from ocitool.places.archive import PlainImage, PlainLayer
from ocitool.places.layout import Layout
from ocitool.transfer.plan import is_attached
from ocitool.transfer.platforms import planned_manifests


def plain_images(
    catalog: Catalog, source: Source, planned: Sequence[PlannedImage], observer: Observer
) -> list[PlainImage]:
    """Return the featured images with their layers uncompressed, each once with all its names.

    Content is read from `source`; `catalog` may know the unpacked size of a layer. Attached
    artifacts and other platforms are left out, with a warning. NotFound if there is no featured
    image or a foreign layer is absent; UsageError for an encrypted layer.
    """
    sizes = _TarSizes(catalog, source, observer)
    images: dict[Digest, PlainImage] = {}
    for image in planned:
        if image.featured is None:
            if not is_attached(image):
                raise NotFound(f"{image.root.called} holds no image that docker could load")
            observer.warn(f"{image.root.called} is left out: the docker form has no attachments")
            continue
        _warn_of_other_platforms(image, observer)
        plain = _plain_image(source, image, image.featured, sizes, observer)
        known = images.get(plain.config_digest)
        names = (*(known.names if known else ()), *plain.names)
        images[plain.config_digest] = replace(plain, names=tuple(dict.fromkeys(names)))
    return list(images.values())


def _warn_of_other_platforms(image: PlannedImage, observer: Observer) -> None:
    listed = planned_manifests(image)
    if len(listed) > 1:
        chosen = next(one for one in listed if one.manifest == image.featured)
        observer.warn(f"{image.root.called} is saved for {chosen.platform} only")


def _plain_image(
    source: Source, image: PlannedImage, manifest: Manifest, sizes: "_TarSizes", observer: Observer
) -> PlainImage:
    config = read_config(source, manifest)
    _require_plain_layers(source, image, manifest)
    layers = tuple(
        PlainLayer(
            diff_id=diff_id,
            size=sizes.of(layer, diff_id),
            read=functools.partial(_read_tar, source, layer, diff_id, observer),
        )
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    )
    return PlainImage(
        names=image.root.names,
        config_digest=manifest.config.digest,
        config=config,
        layers=layers,
    )


def _require_plain_layers(source: Source, image: PlannedImage, manifest: Manifest) -> None:
    """Raise unless every layer can be unpacked: the docker form holds plain layers only."""
    hint = "the types universal and oci keep it as it is"
    for number, layer in enumerate(manifest.layers, 1):
        called = f"layer {number} of {image.root.called}"
        if mediatype.is_encrypted_layer(layer.media_type):
            raise UsageError(f"{called} is encrypted and cannot be unpacked", hint=hint)
        if is_absent_foreign(source, layer):
            raise NotFound(f"{called} is a foreign layer, which is not stored here", hint=hint)


def _read_tar(
    source: Source, layer: Descriptor, diff_id: Digest, observer: Observer
) -> Iterator[bytes]:
    with source.open(layer) as blob:
        for part in unpacked(blob, diff_id, stored=layer.digest):
            observer.advance(len(part))
            yield part


class _TarSizes:
    """The sizes of the layers' tars, which the header before each of them must give."""

    def __init__(self, catalog: Catalog, source: Source, observer: Observer) -> None:
        self._source = source
        self._observer = observer
        self._cache = catalog.cache("layers") if isinstance(catalog, Layout) else None
        self._known: dict[Digest, int] = {}

    def of(self, layer: Descriptor, diff_id: Digest) -> int:
        """Return the size in bytes: remembered, or found by unpacking once."""
        if layer.digest == diff_id:
            return layer.size
        fact = self._cache.get(str(layer.digest)) if self._cache is not None else None
        size = fact.get("tar_size") if isinstance(fact, dict) else None
        if isinstance(size, int):
            return size
        if layer.digest not in self._known:
            self._known[layer.digest] = self._measure(layer, diff_id)
        return self._known[layer.digest]

    def _measure(self, layer: Descriptor, diff_id: Digest) -> int:
        with (
            self._observer.work("measuring", layer.size),
            self._source.open(layer).watched(self._observer.advance) as blob,
        ):
            return sum(map(len, unpacked(blob, diff_id, stored=layer.digest)))
