"""No secret in any text of the facts: paths, users, names of packages."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from ocitool.inside.facts.leaks.redactor import Redactor
from ocitool.inside.facts.report import Facts
from ocitool.oci import Digest, Platform

_OURS = frozenset(("kind", "place", "begins", "how", "note", "instruction"))
"""Fields in which nothing of the image stands, or whose secrets are cut already."""
_TEXTS = 1 << 12


def without_secrets(facts: Facts, redactor: Redactor) -> Facts:
    """Return the facts with the secrets cut out of all their texts."""
    hide = lru_cache(_TEXTS)(redactor.hide_in_name)
    hidden: Facts = _hidden(facts, hide)
    return hidden


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    # What is an enumeration, a number or a digest has another type.
    if type(value) is str:
        return hide(value)
    if isinstance(value, tuple):
        return tuple(_hidden(one, hide) for one in value)
    if not isinstance(value, msgspec.Struct) or isinstance(value, Digest | Platform):
        return value
    changed = {}
    for name in value.__struct_fields__:
        old = getattr(value, name)
        if name not in _OURS and (new := _hidden(old, hide)) != old:
            changed[name] = new
    return msgspec.structs.replace(value, **changed) if changed else value
