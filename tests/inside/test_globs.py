"""Patterns for paths in an image."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import UsageError
from ocitool.inside.globs import path_matcher

NAMES = st.text(alphabet="ab]^!-z", min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("pattern", "fits", "not_fits"),
    [
        ("*.log", ["a.log", "x/a.log", "a.log/b"], ["a.logs"]),
        ("/etc/*", ["etc/a", "etc/a/b"], ["x/etc/a", "etc"]),
        ("usr/**/doc", ["usr/doc", "usr/a/b/doc/c"], ["usr/docs"]),
        ("[a-c]?", ["ab", "x/c1"], ["d1", "a/"]),
        ("[!a]", ["b", "x/-"], ["a"]),
        ("[^a]", ["b"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[!]", ["[!]"], ["a"]),
        ("[^]", ["[^]"], ["a"]),
        ("[z-a]", [], ["m", "z"]),
        ("[", ["["], ["a"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
    ],
)
def test_a_pattern_fits_what_it_says(pattern: str, fits: list[str], not_fits: list[str]) -> None:
    matches = path_matcher([pattern])
    assert [path for path in fits if not matches(path)] == []
    assert [path for path in not_fits if matches(path)] == []


@given(st.text(max_size=12))
def test_any_text_is_a_pattern_or_a_wrong_one(text: str) -> None:
    try:
        matches = path_matcher([text])
    except UsageError:
        return
    matches("a/b")


@given(st.text(alphabet="ab[]!-?z", min_size=1, max_size=6), NAMES)
def test_within_a_name_it_is_what_python_makes_of_it(pattern: str, name: str) -> None:
    assert path_matcher([pattern])(name) == fnmatch.fnmatchcase(name, pattern)
