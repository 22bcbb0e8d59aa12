"""An image on another base: its own layers on top of those of the new base, settings merged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import cast

from msgspec import Struct

from ocitool.editing.parts import ImageParts, set_created
from ocitool.editing.settings import annotated
from ocitool.errors import Refused
from ocitool.oci import Digest, mediatype
from ocitool.oci.annotations import BASE_DIGEST, BASE_NAME
from ocitool.oci.family import use_family
from ocitool.oci.members import CONFIG_ORDER, RUNTIME_ORDER, members_of, put, put_or_drop

_WHOLE = ("User", "WorkingDir", "Entrypoint", "Cmd", "StopSignal")
_MAPPINGS = ("Labels", "ExposedPorts", "Volumes")
_OF_SYSTEM = ("os.version", "os.features")
_ABSENT = object()


class NewBase(Struct, frozen=True, kw_only=True):
    """A new base: its image, the digest of what was named (an index, if it is one), its name."""

    image: ImageParts
    digest: Digest
    name: str | None


class Rebased(Struct, frozen=True, kw_only=True):
    """An image on its new base. `conflicts` are settings that it and the new base both changed."""

    image: ImageParts
    conflicts: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def rebase(
    image: ImageParts,
    old: ImageParts,
    new: NewBase,
    *,
    created: str | None = None,
    author: str | None = None,
) -> Rebased:
    """Return an image of the new base's layers and of those that the image has above its old base.

    Settings that are still those of the old base become those of the new one; the others stay.
    The image's media types and, unless `created`, its time stay. Refused where the old base's diff
    IDs are not the first ones of the image, and where the platforms differ.
    """
    _check_platform(image, old, new.image)
    seam = _seam(image, old)
    config, manifest = members_of(image.config.raw), members_of(image.manifest.raw)
    set_created(config, created)
    if author is not None:
        put_or_drop(config, "author", author, CONFIG_ORDER)
    conflicts = [*_merge(config, members_of(old.config.raw), members_of(new.image.config.raw))]
    rootfs = cast("dict[str, object]", config["rootfs"])
    diff_ids = (*new.image.config.diff_ids, *image.config.diff_ids[seam:])
    rootfs["diff_ids"] = [str(digest) for digest in diff_ids]
    remarks = [*_merge_history(config, image, old, new.image, seam)]
    _put_layers(manifest, image, new.image, seam)
    _note_base(config, manifest, new)
    return Rebased(
        image=image.with_members(config=config, manifest=manifest),
        conflicts=tuple(conflicts),
        remarks=tuple(remarks),
    )


def _check_platform(image: ImageParts, *bases: ImageParts) -> None:
    own = image.config.platform.normalized()
    for base in bases:
        other = base.config.platform.normalized()
        if (own.os, own.architecture, own.variant) != (
            other.os,
            other.architecture,
            other.variant,
        ):
            raise Refused(f"the image is for {own}, and the base is for {other}")


def _seam(image: ImageParts, old: ImageParts) -> int:
    """Return how many layers of the image are the old base's; Refused unless all of them are."""
    pairs = zip_longest(old.config.diff_ids, image.config.diff_ids)
    for number, (below, own) in enumerate(pairs, 1):
        if below is None:
            break
        if below != own:
            what = f"the image has {own}" if own is not None else "the image has fewer layers"
            raise Refused(
                f"the old base is not below the image: its layer {number} unpacks to {below}, "
                f"{what}",
                hint="name the image that it was built on with --old-base, by its digest if the "
                "tag has moved",
            )
    return len(old.config.diff_ids)


def _merge(
    own: dict[str, object], old: Mapping[str, object], new: Mapping[str, object]
) -> Iterator[str]:
    """Merge the settings into the image's own configuration; yield those in conflict."""
    sides = [cast("dict[str, object]", one.get("config") or {}) for one in (own, old, new)]
    runtime = dict(sides[0])
    for key in _WHOLE:
        values = [side.get(key) or None for side in sides]
        yield from _conflict(key, values)
        put_or_drop(runtime, key, _chosen(*values), RUNTIME_ORDER)
    for key in _MAPPINGS:
        parts = [cast("dict[str, object]", side.get(key) or {}) for side in sides]
        yield from _merged_mapping(runtime, key, parts)
    env = [_variables(side) for side in sides]
    merged: dict[str, object] = {}
    yield from _merged_mapping(merged, "Env", env)
    lines = cast("dict[str, str]", merged.get("Env") or {})
    put_or_drop(runtime, "Env", list(lines.values()), RUNTIME_ORDER)
    if runtime != (own.get("config") or {}):
        put(own, "config", runtime, CONFIG_ORDER)
    for key in _OF_SYSTEM:
        chosen = _chosen(own.get(key), old.get(key), new.get(key))
        put_or_drop(own, key, chosen, CONFIG_ORDER)


def _merged_mapping(
    target: dict[str, object], key: str, sides: Sequence[Mapping[str, object]]
) -> Iterator[str]:
    own, old, new = sides
    result: dict[str, object] = {}
    for name in dict.fromkeys((*own, *new)):
        values = [side.get(name, _ABSENT) for side in (own, old, new)]
        yield from _conflict(f"{key} {name}", values)
        chosen = _chosen(*values)
        if chosen is not _ABSENT:
            result[name] = chosen
    put_or_drop(target, key, result, RUNTIME_ORDER)


def _chosen(own: object, old: object, new: object) -> object:
    """Return the new base's value where the image still has the old base's."""
    return new if own == old else own


def _conflict(what: str, values: Sequence[object]) -> Iterator[str]:
    own, old, new = values
    if own != old and new not in (old, own):
        yield what


def _variables(runtime: Mapping[str, object]) -> dict[str, object]:
    """Return the lines of the environment by the names of the variables."""
    lines = cast("Iterable[str]", runtime.get("Env") or ())
    return {line.partition("=")[0]: line for line in lines}


def _merge_history(
    config: dict[str, object], image: ImageParts, old: ImageParts, new: ImageParts, seam: int
) -> Iterator[str]:
    """Put the new base's history before what the image's tells of its own layers."""
    if not image.has_full_history:
        return
    if not new.has_full_history:
        del config["history"]
        yield "the history is left out: that of the new base does not tell of all its layers"
        return
    own = cast("list[object]", config.get("history") or [])
    above = own[_steps_below(image, old, seam) :]
    below = cast("list[object]", members_of(new.config.raw).get("history") or [])
    put(config, "history", [*below, *above], CONFIG_ORDER)


def _steps_below(image: ImageParts, old: ImageParts, seam: int) -> int:
    """Return how many of the first steps of an image are its old base's."""
    steps, base = image.config.history, old.config.history
    told = [(step.created_by, step.empty_layer) for step in steps[: len(base)]]
    if old.has_full_history and told == [(step.created_by, step.empty_layer) for step in base]:
        return len(base)
    made = 0
    for number, step in enumerate(steps):
        if made == seam:
            return number
        made += not step.empty_layer
    return len(steps)


def _put_layers(manifest: dict[str, object], image: ImageParts, new: ImageParts, seam: int) -> None:
    below = members_of(new.manifest.raw)
    own = cast("list[dict[str, object]]", manifest["layers"] or [])
    base = cast("list[dict[str, object]]", below["layers"] or [])
    manifest["layers"] = [*base, *own[seam:]]
    compressions = {
        mediatype.declared_compression(layer.media_type)
        for layer in (*new.manifest.layers, *image.manifest.layers[seam:])
    }
    is_docker = image.manifest.media_type == mediatype.DOCKER_MANIFEST
    use_family(manifest, docker=is_docker and "zstd" not in compressions)


def _note_base(config: dict[str, object], manifest: dict[str, object], new: NewBase) -> None:
    """Note the new base in the annotations, and in labels that note one already."""
    noted = {BASE_DIGEST: str(new.digest)} | ({BASE_NAME: new.name} if new.name else {})
    gone = () if new.name else (BASE_NAME,)
    if manifest.get("mediaType") != mediatype.DOCKER_MANIFEST:
        annotated(manifest, noted, gone)
    runtime = cast("dict[str, object]", config.get("config") or {})
    labels = cast("dict[str, str]", runtime.get("Labels") or {})
    for key, value in noted.items():
        if key in labels:
            labels[key] = value
