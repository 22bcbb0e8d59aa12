"""Regular expressions for whole tags, matched in a time that their size bounds, as RE2 does.

Python's `re` may need years for a tag of forty characters. Only whether a tag matches is asked
here, so its parser is enough: all states are followed at once (Thompson 1968), and what cannot be
matched in that way, such as a back reference, is refused.
"""

import re
import warnings
from collections.abc import Iterable
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from string import ascii_letters, digits
from typing import Any, Final

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_ALPHABET: Final = frozenset(f"{ascii_letters}{digits}_.-")
"""The characters of tags (distribution-spec, "Pulling manifests")."""
_MOST: Final = 2_000
"""States of one pattern."""
_BEGINNING: Final = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_END: Final = (sre.AT_END, sre.AT_END_STRING)
_NUMERALS: Final = frozenset(digits)
_WORD: Final = _ALPHABET - frozenset(".-")
_CATEGORIES: Final = {
    sre.CATEGORY_DIGIT: _NUMERALS,
    sre.CATEGORY_NOT_DIGIT: _ALPHABET - _NUMERALS,
    sre.CATEGORY_WORD: _WORD,
    sre.CATEGORY_NOT_WORD: _ALPHABET - _WORD,
    sre.CATEGORY_SPACE: frozenset[str](),
    sre.CATEGORY_NOT_SPACE: _ALPHABET,
}
_TAKE, _SPLIT, _START, _STOP, _MATCH = range(5)
_Step = tuple[int, Any, Any]


class TagRegex:
    """A regular expression that has to match a whole tag. UsageError for one that is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[_Step] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = parser.parse(text, re.ASCII)
            self._emit(tree, is_folded=bool(tree.state.flags & re.IGNORECASE))
        except (re.error, OverflowError) as error:
            raise UsageError(f"{quoted(text)} is no regular expression: {error}") from None
        except RecursionError:
            raise UsageError(f"{quoted(text)} is nested too deeply") from None
        self._add(_MATCH)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TagRegex) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"TagRegex({self.text!r})"

    def matches(self, tag: str) -> bool:
        """Tell whether the pattern matches all of a tag."""
        states = self._follow([0], is_start=True, is_end=not tag)
        for number, character in enumerate(tag, 1):
            taken = [at + 1 for at in states if self._takes(at, character)]
            states = self._follow(taken, is_start=False, is_end=number == len(tag))
            if not states:
                return False
        return any(self._steps[at][0] == _MATCH for at in states)

    def _takes(self, at: int, character: str) -> bool:
        kind, characters, _ = self._steps[at]
        return kind == _TAKE and character in characters

    def _follow(self, begun: Iterable[int], *, is_start: bool, is_end: bool) -> list[int]:
        """Return the states that take a character or match, as reached from others."""
        waiting, seen, found = list(begun), set[int](), []
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            kind, first, second = self._steps[at]
            if kind == _SPLIT:
                waiting += (first, second)
            elif kind in (_TAKE, _MATCH):
                found.append(at)
            elif (kind == _START and is_start) or (kind == _STOP and is_end):
                waiting.append(at + 1)
        return found

    def _add(self, kind: int, first: Any = None, second: Any = None) -> int:
        if len(self._steps) >= _MOST:
            raise UsageError(f"{quoted(self.text)} repeats too much: it would have too many states")
        self._steps.append((kind, first, second))
        return len(self._steps) - 1

    def _emit(self, tree: Any, *, is_folded: bool) -> None:
        for kind, value in tree:
            if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
                self._repeat(*value, is_folded=is_folded)
            elif kind is sre.BRANCH:
                self._branch(value[1], is_folded=is_folded)
            elif kind is sre.SUBPATTERN:
                _, added, removed, below = value
                folded = (is_folded or bool(added & re.IGNORECASE)) and not removed & re.IGNORECASE
                self._emit(below, is_folded=folded)
            elif kind is sre.AT and value in (*_BEGINNING, *_END):
                self._add(_START if value in _BEGINNING else _STOP)
            else:
                self._add(_TAKE, self._class(kind, value, is_folded=is_folded))

    def _class(self, kind: Any, value: Any, *, is_folded: bool) -> frozenset[str]:
        """Return the characters of tags that one step takes; UsageError for any other step."""
        if kind is sre.ANY:
            return _ALPHABET
        if kind in (sre.LITERAL, sre.NOT_LITERAL):
            one = _folded(chr(value), is_folded=is_folded)
            return one if kind is sre.LITERAL else _ALPHABET - one
        if kind is sre.RANGE:
            inside = [one for one in _ALPHABET if value[0] <= ord(one) <= value[1]]
            return _folded(inside, is_folded=is_folded)
        if kind is sre.CATEGORY and value in _CATEGORIES:
            return _CATEGORIES[value]
        if kind is sre.IN:
            is_negated = value[0][0] is sre.NEGATE
            parts = value[1:] if is_negated else value
            sets = [self._class(*part, is_folded=is_folded) for part in parts]
            meant = frozenset[str]().union(*sets)
            return _ALPHABET - meant if is_negated else meant
        raise UsageError(
            f"{quoted(self.text)} has what is not matched here: {str(kind).lower()}",
            hint="write it without back references and without looking ahead or behind",
        )

    def _repeat(self, least: int, most: int, tree: Any, *, is_folded: bool) -> None:
        for _ in range(least):
            self._emit(tree, is_folded=is_folded)
        if most == sre.MAXREPEAT:
            begin = self._add(_SPLIT)
            self._emit(tree, is_folded=is_folded)
            self._add(_SPLIT, begin, begin)
            self._steps[begin] = (_SPLIT, begin + 1, len(self._steps))
            return
        skips = []
        for _ in range(most - least):
            skips.append(self._add(_SPLIT))
            self._emit(tree, is_folded=is_folded)
        for at in skips:
            self._steps[at] = (_SPLIT, at + 1, len(self._steps))

    def _branch(self, branches: Iterable[Any], *, is_folded: bool) -> None:
        ends = []
        for branch in branches:
            at = self._add(_SPLIT)
            self._emit(branch, is_folded=is_folded)
            ends.append(self._add(_SPLIT))
            self._steps[at] = (_SPLIT, at + 1, len(self._steps))
        # What none of the branches takes goes nowhere: no tag has a character of this class.
        self._add(_TAKE, frozenset())
        for at in ends:
            self._steps[at] = (_SPLIT, len(self._steps), len(self._steps))


def _folded(characters: Iterable[str], *, is_folded: bool) -> frozenset[str]:
    """Return characters, in both cases if case does not count."""
    found = frozenset(characters)
    return found | {one.swapcase() for one in found} if is_folded else found
