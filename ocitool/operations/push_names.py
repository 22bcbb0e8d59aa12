"""Which image of a push goes under which name, known before anything is converted or sent."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from msgspec import Struct

from ocitool.errors import NotFound, UsageError
from ocitool.image.content import PlannedImage, Root
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted
from ocitool.transfer.plan import is_attached

_SHAPE = "write HOST or HOST/PREFIX, such as localhost:5000/mirror or docker.io/NAMESPACE"


class Below(Struct, frozen=True, kw_only=True):
    """Where images keep their names: below a prefix of one registry, instead of their own one.

    `flatten` keeps only the last component of each repository.
    """

    domain: str
    path: str = ""
    flatten: bool = False

    @classmethod
    def parse(cls, text: str, *, flatten: bool = False) -> Self:
        """Return the meaning of HOST[/PREFIX], also with docker:// or a slash at its end.

        Raises UsageError for other text. The host is required: a lone word could be a host or a
        namespace of Docker Hub.
        """
        place = text.removeprefix("docker:").removeprefix("//").rstrip("/")
        host, _, path = place.partition("/")
        try:
            found = Reference.parse(f"{place}/x")
        except UsageError as error:
            message = f"{quoted(text)} is not a prefix in a registry: {error.message}"
            raise UsageError(message, hint=_SHAPE) from None
        if found.domain != host:
            raise UsageError(f"{quoted(text)} does not name a registry", hint=_SHAPE)
        return cls(domain=host, path=path, flatten=flatten)

    def destination(self, name: str) -> Reference:
        """Return where the image of a full name goes; UsageError where the name becomes invalid."""
        old = Reference.parse(name)
        repository = old.path.rpartition("/")[2] if self.flatten else old.path
        parts = [part for part in (self.domain, self.path, repository) if part]
        return Reference.parse("/".join(parts) + name.removeprefix(old.repository))


class Pair(NamedTuple):
    """An image, one of its names (None if it has none), and where it goes."""

    image: PlannedImage
    name: str | None
    destination: Reference


def pairs(planned: Sequence[PlannedImage], destinations: Sequence[Reference] | Below) -> list[Pair]:
    """Return what goes where: to the destinations, or without any to the names of the images.

    Raises UsageError where that cannot be: several images under one name, or none to go by.
    """
    images = [image for image in planned if image.root.names or not is_attached(image)]
    if not images:
        raise NotFound(
            "there is no image to push",
            hint="artifacts are only pushed with their image: name the image and add --referrers",
        )
    if isinstance(destinations, Below):
        return _below(images, destinations)
    if not destinations:
        return [Pair(image, name, Reference.parse(name)) for image, name in _named(images)]
    if len(images) != 1:
        raise UsageError(
            f"{len(images)} images cannot be pushed under one name",
            hint="name one of them, for example docker-archive:FILE:NAME, or push all of them "
            "with --to HOST/PREFIX",
        )
    name = next(iter(images[0].root.names), None)
    return [Pair(images[0], name, destination) for destination in destinations]


def check_clashes(roots: Iterable[Root], below: Below) -> None:
    """Raise UsageError if different images would get one name."""
    going: dict[Reference, dict[str, Digest]] = {}
    for root in roots:
        for name in root.names:
            going.setdefault(below.destination(name), {})[name] = root.descriptor.digest
    clashes = {to: names for to, names in going.items() if len(set(names.values())) > 1}
    if not clashes:
        return
    told = "; ".join(
        f"{', '.join(Reference.parse(name).familiar for name in sorted(names))} -> {to.familiar}"
        for to, names in clashes.items()
    )
    hint = "leave out --flatten, or push" if below.flatten else "push"
    raise UsageError(
        f"different images would get the same name: {told}",
        hint=f"{hint} them one by one under names of your choice; nothing was sent",
    )


def _below(images: Sequence[PlannedImage], below: Below) -> list[Pair]:
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
