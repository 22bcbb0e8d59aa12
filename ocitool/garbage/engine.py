"""Garbage of an engine: its dangling images, which containers hold which, and the rest removed.

The engine itself removes, through its API and never by force, so it refuses what a container began
to use since the plan was made. A name that means another image since then is left alone.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from ocitool.containers import ContainerUse, EngineProvider
from ocitool.errors import NotFound, OcitoolError, Refused, Unavailable, UsageError
from ocitool.oci import Reference
from ocitool.oci.quoting import quoted
from ocitool.places.engine import KINDS as ENGINES
from ocitool.places.engine import Engine, engine_endpoint

_SHORTEST_ID = 12
_NOT_A_NAME = ("<none>:<none>", "<none>@<none>")


class EngineImage(Struct, frozen=True, kw_only=True):
    """An image of an engine. `id` is what the engine calls it, `size` is in bytes, as it says."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    created: int

    @property
    def targets(self) -> tuple[str, ...]:
        """What has to be removed, one after the other, until the image is removed."""
        if self.names:
            return self.names
        return self.digests if len(self.digests) > 1 else (self.id,)


class HeldImage(Struct, frozen=True, kw_only=True):
    """An image that stays, and the containers that use it."""

    image: EngineImage
    holders: tuple[ContainerUse, ...]


class EnginePlan(Struct, frozen=True, kw_only=True):
    """What a collection would remove from an engine, and what stays although it is dangling."""

    engine: str
    to_remove: tuple[EngineImage, ...]
    held: tuple[HeldImage, ...]

    @property
    def size(self) -> int:
        """The bytes of what is removed; what images share is counted with each of them."""
        return sum(image.size for image in self.to_remove)


class RefusedImage(Struct, frozen=True, kw_only=True):
    """An image that an engine did not remove, and its reason."""

    image: EngineImage
    reason: str


class EngineSwept(Struct, frozen=True, kw_only=True):
    """What was removed, in the engine's words, and what it refused to remove."""

    images: tuple[EngineImage, ...]
    untagged: tuple[str, ...]
    deleted: tuple[str, ...]
    refused: tuple[RefusedImage, ...]


def plan_engine(
    engine: str, *, everything: bool = False, others: Iterable[ContainerUse] = ()
) -> EnginePlan:
    """Ask an engine ("docker" or "podman") for its garbage; nothing is changed.

    Garbage are dangling images that no container uses, running or stopped; with `everything` also
    named ones. Containers of `others` count as well as its own. Raises Refused when the engine
    cannot say which images its containers use, Unavailable when it is not there.
    """
    with _connect(engine) as connection:
        found = _images(connection, dangling=True)
        if everything:
            found |= _images(connection, dangling=False)
    uses = [*EngineProvider.of(engine).uses(), *others]
    holders = {image.id: _holders(image, uses) for image in found.values()}
    return EnginePlan(
        engine=engine,
        to_remove=tuple(image for image in found.values() if not holders[image.id]),
        held=tuple(
            HeldImage(image=image, holders=tuple(holders[image.id]))
            for image in found.values()
            if holders[image.id]
        ),
    )


def sweep_engine(plan: EnginePlan) -> EngineSwept:
    """Have the engine remove what the plan names, and report each image that it refuses."""
    removed: list[EngineImage] = []
    refused: list[RefusedImage] = []
    untagged: list[str] = []
    deleted: list[str] = []
    with _connect(plan.engine) as connection:
        for image in plan.to_remove:
            try:
                targets = [t for t in image.targets if _still_means(connection, t, image)]
                if image.targets and not targets:
                    reason = "its names mean other images since"
                    refused.append(RefusedImage(image=image, reason=reason))
                    continue
                for target in targets:
                    _note(_remove(connection, target), untagged, deleted)
                removed.append(image)
            except Unavailable:
                raise
            except OcitoolError as error:
                refused.append(RefusedImage(image=image, reason=error.message))
    return EngineSwept(
        images=tuple(removed),
        untagged=tuple(dict.fromkeys(untagged)),
        deleted=tuple(dict.fromkeys(deleted)),
        refused=tuple(refused),
    )


def _connect(engine: str) -> Engine:
    if engine not in ENGINES:
        raise UsageError(f"--engine {quoted(engine)} is neither docker nor podman")
    return Engine(engine_endpoint(engine))


def _images(connection: Engine, *, dangling: bool) -> dict[str, EngineImage]:
    values = connection.images(dangling=dangling)
    if not isinstance(values, list):
        raise Refused(f"{connection.what} did not list its images")
    images = [_image(value) for value in values if isinstance(value, dict)]
    return {image.id: image for image in images}


def _image(value: dict[str, object]) -> EngineImage:
    size, created = value.get("Size"), value.get("Created")
    return EngineImage(
        id=str(value.get("Id")),
        names=_texts(value.get("RepoTags")),
        digests=_texts(value.get("RepoDigests")),
        size=size if type(size) is int else 0,
        created=created if type(created) is int else 0,
    )


def _texts(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(str(text) for text in found if text not in _NOT_A_NAME)


def _holders(image: EngineImage, uses: Sequence[ContainerUse]) -> list[ContainerUse]:
    """Return who uses an image: by its ID or a digest, else by a name.

    A name counts even if it has moved since: one image too many stays rather than one too few.
    """
    digests = [image.id, *(text.rpartition("@")[2] for text in image.digests)]
    known = [text.rpartition(":")[2] for text in digests]
    names = {_full(name) for name in image.names}
    return [use for use in uses if _claims(use, known) or names & {_full(n) for n in use.names}]


def _claims(use: ContainerUse, known: Sequence[str]) -> bool:
    texts = [*use.digests, *(name.rpartition("@")[2] for name in use.names)]
    claims = [text.rpartition(":")[2] for text in texts]
    return any(
        len(claim) >= _SHORTEST_ID and digits.startswith(claim)
        for claim in claims
        for digits in known
    )


def _full(name: str) -> str:
    try:
        return Reference.parse(name).name
    except UsageError:
        return name


def _still_means(connection: Engine, target: str, image: EngineImage) -> bool:
    """Tell whether a name means the image that was planned; one that is removed does no harm."""
    if target == image.id or "@" in target:
        return True
    try:
        now = connection.image_id(target)
    except NotFound:
        return True
    return now.rpartition(":")[2] == image.id.rpartition(":")[2]


def _remove(connection: Engine, target: str) -> object:
    try:
        return connection.remove_image(target)
    except NotFound:
        # Somebody else was faster, or it went with another name of it.
        return []


def _note(answer: object, untagged: list[str], deleted: list[str]) -> None:
    for item in answer if isinstance(answer, list) else []:
        if isinstance(item, dict):
            untagged += [str(item["Untagged"])] if item.get("Untagged") else []
            deleted += [str(item["Deleted"])] if item.get("Deleted") else []
