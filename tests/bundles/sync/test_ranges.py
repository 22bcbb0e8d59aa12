"""A23: versions in tags, their order, and ranges of them."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.bundles.sync.ranges import parse_range
from ocitool.bundles.sync.versions import newest, version_of
from ocitool.errors import UsageError

UNTIMED = settings(deadline=None)


def holds(text: str, tag: str) -> bool:
    version = version_of(tag)
    return version is not None and parse_range(text).holds(version)


class TestVersions:
    # The chain of semver 2.0, section 11, and what tags have beside it.
    ORDER = (
        *("0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"),
        *("1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2", "1.2.10", "1.10-slim", "1.10"),
        *("v1.11", "2", "10.0.17763", "10.0.17763.2114", "24.04", "2024.01.15"),
    )

    def test_they_are_ordered_by_their_numbers_and_then_by_their_suffix(self) -> None:
        backwards = list(reversed(self.ORDER))
        found = sorted(backwards, key=lambda tag: version_of(tag) or ())
        assert tuple(found) == self.ORDER

    @pytest.mark.parametrize(("one", "other"), [("1", "v1.0.0"), ("1.20", "1.20.0.0"), ("V2", "2")])
    def test_numbers_that_are_not_there_are_zero(self, one: str, other: str) -> None:
        assert version_of(one) == version_of(other)

    @pytest.mark.parametrize(
        "tag", ["latest", "", "v", "1.", ".1", "1..2", "1.2_3", "release-1", "1-", "9" * 30, "１.2"]
    )
    def test_anything_else_is_no_version(self, tag: str) -> None:
        assert version_of(tag) is None

    def test_a23_newest_goes_by_version_and_takes_equal_ones_together(self) -> None:
        tags = ["1.9", "1.10", "latest", "1.2", "v1.10.0", "1.10-rc.1", "edge"]
        assert newest(tags, 1) == ["1.10", "v1.10.0"]
        assert newest(tags, 3) == ["1.10", "v1.10.0", "1.10-rc.1", "1.9"]
        assert newest(["latest"], 2) == []


class TestRanges:
    # From npm's README of node-semver and Masterminds' README, with their meaning.
    @pytest.mark.parametrize(
        ("text", "inside", "outside"),
        [
            ("1.2.3", "1.2.3 v1.2.3", "1.2.4 1.2.3-rc.1"),
            (">=1.2.7", "1.2.7 1.2.8 2.5.3", "1.2.6 1.1.0 2.0.0-rc.1"),
            (">=1.2.7 <1.3.0", "1.2.7 1.2.99", "1.2.6 1.3.0 1.1.0"),
            (">= 1.2.7, < 1.3.0", "1.2.7 1.2.99", "1.2.6 1.3.0 1.1.0"),
            ("1.2.7 || >=1.2.9 <2.0.0", "1.2.7 1.2.9 1.4.6", "1.2.8 2.0.0"),
            ("1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"),
            ("1.2 - 2.3.4", "1.2.0 2.3.4", "1.1.9 2.3.5"),
            ("1.2.3 - 2.3", "2.3.9", "2.4.0 1.2.2"),
            ("1.2.3 - 2", "2.9.9", "3.0.0"),
            ("*", "0 1.2.3 99", "1.0.0-rc.1"),
            ("1.x", "1 1.0 1.99", "2 0.9"),
            ("1.2.*", "1.2 1.2.9", "1.3 1.1.9"),
            ("1", "1.0.0 1.9", "2.0"),
            ("1.2", "1.2.0 1.2.9", "1.3"),
            ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
            ("~>1.2", "1.2.0 1.2.9", "1.3.0 1.1"),
            ("~1", "1.0.0 1.9", "2 0.9"),
            ("~0.2.3", "0.2.3 0.2.9", "0.3.0"),
            ("^1.2.3", "1.2.3 1.9", "1.2.2 2.0.0"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
            ("^1.2.x", "1.2.0 1.9", "2.0.0 1.1"),
            ("^0.0.x", "0.0.0 0.0.9", "0.1.0"),
            ("^0.0", "0.0.0 0.0.9", "0.1.0"),
            ("^0.x", "0.0.0 0.9.9", "1.0.0"),
            (">1.2", "1.3 2", "1.2.0 1.2.9"),
            ("<=1.2", "1.2.9 1.1", "1.3"),
            ("<1.2", "1.1.9", "1.2.0"),
            ("!=1.3.0", "1.2 1.4", "1.3 1.3.0"),
            (">=1 !=1.3", "1.2 1.4", "1.3 1.3.9 0.9"),
            (">=v2", "v2 v3", "v1"),
            (">=10.0.17763.2114 <10.0.17764", "10.0.17763.2115", "10.0.17763.2113 10.0.17764"),
        ],
    )
    def test_a23_ranges_are_those_of_npm_and_masterminds(
        self, text: str, inside: str, outside: str
    ) -> None:
        assert [tag for tag in inside.split() if not holds(text, tag)] == []
        assert [tag for tag in outside.split() if holds(text, tag)] == []

    @pytest.mark.parametrize(
        ("text", "inside", "outside"),
        [
            (">=1.2.0-0", "1.2.0-rc.1 1.2.0 1.3.0-alpine", "1.1.9"),
            ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.10 1.2.3 1.4.0", "1.2.3-beta.1 2.0.0-rc.1"),
            ("~1.2.3-0", "1.2.3-rc.1 1.2.9", "1.3.0-rc.1"),
            (">1.2.3-alpha.3", "1.2.3-alpha.7 1.2.3", "1.2.3-alpha.3"),
            ("<2 >=1-0", "1.5-slim", "2.0.0-rc.1 2.0.0"),
            ("<2.0.0 >=1-0", "2.0.0-rc.1", "2.0.0"),
        ],
    )
    def test_a23_prereleases_are_taken_where_the_range_names_one(
        self, text: str, inside: str, outside: str
    ) -> None:
        assert [tag for tag in inside.split() if not holds(text, tag)] == []
        assert [tag for tag in outside.split() if holds(text, tag)] == []

    @pytest.mark.parametrize(
        "text", ["", " ", "abc", ">=", "1.2.3.", "^^1", "1 ||", "|| 1", "1 - 2 - 3", ">=1,,x y"]
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="no range of versions"):
            parse_range(text)


class Written(NamedTuple):
    """A version as three numbers, by which Python compares it."""

    major: int
    minor: int
    patch: int

    @property
    def text(self) -> str:
        """The version as it is written."""
        return ".".join(map(str, self))


VERSIONS = st.builds(Written, *[st.integers(0, 3)] * 3)


def _caret(base: Written) -> Callable[[Written], bool]:
    """Nothing changes up to the first number that is not 0. node-semver, "Caret Ranges"."""
    fixed = next((n for n, number in enumerate(base) if number), 2) + 1
    return lambda found: found >= base and found[:fixed] == base[:fixed]


MEANINGS: dict[str, Callable[[Written], Callable[[Written], bool]]] = {
    "": lambda base: lambda found: found == base,
    "=": lambda base: lambda found: found == base,
    "!=": lambda base: lambda found: found != base,
    ">": lambda base: lambda found: found > base,
    ">=": lambda base: lambda found: found >= base,
    "<": lambda base: lambda found: found < base,
    "<=": lambda base: lambda found: found <= base,
    "~": lambda base: lambda found: found >= base and found[:2] == base[:2],
    "^": _caret,
}
TERMS = st.tuples(st.sampled_from(sorted(MEANINGS)), VERSIONS)


@UNTIMED
@given(
    st.lists(st.lists(TERMS, min_size=1, max_size=3), min_size=1, max_size=3),
    VERSIONS,
    st.sampled_from([" ", ", ", ",", "  "]),
)
def test_a23_a_range_means_what_its_terms_mean(
    groups: list[list[tuple[str, Written]]], version: Written, comma: str
) -> None:
    text = " || ".join(
        comma.join(f"{operator}{base.text}" for operator, base in terms) for terms in groups
    )
    expected = any(
        all(MEANINGS[operator](base)(version) for operator, base in terms) for terms in groups
    )
    assert holds(text, f"v{version.text}") is expected


@UNTIMED
@given(st.text("0123456789.x*^~<>=!|-, vrc", max_size=30) | st.text(max_size=30))
def test_a23_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        found = parse_range(text)
    except UsageError:
        return
    for tag in ("1.2.3", "1.2.3-rc.1", "0"):
        version = version_of(tag)
        assert version is not None
        assert found.holds(version) in (True, False)


TAGS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "v"]),
    st.lists(st.integers(0, 20).map(str), min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", "-rc.1", "-rc.11", "-alpine", "-0", "-1.x"]),
)


@UNTIMED
@given(st.lists(TAGS, max_size=12))
def test_a23_versions_have_one_order(tags: list[str]) -> None:
    found = [version for tag in tags if (version := version_of(tag)) is not None]
    assert len(found) == len(tags)
    ordered = sorted(found)
    assert all(a <= b for a, b in pairwise(ordered))
    assert newest(tags, len(tags) + 1) == newest(list(reversed(tags)), len(tags) + 1)
