"""A secret that was found, and how much of it may be told."""

import re

from msgspec import Struct

from ocitool.inside.facts.words import words

SHOWN = 4
"""How many characters of a secret are ever shown."""
_SHORT = 3
_LONGEST = 1024
_WORDS = (
    "example|sample|placeholder|change-?me|replace-?me|dummy|redacted|your[-_ .]"
    "|<[^>]{0,200}>|\\*{3}|\\.{3}|xxxx|not-?a-?(real-?)?(secret|password|key)"
)
_PLACEHOLDER = re.compile(_WORDS, re.IGNORECASE)
_VARIABLE = re.compile(r"^\$|\$[{(]|^%[A-Za-z_(]|\{\{|\}\}|^\{.*\}$|^@.*@$|^<|^\[")
_ORDINARY = frozenset(
    words(
        "password passwd passphrase pass pwd secret secrets token key apikey api_key credentials "
        "none null nil true false yes no on off undefined default test testing unset empty user "
        "username admin root string value enabled disabled required optional changeit"
    )
)


class Found(Struct, frozen=True, kw_only=True):
    """A secret inside one text. `value` stays inside this package and is never shown.

    `name` is what the secret is called there: a variable, a key, a host. `note` says why a known
    one is harmless. `spelled` are other ways in which the text has it, with quotes or escapes.
    """

    kind: str
    value: str
    name: str | None = None
    note: str | None = None
    spelled: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Found(kind={self.kind!r}, name={self.name!r})"

    @property
    def begins(self) -> str:
        """The first characters: at most four, and at most a third of the secret."""
        text = _body(self.value)
        return text[: min(SHOWN, len(text) // _SHORT)]


def _body(value: str) -> str:
    """Return what tells one secret from another: of a key in PEM form not its first line."""
    if value.startswith("-----BEGIN"):
        return re.sub(r"^-----BEGIN [A-Z0-9 ]+-----(\\n|\\r|\s)*", "", value)
    return value


def is_placeholder(value: str) -> bool:
    """Tell whether a value stands for a secret: a variable, an example, a word such as "secret"."""
    value = value[:_LONGEST]
    if value.lower() in _ORDINARY or len(set(value)) < _SHORT:
        return True
    return bool(_PLACEHOLDER.search(value) or _VARIABLE.search(value))
