"""Garbage of an engine: its dangling images, which containers hold which, and the rest removed.

The engine itself removes, through its API and never by force, so it refuses what a container began
to use since the plan was made. A name that means another image since then is left alone.
"""

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.containers.uses import ContainerUse
from ocitool.errors import NotFound, OcitoolError, Unavailable, UsageError
from ocitool.oci.quoting import quoted
from ocitool.places.engine import KINDS as ENGINES
from ocitool.places.engine import Engine, engine_endpoint


class EngineImage(Struct, frozen=True, kw_only=True):
    """An image of an engine. `id` is what the engine calls it, `size` is in bytes, as it says.

    `former` is a name that a store has or had for the same image, if it has none in the engine.
    """

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    created: int
    labels: Mapping[str, str] = field(default_factory=dict)
    former: str | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """What has to be removed, one after the other, until the image is removed."""
        if self.names:
            return self.names
        return self.digests if len(self.digests) > 1 else (self.id,)

    @property
    def is_dangling(self) -> bool:
        """Whether it has no name."""
        return not self.names


class KeptEngineImage(Struct, frozen=True, kw_only=True):
    """An image that stays, why, and the containers that use it, if that is why."""

    image: EngineImage
    reason: str
    holders: tuple[ContainerUse, ...] = ()


class EnginePlan(Struct, frozen=True, kw_only=True):
    """What a collection would remove from an engine, and what stays.

    `held` are images that only a container or a rule keeps; `others` are not asked for.
    """

    engine: str
    to_remove: tuple[EngineImage, ...]
    held: tuple[KeptEngineImage, ...]
    others: tuple[KeptEngineImage, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of what is removed; what images share is counted with each of them."""
        return sum(image.size for image in self.to_remove)


class EngineExplanation(Struct, frozen=True, kw_only=True):
    """Whether an image of an engine is kept or garbage, and why."""

    image: EngineImage
    state: str
    reason: str


class RefusedImage(Struct, frozen=True, kw_only=True):
    """An image that an engine did not remove, and its reason."""

    image: EngineImage
    reason: str


class EngineSwept(Struct, frozen=True, kw_only=True):
    """What was removed, in the engine's words, and what it refused to remove.

    `freed` are the bytes by which the engine's layers became less; None if it does not tell.
    """

    images: tuple[EngineImage, ...]
    untagged: tuple[str, ...]
    deleted: tuple[str, ...]
    refused: tuple[RefusedImage, ...]
    freed: int | None = None


def sweep_engine(plan: EnginePlan) -> EngineSwept:
    """Have the engine remove what the plan names, and report each image that it refuses."""
    with connect(plan.engine) as connection:
        before = connection.layer_bytes()
        swept = _sweep(connection, plan)
        after = connection.layer_bytes()
    freed = max(before - after, 0) if before is not None and after is not None else None
    return replace(swept, freed=freed)


def _sweep(connection: Engine, plan: EnginePlan) -> EngineSwept:
    removed: list[EngineImage] = []
    refused: list[RefusedImage] = []
    untagged: list[str] = []
    deleted: list[str] = []
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


def connect(engine: str) -> Engine:
    """Return the engine called docker or podman, ready to be entered; UsageError for another."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {quoted(engine)} is neither docker nor podman")
    return Engine(engine_endpoint(engine))


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
