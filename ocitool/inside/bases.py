"""Which image another one was built on: from the store, an annotation, or the history."""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.oci import Digest, HistoryEntry, ImageConfig

_NAME: Final = "org.opencontainers.image.base.name"
_DIGEST: Final = "org.opencontainers.image.base.digest"
_FROM: Final = re.compile(r"FROM (\S+)")
_INTERMEDIATE: Final = re.compile(r"[0-9a-f]{12,64}")
"""What buildah calls the image of its own step before."""


class FoundBy(StrEnum):
    """What tells the base of an image."""

    STORE = "store"
    ANNOTATION = "annotation"
    HISTORY = "history"


class Candidate(Struct, frozen=True, kw_only=True):
    """An image that may be the base of another: its name, manifest digest and configuration."""

    name: str
    digest: Digest
    config: ImageConfig


class Base(Struct, frozen=True, kw_only=True):
    """The image that another one was built on.

    `layers` and `steps` are how many of the lowest layers and the first steps of the history are
    its own, None where that is not known. `digest` is None where only a name is recorded.
    """

    name: str
    digest: str | None
    found_by: FoundBy
    layers: int | None = None
    steps: int | None = None


def find_base(
    config: ImageConfig, annotations: Mapping[str, str], candidates: Iterable[Candidate] = ()
) -> Base | None:
    """Return the base of an image, or None if nothing tells it.

    An image of which all layers are the lowest ones here, and all steps the first ones here, is
    the base, of several the one with most. Else an annotation or a label tells its name, else a
    comment of buildah's in the history.
    """
    named = _annotated(annotations) or _annotated(config.config.labels)
    noted = _in_history(config.history)
    below = [one for one in candidates if _is_below(one.config, config)]
    if below:
        found = max(below, key=lambda one: (len(one.config.diff_ids), len(one.config.history)))
        return Base(
            name=named.name if named is not None else found.name,
            digest=str(found.digest),
            found_by=FoundBy.STORE,
            layers=len(found.config.diff_ids),
            steps=len(found.config.history),
        )
    if named is not None and noted is not None and named.name == noted.name:
        return replace(named, layers=noted.layers, steps=noted.steps)
    return named or noted


def _annotated(annotations: Mapping[str, str]) -> Base | None:
    name = annotations.get(_NAME)
    if not name:
        return None
    return Base(name=name, digest=annotations.get(_DIGEST) or None, found_by=FoundBy.ANNOTATION)


def _is_below(base: ImageConfig, config: ImageConfig) -> bool:
    layers, steps = len(base.diff_ids), len(base.history)
    if not layers or config.diff_ids[:layers] != base.diff_ids:
        return False
    # An earlier build of the same image has its lowest layers too, but not its first steps.
    same = [_told(step) for step in config.history[:steps]] == [_told(s) for s in base.history]
    return same and (layers, steps) != (len(config.diff_ids), len(config.history))


def _told(step: HistoryEntry) -> tuple[str, bool]:
    return step.created_by, step.empty_layer


def _in_history(history: Sequence[HistoryEntry]) -> Base | None:
    """Return what buildah noted: the first of its steps has the base in its comment.

    All later ones have the image of the step before there; else another builder went on. If the
    last step is the first one, buildah may have made one layer of many steps, not told which.
    """
    for number in range(len(history) - 1, -1, -1):
        match = _FROM.fullmatch(history[number].comment.strip())
        if match is None:
            return None
        if not _INTERMEDIATE.fullmatch(match[1]):
            base = Base(name=match[1], digest=None, found_by=FoundBy.HISTORY)
            if number == len(history) - 1:
                return base
            return replace(
                base,
                layers=sum(not step.empty_layer for step in history[:number]),
                steps=number,
            )
    return None
