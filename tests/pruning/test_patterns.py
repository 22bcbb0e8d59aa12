"""P1: regular expressions of whole tags, in bounded time, with the answers of Python's own."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import UsageError
from ocitool.pruning.patterns import TagRegex

ATOMS = st.sampled_from(["a", "b", "1", ".", r"\.", "-", "[a-c]", "[^a1]", r"\d", r"\w", r"\W"])
QUANTIFIERS = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,3}", "*?", "{0,2}?"])


def expressions() -> st.SearchStrategy[str]:
    return st.recursive(
        ATOMS,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
            st.tuples(inner, QUANTIFIERS).map(lambda two: f"({two[0]}){two[1]}"),
        ),
        max_leaves=8,
    )


@given(
    expressions(),
    st.lists(st.text(alphabet="ab1.-Z", max_size=8), min_size=1, max_size=8),
    st.sampled_from(["{}", "^{}$", "(?i){}"]),
)
def test_it_answers_as_re_does(expression: str, tags: list[str], form: str) -> None:
    text = form.format(expression)
    pattern = TagRegex(text)
    for tag in tags:
        assert pattern.matches(tag) is (re.fullmatch(text, tag, re.ASCII) is not None), (text, tag)


def test_it_has_to_match_the_whole_tag() -> None:
    assert TagRegex("v[0-9]+").matches("v12")
    assert not TagRegex("v[0-9]+").matches("v12-rc")
    assert not TagRegex("^pr-").matches("pr-1")


def test_what_re_would_need_years_for_takes_no_time() -> None:
    began = time.monotonic()
    for text in ("(a+)+", "(a|a)*", "(a*)*b", "a*a*a*a*a*a*a*b"):
        assert not TagRegex(text).matches("a" * 127 + "!")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "text", [r"(a)\1", "(?=a).*", "(?!pr).*", r"\bx", "(?>a)", "(", "[", "a{900}{2}", "(a{900}){9}"]
)
def test_what_cannot_be_matched_so_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        TagRegex(text)
