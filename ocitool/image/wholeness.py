"""When an image is whole: the one rule by which it is loaded, saved, copied, pushed and verified.

A listed platform that cannot be used counts as absent: the index is sparse, and its other
platforms can be used. An image without any platform that can be used is incomplete.
"""

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound
from ocitool.image.content import Closure, Inventory, Root, Source
from ocitool.image.graph import images_of, read_config
from ocitool.oci import Descriptor, ImageConfig, Manifest, mediatype


class Incomplete(NotFound):
    """An index lists platforms that are not there, and cannot be used without them."""


class UnfittingConfig(IntegrityError):
    """A config promises another number of layers than the manifest lists."""


class WholeImage(Struct, frozen=True, kw_only=True):
    """An image that can be used: its manifest, and a config that fits it."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def require_whole(
    source: Source, root: Root, closure: Closure, *, strict: bool = False
) -> tuple[WholeImage, ...]:
    """Return the images of a closure, which can be used; raise when they cannot.

    Incomplete for an index that lacks all its images, or with `strict` some; IntegrityError for a
    config that cannot be read or does not fit its layers. An artifact is whole without an image.
    """
    images = images_of(closure)
    if closure.missing and (strict or not images):
        raise Incomplete(
            f"{root.called} is incomplete: {'; '.join(closure.reasons.values())}",
            hint="save it again where it came from, with all its platforms",
        )
    return tuple(whole_image(source, *image) for image in images)


def whole_image(source: Source, descriptor: Descriptor, manifest: Manifest) -> WholeImage:
    """Return an image with its config; IntegrityError when that cannot be read or does not fit."""
    config = read_config(source, manifest)
    if len(config.diff_ids) != len(manifest.layers):
        raise UnfittingConfig(
            f"manifest {descriptor.digest.short} lists {len(manifest.layers)} layers, but its "
            f"config has {len(config.diff_ids)} diff IDs"
        )
    return WholeImage(descriptor=descriptor, manifest=manifest, config=config)


def is_absent_foreign(source: Source, layer: Descriptor) -> bool:
    """Tell whether a layer is a foreign layer that is not in the source."""
    if not mediatype.is_foreign_layer(layer.media_type):
        return False
    return isinstance(source, Inventory) and not source.has(layer)


def described(child: Descriptor) -> str:
    """Return what to call an absent child of an index in a message."""
    platform = f" ({child.platform})" if child.platform is not None else ""
    return f"{child.digest.short}{platform}"
