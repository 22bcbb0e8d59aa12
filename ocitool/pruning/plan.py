"""The plan of a prune: a frozen document of what stays, what goes, why, and in which order.

One line of JSON for each repository, canonical: equal plans have equal bytes, but for the time.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from ocitool.errors import MalformedDocument, OcitoolError, Refused
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import is_tag
from ocitool.pruning.rules import Most

FORMAT: Final = "ocitool-prune/1"
_LONGEST: Final = 256 << 20

Action = Literal["untag", "delete"]


class KeptTag(Struct, frozen=True, kw_only=True):
    """A tag that stays, its digest, and the rule or the fact that keeps it."""

    tag: str
    digest: Digest
    rule: str


class Step(Struct, frozen=True, kw_only=True):
    """One deletion: of a tag, or of a manifest with the `tags` that it has.

    Steps of a lower `order` come first: what lists something before what it lists, images before
    what is attached to them. `size` are the bytes that only this and what stands before it hold.
    `parent` is what it goes with: an index, or what it is attached to; None if it goes for itself.
    With `is_shared` the image of a tag stays, so only a registry that deletes single tags does it.
    `created` is a time in RFC 3339, of the `source` that says so.
    """

    order: int
    action: Action
    digest: Digest
    reason: str
    tag: str | None = None
    tags: tuple[str, ...] = ()
    parent: Digest | None = None
    size: int = 0
    created: str | None = None
    source: str | None = None
    media_type: str = ""
    id: str | None = None
    is_shared: bool = False
    is_attached: bool = False

    @property
    def called(self) -> str:
        """The tag, or the digest."""
        return self.tag if self.tag is not None else str(self.digest)


class PrunePlan(Struct, frozen=True, kw_only=True):
    """What is to become of one repository, as it was at a time.

    `graph` is a digest of all that was read; `images` counts the images that have a tag, and
    `images_going` those of them that go. `notes` are remarks for the user, `damage` what was
    broken before.
    """

    registry: str
    repository: str
    api: str
    time: str
    rules: Mapping[str, object]
    graph: str
    kept: tuple[KeptTag, ...] = ()
    steps: tuple[Step, ...] = ()
    images: int = 0
    images_going: int = 0
    notes: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The full name of the repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def digests(self) -> frozenset[Digest]:
        """The manifests that go."""
        return frozenset(step.digest for step in self.steps if step.action == "delete")

    @property
    def untagged(self) -> tuple[str, ...]:
        """The tags that go, with their images or alone."""
        return tuple(step.tag for step in self.steps if step.tag is not None)

    @property
    def size(self) -> int:
        """The bytes that nothing else in the repository needs."""
        return sum(step.size for step in self.steps)

    @property
    def brake(self) -> Refused | None:
        """What stands in the way of a plan that takes more than was allowed; None: nothing."""
        least = self.rules.get("min_keep", 1)
        left = self.images - self.images_going
        if self.images_going and isinstance(least, int) and left < least:
            return Refused(
                f"{self.name}: {left} of {self.images} images would be left, fewer than --min-keep "
                f"{least}",
                hint="look at the rules; --min-keep 0 allows to delete them all",
            )
        most = _most(self.rules.get("max_delete"))
        if not most.allows(self.images_going, self.images):
            return Refused(
                f"{self.name}: {self.images_going} of {self.images} images would go, more than "
                f"--max-delete {most}",
                hint=f"look at the rules; --max-delete {self.images_going} allows it",
            )
        return None


def _most(written: object) -> Most:
    from ocitool.pruning.rules import parse_most

    return parse_most(written) if isinstance(written, str) else Most(count=50, is_percent=True)


def time_text(seconds: float) -> str:
    """Return seconds since 1970 as a time in RFC 3339, in UTC."""
    moment = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_prune_plans(plans: Iterable[PrunePlan]) -> bytes:
    """Return plans as lines of JSON, in ASCII."""
    return b"".join(
        json.dumps(_fields(plan), sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"
        for plan in plans
    )


def parse_prune_plans(data: bytes, what: str) -> tuple[PrunePlan, ...]:
    """Return the plans of a file; MalformedDocument for anything else.

    What goes and what stays must not contradict each other: nothing that a kept tag names may go.
    """
    if len(data) > _LONGEST:
        raise MalformedDocument(f"{what} is larger than {_LONGEST} bytes")
    plans = tuple(
        _parse(line, f"{what}:{number}")
        for number, line in enumerate(data.split(b"\n"), 1)
        if line.strip()
    )
    if not plans:
        raise MalformedDocument(
            f"{what} holds no plan", hint="`registry prune --plan-out` makes one"
        )
    names = [plan.name for plan in plans]
    if len(set(names)) < len(names):
        raise MalformedDocument(f"{what} has two plans for one repository")
    return plans


class _Kept(Struct):
    tag: str
    digest: str
    rule: str = ""


class _Step(Struct):
    order: int
    action: Action
    digest: str
    reason: str = ""
    tag: str | None = None
    tags: list[str] = []
    parent: str | None = None
    size: int = 0
    created: str | None = None
    age_source: str | None = None
    media_type: str = ""
    id: str | None = None
    shared: bool = False
    attached: bool = False


class _Line(Struct):
    format: str
    registry: str
    repository: str
    api: str
    time: str
    rules: dict[str, object]
    graph: str
    kept: list[_Kept]
    steps: list[_Step]
    images: int = 0
    images_going: int = 0
    notes: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def _fields(plan: PrunePlan) -> dict[str, object]:
    return {
        "format": FORMAT,
        **{
            name: getattr(plan, name)
            for name in ("registry", "repository", "api", "time", "graph", "images", "images_going")
        },
        "rules": dict(plan.rules),
        "kept": [
            {"tag": one.tag, "digest": str(one.digest), "rule": one.rule} for one in plan.kept
        ],
        "steps": [_step_fields(step) for step in plan.steps],
        "notes": list(plan.notes),
        "damage": list(plan.damage),
    }


def _step_fields(step: Step) -> dict[str, object]:
    return {
        "order": step.order,
        "action": step.action,
        "tag": step.tag,
        "digest": str(step.digest),
        "tags": list(step.tags),
        "parent": str(step.parent) if step.parent is not None else None,
        "size": step.size,
        "created": step.created,
        "age_source": step.source,
        "media_type": step.media_type,
        "id": step.id,
        "shared": step.is_shared,
        "attached": step.is_attached,
        "reason": step.reason,
    }


def _parse(raw: bytes, where: str) -> PrunePlan:
    try:
        line = msgspec.json.decode(raw, type=_Line)
        if line.format != FORMAT:
            raise MalformedDocument(f"its format is {quoted(line.format[:40])}, not {FORMAT}")
        return _plan(line)
    except (msgspec.DecodeError, RecursionError, TypeError) as error:
        raise MalformedDocument(f"{where} is not a plan: {error}") from None
    except OcitoolError as error:
        raise MalformedDocument(f"{where} is not a plan: {error.message}") from None


def _plan(line: _Line) -> PrunePlan:
    reference = Reference.parse(f"{line.registry}/{line.repository}")
    if (reference.domain, reference.path) != (line.registry, line.repository):
        raise MalformedDocument("its repository is not a full name")
    plan = PrunePlan(
        registry=line.registry,
        repository=line.repository,
        api=line.api,
        time=line.time,
        rules=line.rules,
        graph=line.graph,
        kept=tuple(
            KeptTag(tag=_tag(one.tag), digest=Digest.parse(one.digest), rule=one.rule)
            for one in line.kept
        ),
        steps=tuple(sorted(map(_step, line.steps), key=lambda step: step.order)),
        images=line.images,
        images_going=line.images_going,
        notes=tuple(line.notes),
        damage=tuple(line.damage),
    )
    _refuse_contradictions(plan)
    return plan


def _refuse_contradictions(plan: PrunePlan) -> None:
    kept = {one.tag: one.digest for one in plan.kept}
    for step in plan.steps:
        if step.action == "delete" and step.digest in kept.values():
            raise MalformedDocument(f"{step.digest} would go, and a tag that stays names it")
        if step.tag is not None and step.tag in kept:
            raise MalformedDocument(f"the tag {step.tag} would both go and stay")
    _most(plan.rules.get("max_delete"))


def _step(one: _Step) -> Step:
    if (one.action == "untag") != (one.tag is not None):
        raise MalformedDocument("a step that removes a tag names it, and no other one does")
    return Step(
        order=one.order,
        action=one.action,
        digest=Digest.parse(one.digest),
        reason=one.reason,
        tag=_tag(one.tag) if one.tag is not None else None,
        tags=tuple(map(_tag, one.tags)),
        parent=Digest.parse(one.parent) if one.parent is not None else None,
        size=one.size,
        created=one.created,
        source=one.age_source,
        media_type=one.media_type,
        id=one.id,
        is_shared=one.shared,
        is_attached=one.attached,
    )


def _tag(text: str) -> str:
    if not is_tag(text):
        raise MalformedDocument(f"{quoted(text[:80])} is not a tag")
    return text
