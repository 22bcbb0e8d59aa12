"""What a user says about tags: what keeps them, what may go, and how much of it at most."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from ocitool.bundles.sync.ranges import Range, parse_range
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.pruning.patterns import TagRegex

Kind = Literal["last", "within", "tags", "semver", "semver-last", "daily", "weekly", "monthly"]
Period = Literal["daily", "weekly", "monthly"]
LEVELS: Final = ("major", "minor", "patch")
_PERIODS: Final[tuple[Period, ...]] = ("daily", "weekly", "monthly")
_LEVEL = re.compile(r"(major|minor|patch)=([0-9]{1,6})")
_COUNT = re.compile(r"[0-9]{1,9}")
_MOST = re.compile(r"([0-9]{1,9})(%?)")
_PULLED: Final = "pulled:"
_WHOLE: Final = 100

Seconds = Callable[[str], float]
"""Reads a length of time such as 30d; UsageError for anything else."""


class KeepRule(Struct, frozen=True, kw_only=True):
    """One rule that keeps tags, as it was `written`, such as `keep-last 5:v.*`.

    It is about the tags that its `pattern` matches, or about all. `count` images of these stay (or
    of so many days, weeks or months the last image), or those of the last `seconds`, or those in
    `versions`; of `levels` the highest versions.
    """

    kind: Kind
    written: str
    pattern: TagRegex | None = None
    count: int = 0
    seconds: float = 0.0
    versions: Range | None = None
    levels: tuple[tuple[str, int], ...] = ()

    def is_about(self, tag: str) -> bool:
        """Tell whether the rule is about a tag."""
        return self.pattern is None or self.pattern.matches(tag)

    @property
    def needs_age(self) -> bool:
        """Whether the rule orders images by their age."""
        return self.kind not in ("tags", "semver", "semver-last")


class Most(Struct, frozen=True, kw_only=True):
    """How many images may go at most: a number, or so many of a hundred."""

    count: int
    is_percent: bool = False

    def allows(self, going: int, total: int) -> bool:
        """Tell whether so many of all may go."""
        if self.is_percent:
            return going * _WHOLE <= self.count * total
        return going <= self.count

    def __str__(self) -> str:
        return f"{self.count}{'%' if self.is_percent else ''}"


class PruneRules(Struct, frozen=True, kw_only=True):
    """All that was said. Keeping wins over deleting, and a tag goes only if `delete` matches it.

    With `untagged` what has no tag may go, with `orphans` what is attached to an image that is
    gone. `older_than` are seconds: nothing younger goes; with `by_pull` they count from the last
    pull. `min_keep` images stay in the repository, and at most `max_delete` go.
    """

    keep: tuple[KeepRule, ...] = ()
    delete: tuple[TagRegex, ...] = ()
    untagged: bool = False
    orphans: bool = False
    older_than: float | None = None
    by_pull: bool = False
    min_keep: int = 1
    max_delete: Most = Most(count=50, is_percent=True)

    @property
    def takes_untagged(self) -> bool:
        """Whether what has no tag may go: if that was said, or if no tag may."""
        return self.untagged or not self.delete

    @property
    def needs_age(self) -> bool:
        """Whether the age of an image decides about anything."""
        return self.older_than is not None or any(rule.needs_age for rule in self.keep)

    def may_delete(self, tag: str) -> bool:
        """Tell whether a tag was named as one that may go."""
        return any(pattern.matches(tag) for pattern in self.delete)

    @property
    def is_said(self) -> bool:
        """Whether anything was said that keeps tags, or that may delete any."""
        return bool(self.keep or self.delete or self.untagged or self.orphans)

    def check(self) -> None:
        """Raise UsageError unless anything was said."""
        if not self.is_said:
            raise UsageError(
                "no rule says what stays and what may go",
                hint="such as --keep-last 10 --delete-tags '^pr-.*', or --untagged alone",
            )

    def document(self) -> dict[str, object]:
        """Return the rules as a plan notes them."""
        return {
            "keep": [rule.written for rule in self.keep],
            "delete_tags": [pattern.text for pattern in self.delete],
            "untagged": self.takes_untagged,
            "orphans": self.orphans,
            "older_than": self.older_than,
            "by_pull": self.by_pull,
            "min_keep": self.min_keep,
            "max_delete": str(self.max_delete),
        }


def keep_rules(written: Mapping[str, Sequence[str]], seconds: Seconds) -> tuple[KeepRule, ...]:
    """Return the rules of options such as `keep-last`, each with the values that it was given."""
    return tuple(
        keep_rule(option, text, seconds) for option, texts in written.items() for text in texts
    )


def keep_rule(option: str, text: str, seconds: Seconds = float) -> KeepRule:
    """Return the rule of one option, such as `keep-last` and `10`; UsageError for a wrong value.

    Without `seconds` a length of time is a number of them.
    """
    written = f"{option} {text}"
    kind = option.removeprefix("keep-")
    if kind in ("last", "within"):
        head, colon, tail = text.partition(":")
        pattern = TagRegex(tail) if colon else None
        if kind == "last":
            return KeepRule(
                kind="last", written=written, count=_count(head, option), pattern=pattern
            )
        return KeepRule(kind="within", written=written, seconds=seconds(head), pattern=pattern)
    for period in _PERIODS:
        if kind == period:
            return KeepRule(kind=period, written=written, count=_count(text, option))
    if kind == "tags":
        return KeepRule(kind="tags", written=written, pattern=TagRegex(text))
    if kind == "semver":
        return KeepRule(kind="semver", written=written, versions=parse_range(text))
    if kind == "semver-last":
        return KeepRule(kind="semver-last", written=written, levels=_levels(text))
    raise UsageError(f"there is no rule {quoted(option)}")


def _count(text: str, option: str) -> int:
    if _COUNT.fullmatch(text) is None or int(text) < 1:
        hint = "such as 10, or 10:v.* for tags alone that match" if option == "keep-last" else None
        raise UsageError(f"--{option} {quoted(text)} is not a number from 1 on", hint=hint)
    return int(text)


def _levels(text: str) -> tuple[tuple[str, int], ...]:
    """Return the numbers of `major=1,minor=3,patch=5`, in the order of LEVELS."""
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _LEVEL.fullmatch(part.strip())
        if match is None or match[1] in found or int(match[2]) < 1:
            raise UsageError(
                f"--keep-semver-last {quoted(text)} is not understood",
                hint="such as major=1,minor=3,patch=5: numbers from 1 on",
            )
        found[match[1]] = int(match[2])
    return tuple((level, found[level]) for level in LEVELS if level in found)


def parse_most(text: str) -> Most:
    """Return what `--max-delete` says: a number, or a percentage."""
    found = _MOST.fullmatch(text)
    if found is None or (found[2] and int(found[1]) > _WHOLE):
        raise UsageError(
            f"--max-delete {quoted(text)} is not a number", hint="such as 20, or 50% of the images"
        )
    return Most(count=int(found[1]), is_percent=bool(found[2]))


def parse_age(text: str, seconds: Seconds) -> tuple[float, bool]:
    """Return the seconds of `--older-than`, and whether they count from the last pull."""
    by_pull = text.startswith(_PULLED)
    return seconds(text.removeprefix(_PULLED)), by_pull


def patterns(texts: Iterable[str]) -> tuple[TagRegex, ...]:
    """Return patterns of texts, each once."""
    return tuple(TagRegex(text) for text in dict.fromkeys(texts))
