"""Secrets in the configuration of an image: variables, labels, and the steps that built it."""

import re
from collections.abc import Iterable, Iterator

from ocitool.inside.facts.leaks.assignments import assigned, assignments, options
from ocitool.inside.facts.leaks.finding import SHOWN, Found, is_placeholder
from ocitool.inside.facts.leaks.patterns import known_forms

_OLD_FORM = re.compile(r"(?:^|\s)(?:ENV|ARG)\s+(?P<name>[A-Za-z_]\w*)\s+(?P<value>[^\s=]+)\s*$")
_CURL = re.compile(
    r"\b(?:curl|wget)\b[^|;&\n]{0,400}?\s(?:-u|--user)[ =][\"']?(?P<name>[^:\s\"'$]{1,100})"
    r":(?P<value>[^\s\"'@$]{3,200})"
)
_CHPASSWD = re.compile(
    r"\becho\s+(?:-\w+\s+)?[\"']?(?P<name>[\w.-]+):(?P<value>[^\"'|\s$]{3,200})[\"']?\s*\|\s*(?:\S+/)?chpasswd"
)
_SHORTEST = 4


def secrets_in_pair(name: str, value: str) -> list[Found]:
    """Return the secrets of a variable or a label."""
    found = [Found(kind=one.kind, value=one.value, name=name) for one in known_forms(value)]
    plain = assigned(name, value)
    return _once([*found, *([plain] if plain is not None else [])])


def secrets_in_command(text: str) -> list[Found]:
    """Return the secrets of a build step, or of another command line."""
    return _once(_all(text))


def _all(text: str) -> Iterator[Found]:
    yield from known_forms(text)
    yield from assignments(text)
    yield from options(text)
    old = _OLD_FORM.search(text)
    if old is not None and (found := assigned(old["name"], old["value"])) is not None:
        yield found
    for pattern in (_CURL, _CHPASSWD):
        for match in pattern.finditer(text):
            if not is_placeholder(match["value"]):
                yield Found(kind="password in a command", value=match["value"], name=match["name"])


def _once(found: Iterable[Found]) -> list[Found]:
    kept: dict[str, Found] = {}
    for one in found:
        if all(one.value not in value for value in kept):
            kept[one.value] = one
    return list(kept.values())


class Redactor:
    """Takes secrets out of texts that are shown, such as the build step that wrote them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, found: Found) -> None:
        """Hide this secret from now on."""
        if len(found.value) >= _SHORTEST:
            self._values[found.value] = found.begins

    def hide(self, text: str) -> str:
        """Return the text with every known secret cut to its first characters."""
        for value in sorted(self._values, key=len, reverse=True):
            if value in text:
                text = text.replace(value, f"{self._values[value][:SHOWN]}…")
        return text
