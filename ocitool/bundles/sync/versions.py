"""Versions in tags, and their order.

A tag is a version if it is numbers with dots between them, with or without a `v` before them and a
suffix after a dash: `v1.2.3`, `24.04`, `1.2.3-rc.1`, `3.20-slim`, `10.0.17763.2114`. Versions are
ordered by semver 2.0, section 11: a version with a suffix comes before the one without it. Numbers
that are not there are 0.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

NUMBER: Final = r"[0-9]{1,18}"
SUFFIX: Final = r"(?:-([0-9A-Za-z.-]+))?"
_TAG = re.compile(rf"[vV]?({NUMBER}(?:\.{NUMBER})*){SUFFIX}")

_Identifier = tuple[int, int, str]
_RELEASE: Final[tuple[_Identifier, ...]] = ((2, 0, ""),)
"""In the place of a suffix: greater than any."""


class Version(NamedTuple):
    """A version, to be compared; `after` is 1 for the place just behind it.

    `numbers` have no zeros at their end. `suffix` is empty in the place before all prereleases.
    """

    numbers: tuple[int, ...]
    suffix: tuple[_Identifier, ...] = _RELEASE
    after: int = 0

    @classmethod
    def of(cls, numbers: Sequence[int], suffix: str | None = None) -> "Version":
        """Return the version of some numbers and a suffix."""
        kept = len(numbers)
        while kept and numbers[kept - 1] == 0:
            kept -= 1
        return cls(tuple(numbers[:kept]), _identifiers(suffix) if suffix else _RELEASE)

    @property
    def is_prerelease(self) -> bool:
        """Whether it has a suffix."""
        return self.suffix != _RELEASE


def version_of(tag: str) -> Version | None:
    """Return the version that a tag means, or None."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    return Version.of([int(part) for part in found[1].split(".")], found[2])


def newest(tags: Iterable[str], count: int) -> list[str]:
    """Return the tags of the `count` highest versions, the highest first; equal ones together.

    Tags that are no versions have no place in that order, and are left out.
    """
    by_version: dict[Version, list[str]] = {}
    for tag in sorted(tags):
        version = version_of(tag)
        if version is not None:
            by_version.setdefault(version, []).append(tag)
    highest = sorted(by_version, reverse=True)[:count]
    return [tag for version in highest for tag in by_version[version]]


def _identifiers(suffix: str) -> tuple[_Identifier, ...]:
    """Return a suffix as it is ordered: numbers first, by their value, then words."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in suffix.split(".")
    )
