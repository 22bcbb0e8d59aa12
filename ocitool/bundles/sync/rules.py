"""Which tags of a repository the rules of a sync file take, and by which rule."""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from ocitool.bundles.sync.ranges import Range
from ocitool.bundles.sync.versions import newest, version_of
from ocitool.image.attached import is_tag_of_digest

_DIGEST = re.compile(
    r"(?:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})@)?(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
)
ALL: Final = "all tags"

Kind = Literal["allow", "glob", "semverRange"]


class Pattern(Struct, frozen=True, kw_only=True):
    """One rule as it was written, with its line: a regular expression, a glob, or a range.

    A regular expression has to match the whole text. A text that is a digest, or a tag with one,
    means that image.
    """

    kind: Kind
    text: str
    line: int
    versions: Range | None = None

    def matches(self, text: str) -> bool:
        """Tell whether a tag, or a repository, is meant."""
        if self.text == text:
            return self.versions is None
        if is_tag_of_digest(text):
            # It belongs to an image, and goes along with it.
            return False
        if self.versions is not None:
            version = version_of(text)
            return version is not None and self.versions.holds(version)
        if self.kind == "glob":
            return fnmatch.fnmatchcase(text, self.text)
        return re.fullmatch(self.text, text, re.ASCII) is not None

    @property
    def digest(self) -> tuple[str | None, str] | None:
        """The tag, if there is one, and the digest that the rule names; None for another rule."""
        found = _DIGEST.fullmatch(self.text)
        return (found[1], found[2]) if found is not None and self.versions is None else None

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"


class TagRules(Struct, frozen=True, kw_only=True):
    """Rules that work together, as `tags` or one of `tagSets` has them.

    Of all tags, or those in one of the `ranges`, the ones that `allow` or `glob` match, without
    those that `deny` matches; and of these the `newest` versions.
    """

    line: int
    ranges: tuple[Pattern, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    deny: tuple[Pattern, ...] = ()
    newest: int | None = None


class Taken(Struct, frozen=True, kw_only=True):
    """What a rule takes: a tag, a digest, or both together; and that rule."""

    tag: str | None
    digest: str | None = None
    rule: str
    line: int


class Chooser:
    """Applies the rules of one entry to repositories, and remembers which rules took anything."""

    def __init__(self, sets: Sequence[TagRules]) -> None:
        self._sets = sets
        self._used: set[Pattern] = set()
        self._filled: set[int] = set()

    def choose(self, tags: Iterable[str]) -> list[Taken]:
        """Return what the rules take of a repository with these tags, each tag and digest once."""
        known = list(tags)
        found: dict[tuple[str | None, str | None], Taken] = {}
        for position, rules in enumerate(self._sets):
            for taken in (*self._digests(rules), *self._tags(rules, known)):
                self._filled.add(position)
                found.setdefault((taken.tag, taken.digest), taken)
        return list(found.values())

    def idle(self) -> list[tuple[int, str]]:
        """Return the rules that took nothing at all, each with its line."""
        found: list[tuple[int, str]] = []
        for position, rules in enumerate(self._sets):
            unused = {*rules.ranges, *rules.patterns} - self._used
            found += [(one.line, f"{one} matches nothing") for one in unused]
            if not unused and position not in self._filled:
                found.append((rules.line, "after all its rules no tag is left"))
        return sorted(found)

    def _digests(self, rules: TagRules) -> Iterable[Taken]:
        for pattern in rules.patterns:
            if pattern.digest is not None:
                self._used.add(pattern)
                tag, digest = pattern.digest
                yield Taken(tag=tag, digest=digest, rule=str(pattern), line=pattern.line)

    def _tags(self, rules: TagRules, tags: Sequence[str]) -> list[Taken]:
        found = [taken for tag in tags if (taken := self._take(rules, tag)) is not None]
        found = [one for one in found if not any(d.matches(str(one.tag)) for d in rules.deny)]
        if rules.newest is None:
            return found
        by_tag = {str(one.tag): one for one in found}
        return [
            Taken(tag=tag, rule=f"{by_tag[tag].rule}, newest {rules.newest}", line=by_tag[tag].line)
            for tag in newest(by_tag, rules.newest)
        ]

    def _take(self, rules: TagRules, tag: str) -> Taken | None:
        """Return what takes a tag before `deny` and `newest`, or None."""
        by: list[Pattern] = []
        for patterns in (rules.ranges, rules.patterns):
            matching = [pattern for pattern in patterns if pattern.matches(tag)]
            if patterns and not matching:
                return None
            self._used.update(matching)
            by += matching[:1]
        if not by and is_tag_of_digest(tag):
            return None
        text = ", ".join(map(str, by)) or ALL
        return Taken(tag=tag, rule=text, line=by[-1].line if by else rules.line)
