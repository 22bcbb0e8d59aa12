"""Some of an image's platforms, as an image of their own."""

import json
from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.image.choosing import choose, platform_images
from ocitool.image.content import Closure, PlannedImage, Source
from ocitool.image.graph import (
    attested,
    closure_of,
    image_children,
    images_of,
    is_attestation,
)
from ocitool.oci import Descriptor, Index, Platform, mediatype
from ocitool.oci.document import encode
from ocitool.transfer.layered import LayeredSource


def select(
    layered: LayeredSource, image: PlannedImage, platforms: Sequence[Platform]
) -> PlannedImage:
    """Return the part of an image for these platforms; a new index goes into `layered`.

    One platform gives that image's own manifest, its digest unchanged. Several give a new index
    of them and of what attests them. NotFound lists what there is.
    """
    images = platform_images(layered, image.closure)
    chosen = [choose(images, wanted, called=image.root.called).descriptor for wanted in platforms]
    unique = {descriptor.digest: descriptor for descriptor in chosen}
    root = image.closure.document(image.root.descriptor.digest)
    if not isinstance(root, Index):
        return image
    if len(unique) == 1:
        descriptor = replace(chosen[0], annotations=image.root.descriptor.annotations)
    else:
        children = [child for child, _ in images_of(image.closure) if child.digest in unique]
        children += _attestations(layered, image.closure, {str(digest) for digest in unique})
        new = _listing(layered, root, children)
        descriptor = replace(new, annotations=image.root.descriptor.annotations)
    moved = replace(image.root, descriptor=descriptor)
    return PlannedImage(root=moved, closure=closure_of(layered, descriptor))


def _attestations(layered: LayeredSource, closure: Closure, images: set[str]) -> list[Descriptor]:
    """Return what attests these images and is there, from all indexes of a closure."""
    found = {
        child.digest: child
        for _, document in closure.documents
        if isinstance(document, Index)
        for child in document.manifests
        if is_attestation(child) and attested(child) in images and layered.has(child)
    }
    return list(found.values())


def platforms_of(source: Source, closure: Closure) -> tuple[Platform, ...]:
    """Return the platforms of the images in a closure, in order."""
    return tuple(image.platform for image in platform_images(source, closure))


def select_in_index(
    layered: LayeredSource, index: Index, platforms: Sequence[Platform], *, called: str
) -> Descriptor | None:
    """Return what `select` would, judged by an index alone, so that no child has to be read.

    None when the index does not say it all: a child without a platform, or an index in it.
    NotFound lists what there is.
    """
    images = [
        child
        for child in image_children(index)
        if not (mediatype.is_index(child.media_type) or child.platform is None)
    ]
    if len(images) != len(image_children(index)):
        return None
    chosen = [choose(images, wanted, called=called) for wanted in platforms]
    unique = {child.digest: child for child in chosen}
    if len(unique) == 1:
        return replace(next(iter(unique.values())), annotations={})
    texts = {str(digest) for digest in unique}
    children = [child for child in images if child.digest in unique]
    children += [c for c in index.manifests if is_attestation(c) and attested(c) in texts]
    return _listing(layered, index, children)


def _listing(layered: LayeredSource, index: Index, children: Sequence[Descriptor]) -> Descriptor:
    """Keep an index of only these children, all else as it was, and return its descriptor."""
    document = json.loads(index.raw)
    document["manifests"] = [child.to_json() for child in children]
    return layered.add(encode(document), index.media_type)
