"""The challenges by which a registry says how it wants to be authenticated to.

A header may hold several, a list may be spread over several headers, and the comma separates both
challenges and the parameters of one (RFC 7235, sections 2.1 and 4.1).
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

BASIC, BEARER = "basic", "bearer"

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SEPARATORS = re.compile(r"[\s,]*")
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_TOKEN68 = re.compile(r"\s*[A-Za-z0-9\-._~+/]+=*\s*(?=,|$)")
_PARAMETER = re.compile(rf"[\s,]*({_WORD})\s*=\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNQUOTED = re.compile(r'[^\s,"]*')
_GARBAGE = re.compile(r'[^\s,"]+')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Challenge(Struct, frozen=True):
    """One way to authenticate. `scheme` and the keys of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all WWW-Authenticate headers, in the order they were sent.

    Never raises: what cannot be read is left out. Values need no quotes, as some registries send
    none; the first of repeated parameters counts.
    """
    return tuple(challenge for value in values for challenge in _parse(value))


def answerable(challenges: Sequence[Challenge]) -> tuple[Challenge, ...]:
    """Return those that can be answered: Basic, and Bearer that names a token server."""
    return tuple(
        challenge
        for challenge in challenges
        if challenge.scheme == BASIC
        or (challenge.scheme == BEARER and challenge.parameters.get("realm"))
    )


def lacking_scopes(challenges: Sequence[Challenge]) -> tuple[str, ...]:
    """Return the scopes that a refused token lacks, as far as a registry says so (RFC 6750)."""
    return tuple(
        scope
        for challenge in challenges
        if challenge.parameters.get("error") == "insufficient_scope"
        for scope in challenge.parameters.get("scope", "").split()
    )


def _parse(text: str) -> Iterator[Challenge]:
    position = 0
    while (position := _after(_SEPARATORS, text, position)) < len(text):
        scheme = _SCHEME.match(text, position)
        if scheme is None:
            position = _after_garbage(text, position)
            continue
        parameters, position = _parameters(text, _after(_TOKEN68, text, scheme.end()))
        yield Challenge(scheme.group(1).lower(), parameters)


def _parameters(text: str, position: int) -> tuple[dict[str, str], int]:
    """Return the parameters that begin at `position`, and where they end."""
    found: dict[str, str] = {}
    while (key := _PARAMETER.match(text, position)) is not None:
        value, position = _value(text, key.end())
        if value is None:
            break
        found.setdefault(key.group(1).lower(), value)
    return found, position


def _value(text: str, position: int) -> tuple[str | None, int]:
    """Return a parameter's value and where it ends; None for quotes that do not end."""
    if not text.startswith('"', position):
        end = _after(_UNQUOTED, text, position)
        return text[position:end], end
    quoted = _QUOTED.match(text, position)
    if quoted is None:
        return None, len(text)
    return _ESCAPE.sub(r"\1", quoted.group(1)), quoted.end()


def _after_garbage(text: str, position: int) -> int:
    if not text.startswith('"', position):
        return _after(_GARBAGE, text, position)
    # Text inside quotes is never a challenge; without a second quote all the rest is inside.
    quoted = _QUOTED.match(text, position)
    return len(text) if quoted is None else quoted.end()


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()
