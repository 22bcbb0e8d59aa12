"""Which image a container is made from: one for a single platform."""

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.image import choosing
from ocitool.image.choosing import PlatformImage
from ocitool.image.content import Closure, Root
from ocitool.image.graph import closure_of
from ocitool.images.lookup import Found
from ocitool.oci import Descriptor, ImageConfig, Limits, Manifest, Platform
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout


class Chosen(Struct, frozen=True, kw_only=True):
    """An image for one platform, and the entry of the store that it belongs to.

    `name` is the name that the user gave, else any name of the image, else its digest.
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
    """Return the image to run: the one for `platform`, else the only one, else the one for `usual`.

    NotFound if there is none for that platform, UsageError for what cannot run here at all.
    """
    root = found.whole or found.root
    name = next((n for n in (found.name, *root.names) if n), str(root.descriptor.digest))
    inner = closure_of(layout, found.root.descriptor, limits)
    image = _choose_image(layout, inner, platform, usual, called=quoted(familiar(name)))
    config = image.read_config(layout, limits)
    if config.platform.os.lower() not in ("", "linux"):
        raise UsageError(
            f"{quoted(familiar(name))} is an image for {quoted(config.platform.os)}",
            hint="a container needs an image for linux",
        )
    return Chosen(
        name=name,
        root=root,
        # What must stay in the store is all of the entry, also where one platform is used.
        closure=closure_of(layout, root.descriptor, limits) if found.whole else inner,
        descriptor=image.descriptor,
        manifest=image.manifest,
        config=config,
    )


def _choose_image(
    layout: Layout,
    closure: Closure,
    platform: Platform | None,
    usual: Platform | None,
    *,
    called: str,
) -> PlatformImage:
    images = choosing.platform_images(layout, closure)
    if not images:
        raise UsageError(f"{called} is not an image that can run")
    wanted = platform or (usual if len(images) > 1 else None)
    if wanted is not None:
        return choosing.choose(images, wanted, called=called)
    if len(images) > 1:
        raise UsageError(f"{called} holds {len(images)} images", hint="choose one with --platform")
    return images[0]
