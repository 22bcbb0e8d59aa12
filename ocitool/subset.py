"""Some of an image's platforms, as an image of their own."""

import json
from collections.abc import Sequence
from dataclasses import replace

from ocitool.content import Closure, Shipment, Source
from ocitool.graph import (
    attested,
    closure_of,
    images_of,
    is_attestation,
    platform_of,
    require_platform,
)
from ocitool.overlay import Overlay
from ocitool.spec import Descriptor, Index, Platform
from ocitool.spec.document import encode


def restrict(overlay: Overlay, shipment: Shipment, platforms: Sequence[Platform]) -> Shipment:
    """Return the part of an image for these platforms; a new index goes into the overlay.

    One platform gives that image's own manifest, its digest unchanged. Several give a new index
    of them and of what attests them. NotFound lists what there is.
    """
    chosen = [require_platform(overlay, shipment.closure, wanted)[0] for wanted in platforms]
    unique = {descriptor.digest: descriptor for descriptor in chosen}
    root = shipment.closure.document(shipment.root.descriptor.digest)
    if not isinstance(root, Index):
        return shipment
    if len(unique) == 1:
        descriptor = replace(chosen[0], annotations=shipment.root.descriptor.annotations)
    else:
        children = [child for child, _ in images_of(shipment.closure) if child.digest in unique]
        children += _attestations(overlay, shipment.closure, {str(digest) for digest in unique})
        document = json.loads(root.raw)
        document["manifests"] = [child.to_json() for child in children]
        new = overlay.add(encode(document), root.media_type)
        descriptor = replace(new, annotations=shipment.root.descriptor.annotations)
    moved = replace(shipment.root, descriptor=descriptor)
    return Shipment(root=moved, closure=closure_of(overlay, descriptor))


def _attestations(overlay: Overlay, closure: Closure, images: set[str]) -> list[Descriptor]:
    """Return what attests these images and is there, from all indexes of a closure."""
    found = {
        child.digest: child
        for _, document in closure.documents
        if isinstance(document, Index)
        for child in document.manifests
        if is_attestation(child) and attested(child) in images and overlay.has(child)
    }
    return list(found.values())


def platforms_of(source: Source, closure: Closure) -> tuple[Platform, ...]:
    """Return the platforms of the images in a closure, in order."""
    return tuple(platform_of(source, *image) for image in images_of(closure))
