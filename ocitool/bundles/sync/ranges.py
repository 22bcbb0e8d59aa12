"""Ranges of versions, as npm and Masterminds write them.

A version with a suffix is a prerelease: a range takes it only if one of the versions that have to
hold together with it has a suffix itself. `>=1.2.0-0` takes all of 1.2.0 and later.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ocitool.bundles.sync.versions import NUMBER, SUFFIX, Version
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_PART: Final = rf"(?:{NUMBER}|[xX*])"
_WRITTEN: Final = rf"[vV]?({_PART}(?:\.{_PART})*){SUFFIX}(?:\+[0-9A-Za-z.-]+)?"
_TERM = re.compile(rf"(>=|=>|<=|=<|~>|!=|[<>=^~]|)\s*{_WRITTEN}(?=[\s,]|$)[\s,]*")
_SPAN = re.compile(rf"{_WRITTEN}\s+-\s+{_WRITTEN}")
_LONGEST: Final = 1000
_WHOLE: Final = 3
"""Numbers of a version from which it means itself, and not all that begin so."""


class _Interval(NamedTuple):
    """The versions from `low` on and below `high`, or with `is_outside` all others."""

    low: Version | None
    high: Version | None
    is_outside: bool = False

    def holds(self, version: Version) -> bool:
        is_inside = (self.low is None or self.low <= version) and (
            self.high is None or version < self.high
        )
        return is_inside is not self.is_outside


class _Group(NamedTuple):
    """What must hold together."""

    intervals: tuple[_Interval, ...]
    takes_prereleases: bool

    def holds(self, version: Version) -> bool:
        if version.is_prerelease and not self.takes_prereleases:
            return False
        return all(interval.holds(version) for interval in self.intervals)


class Range(NamedTuple):
    """A range of versions: one of its groups must hold."""

    groups: tuple[_Group, ...]

    def holds(self, version: Version) -> bool:
        """Tell whether a version is in the range."""
        return any(group.holds(version) for group in self.groups)


def parse_range(text: str) -> Range:
    """Return the range that a text means; UsageError for anything else.

    `||` separates ranges of which one must hold, spaces and commas such that must hold together:
    `^1.2`, `~1.2.3`, `>=1.2 <2`, `1.2.x`, `1.2 - 1.4`, `!=1.3.0`.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"a range of versions has at most {_LONGEST} characters")
    groups = [_terms(part.strip()) for part in text.split("||")]
    if not all(groups):
        raise UsageError(
            f"{quoted(text)} is no range of versions",
            hint="such as '^1.2', '~1.2.3', '>=1.2 <2', '1.2.x', '1.2 - 1.4', '^1.2 || ^3'",
        )
    return Range(
        tuple(
            _Group(tuple(_interval(*term) for term in terms), any(term[2] for term in terms))
            for terms in groups
        )
    )


def _terms(text: str) -> list[tuple[str, str, str | None]]:
    """Return operator, numbers and suffix of each term; an empty list for what is no range."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return [(">=", span[1], span[2]), ("<=", span[3], span[4])]
    terms, position = [], 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            return []
        terms.append((found[1], found[2], found[3]))
        position = found.end()
    return terms


def _interval(operator: str, written: str, suffix: str | None) -> _Interval:
    """Return what one term means."""
    parts = written.split(".")
    known = next((n for n, part in enumerate(parts) if part in "xX*"), len(parts))
    given = tuple(int(part) for part in parts[:known])
    is_whole = known == len(parts) and (known >= _WHOLE or suffix is not None)
    low = Version.of(given, suffix if is_whole else None)
    end = low._replace(after=1) if is_whole else _above(given)
    if operator in ("^", "~", "~>"):
        return _Interval(low, _above(given[: _fixed(operator, given)]))
    if operator == ">":
        return _Interval(end, None) if end is not None else _Interval(low, low)
    if operator in (">=", "=>"):
        return _Interval(low, None)
    if operator == "<":
        return _Interval(None, low if is_whole else low._replace(suffix=()))
    if operator in ("<=", "=<"):
        return _Interval(None, end)
    return _Interval(low, end, is_outside=operator == "!=")


def _fixed(operator: str, given: Sequence[int]) -> int:
    """Return how many numbers stay the same: with ^ up to the first that is not 0, with ~ two."""
    if operator != "^":
        return 2
    return next((n for n, number in enumerate(given, 1) if number), len(given))


def _above(given: tuple[int, ...]) -> Version | None:
    """Return the place before all versions with a higher last number; None where none is given."""
    if not given:
        return None
    return Version.of((*given[:-1], given[-1] + 1))._replace(suffix=())
