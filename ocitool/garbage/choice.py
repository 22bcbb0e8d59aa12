"""Which images a garbage collection may take, apart from what holds them."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from ocitool.images.filters import GARBAGE_KEYS, LabelTest, matches_name, parse_filters
from ocitool.oci import Reference, parse_time
from ocitool.places.layout.reflog import FormerName

FOREIGN_GRACE = 3600.0
STRAY_GRACE = 600.0


class Choice(Struct, frozen=True, kw_only=True):
    """What is asked for. Times are seconds.

    `everything` also takes images that have names. `unused_for`, `labels` and `references` let
    only those go that are so; of a label `value` None is any, and not `wanted` is its absence.
    `keep_last` images of each repository stay. `grace` None is 0 in our own store, ten
    minutes there for blobs that belong to no image, and an hour in another layout. `untagged` and
    `orphans` are about layouts of other tools and about what is attached to something that is not
    there.
    """

    everything: bool = False
    unused_for: float | None = None
    labels: tuple[LabelTest, ...] = ()
    references: tuple[str, ...] = ()
    keep_last: int = 0
    grace: float | None = None
    untagged: bool = False
    orphans: bool = False

    def grace_in(self, *, is_store: bool, stray: bool) -> float:
        """Return how many seconds old a blob has to be before it is removed.

        `stray` is a blob that belongs to no image: in our own store another tool may be writing
        one, while the leases of our own commands protect what they write.
        """
        if self.grace is not None:
            return self.grace
        if not is_store:
            return FOREIGN_GRACE
        return STRAY_GRACE if stray else 0.0


def choice_of(filters: Iterable[str], seconds: Callable[[str], float], **rest: object) -> Choice:
    """Return the choice that `--filter KEY=VALUE` texts stand for; UsageError for another key."""
    found = parse_filters(filters, GARBAGE_KEYS, seconds)
    return Choice(
        unused_for=found.unused_for,
        labels=found.labels,
        references=found.references,
        **rest,  # type: ignore[arg-type]
    )


class Candidate(Struct, frozen=True, kw_only=True):
    """An image as the rules see it. `used` is when it was last stored, reused, tagged or untagged.

    Seconds since the epoch. `called` are the full names that it has, else the one that it had;
    `others` are names that need not be full. `position` is its place in the list of images.
    """

    called: tuple[str, ...]
    others: tuple[str, ...] = ()
    used: float
    position: int

    def matches(self, patterns: Iterable[str]) -> bool:
        """Tell whether a name or repository of it fits one of the patterns."""
        return matches_name(self.called, self.others, patterns)

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
