"""Which images of an engine are garbage: what its containers, names and the rules keep stays."""

import time
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from ocitool.containers.providers import EngineProvider
from ocitool.containers.uses import ContainerUse
from ocitool.errors import NotFound, Refused, UsageError
from ocitool.garbage.choice import Candidate, Choice, newest
from ocitool.garbage.engine import (
    EngineExplanation,
    EngineImage,
    EnginePlan,
    KeptEngineImage,
    connect,
)
from ocitool.images.lookup import full_name
from ocitool.images.summaries import image_summaries
from ocitool.oci import Reference, parse_time
from ocitool.oci.quoting import quoted
from ocitool.places.engine import Engine
from ocitool.places.layout import Layout

_SHORTEST_ID = 12
_SHORTEST_SEARCH = 4
_PLACES = {"docker": "docker-daemon:", "podman": "podman:"}
_NOT_A_NAME = ("<none>:<none>", "<none>@<none>")


def plan_engine(
    engine: str,
    choice: Choice | None = None,
    *,
    others: Iterable[ContainerUse] = (),
    store_names: Mapping[str, str] | None = None,
    now: float | None = None,
) -> EnginePlan:
    """Ask an engine ("docker" or "podman") for its garbage; nothing is changed.

    Garbage are dangling images that no container uses, running or stopped, as far as the choice
    takes them; an image is as old as its creation, or as its last tag where the engine tells.
    Containers of `others` count as well as its own. `store_names` are names by image ID or digest,
    see `names_in_store`. Raises Refused when the engine cannot say which images its containers use,
    Unavailable when it is not there.
    """
    chosen = choice if choice is not None else Choice()
    with connect(engine) as connection:
        listed = _images(connection, dangling=True) | _images(connection, dangling=False)
        images = [_called(image, store_names or {}) for image in listed.values()]
        rules = _Rules(connection, images, chosen, time.time() if now is None else now)
    uses = [*EngineProvider.of(engine).uses(), *others]
    to_remove, held, spared = [], [], []
    for image in images:
        not_asked = rules.not_asked_for(image)
        holders = tuple(_holders(image, uses))
        reason = "containers use it" if holders else rules.reason_to_stay(image)
        if not_asked is not None:
            spared.append(KeptEngineImage(image=image, reason=not_asked, holders=holders))
        elif reason is not None:
            held.append(KeptEngineImage(image=image, reason=reason, holders=holders))
        else:
            to_remove.append(image)
    return EnginePlan(
        engine=engine, to_remove=tuple(to_remove), held=tuple(held), others=tuple(spared)
    )


def names_in_store(layout: Layout) -> Mapping[str, str]:
    """Return a name for each image ID and digest: that of the store's image, else a former one."""
    former = layout.former_names()
    found = {digest: lost.name for digest, lost in former.items()}
    roots = layout.roots()
    summaries = image_summaries(layout, roots)
    for root in roots:
        digest = str(root.descriptor.digest)
        name = next(iter(root.names), found.get(digest))
        if name is not None:
            ids = summaries[root.descriptor.digest].image_ids
            found |= dict.fromkeys([digest, *map(str, ids)], name)
    return found


def explain_engine(plan: EnginePlan, text: str) -> EngineExplanation:
    """Explain the image with this name, or whose ID or digest begins so.

    NotFound when there is none, Refused when there are several.
    """
    garbage = "it has no name and no container uses it"
    known = [
        *(
            (one, "garbage", "no container uses it" if one.names else garbage)
            for one in plan.to_remove
        ),
        *((one.image, "kept", one.reason) for one in (*plan.held, *plan.others)),
    ]
    name = full_name(text)
    found = [one for one in known if name is not None and name in map(_full, one[0].names)]
    if not found:
        prefix = text.rpartition(":")[2]
        found = [
            one
            for one in known
            if len(prefix) >= _SHORTEST_SEARCH
            and any(digits.startswith(prefix) for digits in _hex_digits(one[0]))
        ]
    if not found:
        raise NotFound(
            f"{plan.engine} has no image {quoted(text)}",
            hint=f"`ocitool images {_PLACES[plan.engine]}` lists what it has",
        )
    if len(found) > 1:
        raise Refused(
            f"{quoted(text)} could be one of {len(found)} images", hint="give more digits"
        )
    image, state, reason = found[0]
    return EngineExplanation(image=image, state=state, reason=reason)


class _Rules:
    """What the choice says of each image of an engine."""

    def __init__(
        self, connection: Engine, images: Sequence[EngineImage], choice: Choice, now: float
    ) -> None:
        self._choice = choice
        needs_tags = choice.unused_for is not None or choice.keep_last
        self._candidates = {
            image.id: Candidate(
                called=_names_of(image),
                used=max(image.created, _last_tagged(connection, image) if needs_tags else 0),
                position=-position,
            )
            for position, image in enumerate(images)
        }
        self._last = (
            newest(self._candidates.values(), choice.keep_last) if choice.keep_last else set()
        )
        self._now = now

    def not_asked_for(self, image: EngineImage) -> str | None:
        """Return why the choice does not take an image, or None."""
        choice, candidate = self._choice, self._candidates[image.id]
        if image.names and not choice.everything:
            return "it has a name; --all takes those too"
        if choice.unused_for is not None and candidate.used > self._now - choice.unused_for:
            return "it was made or tagged later than --filter unused-for says"
        if choice.references and not candidate.matches(choice.references):
            return "its name does not fit --filter reference"
        if not all(test.matches(image.labels) for test in choice.labels):
            return "its labels do not fit --filter label"
        return None

    def reason_to_stay(self, image: EngineImage) -> str | None:
        """Return the rule that keeps an image, or None."""
        if self._candidates[image.id].position in self._last:
            return f"it is one of the last {self._choice.keep_last} of its repository"
        return None


def _images(connection: Engine, *, dangling: bool) -> dict[str, EngineImage]:
    values = connection.images(dangling=dangling)
    if not isinstance(values, list):
        raise Refused(f"{connection.what} did not list its images")
    images = [_image(value) for value in values if isinstance(value, dict)]
    return {image.id: image for image in images}


def _image(value: dict[str, object]) -> EngineImage:
    size, created, labels = value.get("Size"), value.get("Created"), value.get("Labels")
    return EngineImage(
        id=str(value.get("Id")),
        names=_texts(value.get("RepoTags")),
        digests=_texts(value.get("RepoDigests")),
        size=size if type(size) is int else 0,
        created=created if type(created) is int else 0,
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
    )


def _called(image: EngineImage, store_names: Mapping[str, str]) -> EngineImage:
    """Return a nameless image with the name that a store has or had for it."""
    if image.names:
        return image
    known = (image.id, *(text.rpartition("@")[2] for text in image.digests))
    former = next((store_names[one] for one in known if one in store_names), None)
    return replace(image, former=former)


def _names_of(image: EngineImage) -> tuple[str, ...]:
    texts = image.names or ((image.former,) if image.former else ())
    return tuple(name for text in texts if (name := full_name(text)) is not None)


def _last_tagged(connection: Engine, image: EngineImage) -> float:
    """Return when an image was tagged last, in seconds since the epoch; 0 if that is not known."""
    try:
        text = connection.last_tagged(image.id)
    except NotFound:
        return 0
    moment = parse_time(text) if text else None
    return moment.timestamp() if moment is not None and moment.year > 1 else 0


def _texts(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(str(text) for text in found if text not in _NOT_A_NAME)


def _holders(image: EngineImage, uses: Sequence[ContainerUse]) -> list[ContainerUse]:
    """Return who uses an image: by its ID or a digest, else by a name.

    A name counts even if it has moved since: one image too many stays rather than one too few.
    """
    known = _hex_digits(image)
    names = {_full(name) for name in image.names}
    return [use for use in uses if _claims(use, known) or names & {_full(n) for n in use.names}]


def _hex_digits(image: EngineImage) -> list[str]:
    """Return the hex digits of an image's ID and digests."""
    digests = [image.id, *(text.rpartition("@")[2] for text in image.digests)]
    return [text.rpartition(":")[2] for text in digests]


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
