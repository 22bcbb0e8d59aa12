"""Which image of a push goes under which name, known before anything is converted or sent."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ocitool.bundles.mapping import Below, Mapping, destinations
from ocitool.errors import NotFound, UsageError
from ocitool.image.content import PlannedImage, Root
from ocitool.oci import Reference
from ocitool.transfer.plan import is_attached


class SeveralImages(UsageError):
    """Several images cannot go under one name. `first` is one of them, `destination` the name."""

    def __init__(self, roots: Sequence[Root], destination: Reference) -> None:
        super().__init__(
            f"{len(roots)} images cannot be pushed under one name",
            hint="name one of them, or push all of them below a prefix of a registry",
        )
        self.first = roots[0]
        self.destination = destination

    @property
    def prefix(self) -> str:
        """A prefix below which all of them can go: that of the name that was given."""
        return self.destination.repository.rpartition("/")[0].removesuffix("/library")


class Pair(NamedTuple):
    """An image, one of its names (None if it has none), and where it goes."""

    image: PlannedImage
    name: str | None
    destination: Reference


def pairs(
    planned: Sequence[PlannedImage], wanted: Sequence[Reference] | Below | Mapping
) -> list[Pair]:
    """Return what goes where: to the destinations, or without any to the names of the images.

    Raises UsageError where that cannot be: several images under one name, or none to go by.
    """
    images = [image for image in planned if image.root.names or not is_attached(image)]
    if not images:
        raise NotFound(
            "there is no image to push",
            hint="artifacts are only pushed with their image: name the image and add --referrers",
        )
    if isinstance(wanted, Below | Mapping):
        return _below(images, wanted)
    if not wanted:
        return [Pair(image, name, Reference.parse(name)) for image, name in _named(images)]
    if len(images) != 1:
        raise SeveralImages([image.root for image in images], wanted[0])
    name = next(iter(images[0].root.names), None)
    return [Pair(images[0], name, destination) for destination in wanted]


def check_clashes(roots: Iterable[Root], below: Below | Mapping) -> None:
    """Raise UsageError if different images would get one name."""
    flattens = isinstance(below, Below) and below.flatten
    advice = "leave out --flatten, or push" if flattens else "push"
    destinations(
        ((name, root.descriptor.digest) for root in roots for name in root.names),
        below.destination,
        hint=f"{advice} them one by one under names of your choice; nothing was sent",
    )


def _below(images: Sequence[PlannedImage], below: Below | Mapping) -> list[Pair]:
    found: dict[Reference, Pair] = {}
    for image, name in _named(images):
        destination = below.destination(name)
        found.setdefault(destination, Pair(image, name, destination))
    check_clashes([image.root for image in images], below)
    return list(found.values())


def _named(images: Sequence[PlannedImage]) -> list[tuple[PlannedImage, str]]:
    for image in images:
        if not image.root.names:
            raise UsageError(
                f"{image.root.called} has no name to push it under",
                hint="push it alone, by its digest, and name a destination",
            )
    return [(image, name) for image in images for name in image.root.names]
