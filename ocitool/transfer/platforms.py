"""Select some platforms of an image, as a new image."""

import json
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ocitool.errors import NotFound
from ocitool.image.attached import attested, is_attestation
from ocitool.image.choosing import PlatformImage, choose
from ocitool.image.content import Closure, PlannedImage
from ocitool.image.graph import (
    closure_of,
    image_children,
    images_of,
)
from ocitool.oci import Descriptor, Index, Platform, mediatype
from ocitool.oci.document import encode
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.plan import is_attached


def select(
    layered: LayeredSource, image: PlannedImage, platforms: Sequence[Platform]
) -> PlannedImage:
    """Return the part of an image for these platforms; a new index goes into `layered`.

    For one platform this is that image's own manifest, its digest unchanged; for several, a new
    index of them and of their attestations. NotFound lists the available platforms.
    """
    root, closure = image.root, image.closure
    listed = planned_manifests(image)
    chosen = [
        choose(listed, wanted, called=root.called, absent=closure.missing).descriptor
        for wanted in platforms
    ]
    unique = {descriptor.digest for descriptor in chosen}
    index = closure.document(root.descriptor.digest)
    if not isinstance(index, Index):
        return image
    new = chosen[0]
    if len(unique) > 1:
        children = [one.descriptor for one in listed if one.descriptor.digest in unique]
        children += _attestations(layered, closure, {str(digest) for digest in unique})
        new = _listing(layered, index, children)
    descriptor = replace(new, annotations=root.descriptor.annotations)
    return replace(
        image,
        root=replace(root, descriptor=descriptor),
        closure=closure_of(layered, descriptor),
    )


def select_each(
    layered: LayeredSource, images: Sequence[PlannedImage], platforms: Sequence[Platform]
) -> list[PlannedImage]:
    """Return the part of each image for some platforms; attached artifacts are not changed.

    If images share a name, those that are for none of the platforms are left out.
    """
    chosen: list[PlannedImage] = []
    left_out: list[PlannedImage] = []
    for image in images:
        try:
            part = image if is_attached(image) else select(layered, image, platforms)
        except NotFound:
            if not _shares_a_name(image, images):
                raise
            left_out.append(image)
        else:
            chosen.append(part)
    for image in left_out:
        if not _shares_a_name(image, chosen):
            # No image of that name is for these platforms: this raises NotFound.
            select(layered, image, platforms)
    return chosen


def _shares_a_name(image: PlannedImage, others: Iterable[PlannedImage]) -> bool:
    names = set(image.root.names)
    return any(other is not image and names & set(other.root.names) for other in others)


def planned_manifests(image: PlannedImage) -> tuple[PlatformImage, ...]:
    """Return the image manifests of a plan, in the order in which its indexes list them."""
    return tuple(
        PlatformImage(
            descriptor=descriptor,
            manifest=manifest,
            platform=(
                descriptor.platform or image.configs[manifest.config.digest].platform
            ).normalized(),
        )
        for descriptor, manifest in images_of(image.closure)
    )


def _attestations(layered: LayeredSource, closure: Closure, images: set[str]) -> list[Descriptor]:
    """Return the attestations of these images that are present, from all indexes of a closure."""
    found = {
        child.digest: child
        for _, document in closure.documents
        if isinstance(document, Index)
        for child in document.manifests
        if is_attestation(child) and attested(child) in images and layered.has(child)
    }
    return list(found.values())


def select_in_index(
    layered: LayeredSource, index: Index, platforms: Sequence[Platform], *, called: str
) -> Descriptor | None:
    """Return what `select` would return, using only the index, so that no child has to be read.

    None if that is not possible: the index has a child without a platform, or a nested index.
    NotFound lists the available platforms.
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
    """Add an index that has only these children, otherwise unchanged; return its descriptor."""
    document = json.loads(index.raw)
    document["manifests"] = [child.to_json() for child in children]
    return layered.add(encode(document), index.media_type)
