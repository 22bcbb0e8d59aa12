"""Which images a garbage collection may take, apart from what holds them."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.image.content import Root
from ocitool.oci import Reference, parse_time
from ocitool.places.layout.reflog import FormerName

FOREIGN_GRACE = 3600.0


class Choice(Struct, frozen=True, kw_only=True):
    """What is asked for. Times are seconds.

    `everything` also takes images that have names. `unused_for`, `labels` and `references` let
    only those go that are so; of a label `value` None is any, and not `wanted` is its absence.
    `keep_last` images of each repository stay. `grace` None is 0 in our own store and an hour in
    another layout. `untagged` and `orphans` are about layouts of other tools and about what is
    attached to something that is not there.
    """

    everything: bool = False
    unused_for: float | None = None
    labels: tuple["LabelTest", ...] = ()
    references: tuple[str, ...] = ()
    keep_last: int = 0
    grace: float | None = None
    untagged: bool = False
    orphans: bool = False

    def grace_in(self, *, is_store: bool) -> float:
        """Return how old in seconds what goes has to be."""
        if self.grace is not None:
            return self.grace
        return 0.0 if is_store else FOREIGN_GRACE


class LabelTest(Struct, frozen=True, kw_only=True):
    """A label that an image shall have, or shall not have when it is not `wanted`."""

    key: str
    value: str | None = None
    wanted: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an image with these labels passes."""
        has = self.key in labels and self.value in (None, labels[self.key])
        return has is self.wanted


def choice_of(filters: Iterable[str], seconds: Callable[[str], float], **rest: object) -> Choice:
    """Return the choice that `--filter KEY=VALUE` texts stand for; UsageError for another key."""
    unused_for: float | None = None
    labels: list[LabelTest] = []
    references: list[str] = []
    for text in filters:
        key, separator, value = text.partition("=")
        if key == "unused-for" and separator:
            unused_for = max(unused_for or 0.0, seconds(value))
        elif key in ("label", "label!") and value:
            name, equals, content = value.partition("=")
            labels.append(
                LabelTest(key=name, value=content if equals else None, wanted=key == "label")
            )
        elif key == "reference" and value:
            references.append(value)
        else:
            raise UsageError(
                f"--filter {text!r} is unknown",
                hint="use unused-for=TIME, label=KEY[=VALUE], label!=KEY[=VALUE] or "
                "reference=PATTERN",
            )
    return Choice(
        unused_for=unused_for,
        labels=tuple(labels),
        references=tuple(references),
        **rest,  # type: ignore[arg-type]
    )


class Candidate(Struct, frozen=True, kw_only=True):
    """An image that nothing holds. `used` is when it was last stored, reused, tagged or untagged.

    Seconds since the epoch; `position` is that in index.json.
    """

    root: Root
    former: FormerName | None
    used: float
    position: int

    @property
    def called(self) -> tuple[str, ...]:
        """The names that it has, else the one that it had."""
        if self.root.names:
            return self.root.names
        return (self.former.name,) if self.former is not None else ()

    def matches(self, patterns: Iterable[str]) -> bool:
        """Tell whether a name or repository of it fits one of the patterns."""
        texts = {self.root.label} if self.root.label is not None else set()
        for name in self.called:
            reference = Reference.parse(name)
            texts |= {
                reference.familiar,
                reference.familiar_repository,
                reference.name,
                reference.repository,
            }
        return any(fnmatch.fnmatchcase(text, p) for text in texts for p in patterns)

    @property
    def repositories(self) -> set[str]:
        """The repositories of its names."""
        return {Reference.parse(name).repository for name in self.called}


def last_used(modified: float | None, former: FormerName | None) -> float:
    """Return when an image was last touched, or lost its name, if that was later."""
    moment = parse_time(former.lost) if former is not None and former.lost else None
    return max(modified or 0.0, moment.timestamp() if moment is not None else 0.0)


def newest(candidates: Iterable[Candidate], count: int) -> set[int]:
    """Return the positions of the `count` images of each repository that were used last."""
    by_repository: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        for repository in candidate.repositories:
            by_repository.setdefault(repository, []).append(candidate)
    kept: set[int] = set()
    for members in by_repository.values():
        members.sort(key=lambda one: (one.used, one.position), reverse=True)
        kept.update(one.position for one in members[:count])
    return kept
