"""Which image a container is made from: one for one platform, whatever was named."""

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.image import choosing
from ocitool.image.content import Closure, Root
from ocitool.image.graph import closure_of
from ocitool.images.lookup import Found
from ocitool.oci import Descriptor, ImageConfig, Limits, Manifest, Platform
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout


class Chosen(Struct, frozen=True, kw_only=True):
    """An image for one platform, and the entry of the store that it belongs to.

    `name` is what it is called: as it was named, else any name of it, else its digest.
    """

    name: str
    root: Root
    closure: Closure
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def choose(
    layout: Layout,
    found: Found,
    platform: Platform | None,
    limits: Limits,
    *,
    usual: Platform | None = None,
) -> Chosen:
    """Return the image that is meant: the one for `platform`, else the only one, else for `usual`.

    NotFound when there is none for the platform, UsageError for what could not run here at all.
    """
    root = found.whole or found.root
    closure = closure_of(layout, root.descriptor, limits)
    name = next((n for n in (found.name, *root.names) if n), str(root.descriptor.digest))
    inner = closure_of(layout, found.root.descriptor, limits) if found.whole else closure
    images = choosing.platform_images(layout, inner)
    if not images:
        raise UsageError(f"{quoted(familiar(name))} is no image that could run")
    wanted = platform or (usual if len(images) > 1 else None)
    if wanted is not None:
        image = choosing.choose(images, wanted, called=quoted(familiar(name)))
    elif len(images) == 1:
        image = images[0]
    else:
        hint = "say which with --platform"
        raise UsageError(f"{quoted(familiar(name))} holds {len(images)} images", hint=hint)
    config = image.read_config(layout, limits)
    if config.platform.os.lower() not in ("", "linux"):
        raise UsageError(
            f"{quoted(familiar(name))} is an image for {quoted(config.platform.os)}",
            hint="a container is made of an image for linux",
        )
    return Chosen(
        name=name,
        root=root,
        closure=closure,
        descriptor=image.descriptor,
        manifest=image.manifest,
        config=config,
    )
