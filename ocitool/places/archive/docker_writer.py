"""The tar that `docker save` wrote before version 25: plain layers in folders of their own.

Every layer lies in full under ID/layer.tar, beside the VERSION and json of Docker's first image
format, and `repositories` names the top ones. There are no links: tools that cannot follow them
read these archives too.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from ocitool.formats.tar.writing import ended, padding
from ocitool.oci import Digest, ImageConfig, chain_ids
from ocitool.oci.document import encode
from ocitool.oci.reference import Reference
from ocitool.places.archive import framing


class PlainLayer(Struct, frozen=True, kw_only=True):
    """A layer as a tar of `size` bytes; `read` yields it, and raises unless it is `diff_id`."""

    diff_id: Digest
    size: int
    read: Callable[[], Iterator[bytes]]


class PlainImage(Struct, frozen=True, kw_only=True):
    """An image with its layers unpacked, and the full names it shall have."""

    names: tuple[str, ...]
    config_digest: Digest
    config: ImageConfig
    layers: tuple[PlainLayer, ...]


def docker_tar(images: Sequence[PlainImage]) -> Iterator[bytes]:
    """Yield the whole archive, piece by piece. The same images give the same bytes."""
    return ended(_pieces(images))


def docker_size(images: Sequence[PlainImage]) -> int:
    """Return how many bytes of layers an archive will carry, each layer once."""
    sizes = {
        identifier: layer.size
        for image in images
        for identifier, layer in zip(_identifiers(image), image.layers, strict=True)
    }
    return sum(sizes.values())


def _pieces(images: Sequence[PlainImage]) -> Iterator[bytes]:
    written: set[str] = set()
    for image in images:
        identifiers = _identifiers(image)
        for position, layer in enumerate(image.layers):
            if identifiers[position] not in written:
                written.add(identifiers[position])
                yield from _layer(image, identifiers, position, layer)
        name = f"{image.config_digest.hex}.json"
        if name not in written:
            written.add(name)
            yield framing.file(name, image.config.raw)
    yield framing.file("manifest.json", encode([_entry(image) for image in images]))
    repositories = _repositories(images)
    if repositories:
        yield framing.file("repositories", encode(repositories))


def _layer(
    image: PlainImage, identifiers: Sequence[str], position: int, layer: PlainLayer
) -> Iterator[bytes]:
    identifier = identifiers[position]
    yield framing.folder(f"{identifier}/")
    yield framing.file(f"{identifier}/VERSION", b"1.0")
    yield framing.file(f"{identifier}/json", encode(_first_format(image, identifiers, position)))
    yield framing.header(f"{identifier}/layer.tar", layer.size)
    yield from layer.read()
    yield padding(layer.size)


def _identifiers(image: PlainImage) -> list[str]:
    """Return the layers' IDs: by what is below for all but the top, which carries the config."""
    chain = chain_ids([layer.diff_id for layer in image.layers])
    texts = [f"layer {chain_id}" for chain_id in chain]
    if texts:
        texts[-1] = f"image {image.config_digest}"
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def _first_format(
    image: PlainImage, identifiers: Sequence[str], position: int
) -> Mapping[str, object]:
    document: dict[str, object] = {"id": identifiers[position]}
    if position:
        document["parent"] = identifiers[position - 1]
    step = image.config.layer_history()[position]
    document["created"] = (step.created if step else None) or "1970-01-01T00:00:00Z"
    if position == len(identifiers) - 1:
        config = json.loads(image.config.raw)
        for key in ("created", "author", "architecture", "os", "config"):
            if config.get(key) is not None:
                document[key] = config[key]
    return document


def _entry(image: PlainImage) -> Mapping[str, object]:
    identifiers = _identifiers(image)
    return {
        "Config": f"{image.config_digest.hex}.json",
        "RepoTags": list(image.names),
        "Layers": [f"{identifier}/layer.tar" for identifier in identifiers],
    }


def _repositories(images: Sequence[PlainImage]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for image in images:
        identifiers = _identifiers(image)
        for name in image.names:
            reference = Reference.parse(name)
            if reference.tag and identifiers:
                found.setdefault(reference.repository, {})[reference.tag] = identifiers[-1]
    return found
