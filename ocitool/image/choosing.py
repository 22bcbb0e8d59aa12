"""Which image of a multi-platform image is meant: one rule and one refusal for every command."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from ocitool.errors import NotFound
from ocitool.image.content import Closure, Root, Source
from ocitool.image.graph import closure_of, images_of, kind_of, read_config
from ocitool.oci import (
    DEFAULT_LIMITS,
    Descriptor,
    ImageConfig,
    Index,
    Limits,
    Manifest,
    Platform,
)


class HasPlatform(Protocol):
    """Something that has a platform: a descriptor, or an image that was read."""

    @property
    def platform(self) -> Platform | None:
        """The platform; None when it is not known."""


AnyImage = TypeVar("AnyImage", bound=HasPlatform)


class PlatformImage(Struct, frozen=True, kw_only=True):
    """An image of a closure and its platform, normalised.

    `config` is there when it had to be read because the descriptor names no platform.
    """

    descriptor: Descriptor
    manifest: Manifest
    platform: Platform
    config: ImageConfig | None = None

    def read_config(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> ImageConfig:
        """Return the configuration, from the source unless it has been read."""
        return self.config or read_config(source, self.manifest, limits)


def platform_images(source: Source, closure: Closure) -> tuple[PlatformImage, ...]:
    """Return the images of a closure, in the order in which its indexes list them.

    A platform is the descriptor's, else the configuration's (image-spec image-index.md).
    """
    return tuple(_platform_image(source, *image) for image in images_of(closure))


def _platform_image(source: Source, descriptor: Descriptor, manifest: Manifest) -> PlatformImage:
    platform, config = descriptor.platform, None
    if platform is None:
        config = read_config(source, manifest)
        platform = config.platform
    return PlatformImage(
        descriptor=descriptor, manifest=manifest, platform=platform.normalized(), config=config
    )


def best(images: Iterable[AnyImage], wanted: Platform) -> AnyImage | None:
    """Return the image that suits `wanted` best, the first of equal ones; None if none does."""
    found: tuple[int, AnyImage] | None = None
    for image in images:
        if image.platform is not None:
            rank = wanted.normalized().rank(image.platform.normalized())
            if rank is not None and (found is None or rank < found[0]):
                found = (rank, image)
    return found[1] if found is not None else None


def choose(
    images: Sequence[AnyImage],
    wanted: Platform,
    *,
    called: str,
    absent: Iterable[Descriptor] = (),
) -> AnyImage:
    """Return the image that suits `wanted` best; NotFound lists the available
    platforms.

    `called` is the name of the whole in the message, `absent` what its index lists and its place
    does not hold.
    """
    found = best(images, wanted)
    if found is not None:
        return found
    available = f"available: {', '.join(str(one.platform) for one in images) or 'none'}"
    listed = best(absent, wanted)
    if listed is not None:
        raise NotFound(
            f"{called} lists platform {listed.platform}, but that image was not copied here",
            hint=f"pull, save or copy it again with that platform; {available}",
        )
    raise NotFound(f"{called} has no image for platform {wanted}", hint=available)


class ChosenImage(Struct, frozen=True, kw_only=True):
    """The image that a root stands for, and all images of its index."""

    root: Root
    closure: Closure
    image: PlatformImage
    images: tuple[PlatformImage, ...]

    @property
    def index(self) -> Index | None:
        """The index from which the image was chosen."""
        document = self.closure.document(self.root.descriptor.digest)
        return document if isinstance(document, Index) else None


def choose_image(
    source: Source,
    root: Root,
    preferred: Platform | None,
    *,
    required: bool = False,
    without_layers: bool = False,
) -> ChosenImage:
    """Return the image that a root stands for: the preferred platform's, else the first.

    With `required` the platform must be there, else NotFound. NotFound also for an artifact, and,
    unless `without_layers`, for an image that lacks some of its layers.
    """
    closure = closure_of(source, root.descriptor, without_layers=without_layers)
    images = platform_images(source, closure)
    if not images:
        document = closure.document(closure.root.digest)
        raise NotFound(
            f"{root.called} is not an image{kind_of(document)}",
            hint="`inspect --manifest` shows what it is made of",
        )
    if preferred is not None and required:
        image = choose(images, preferred, called=root.called, absent=closure.missing)
    else:
        image = (best(images, preferred) if preferred is not None else None) or images[0]
    return ChosenImage(root=root, closure=closure, image=image, images=images)
