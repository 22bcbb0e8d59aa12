"""Which text looks like an image where no rule says that it is one."""

import re

from ocitool.errors import UsageError
from ocitool.oci.reference import Reference, typed_host

_LONGEST = 600
"""Characters: of a host, a repository, a tag and a digest together."""
_SHAPE = re.compile(r"[a-zA-Z0-9\[][a-zA-Z0-9._/:@\[\]-]*")
_SETTING = re.compile(r"(--?[A-Za-z][A-Za-z0-9_.-]*|[A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_NO_NAMES = frozenset(("true", "false", "null", "yes", "no", "on", "off", "none", "auto"))


def candidate_in(key: str, value: str) -> str | None:
    """Return the part of a value that looks like an image: all of it, or what follows `--flag=`.

    It has a digest, or a registry with a tag. A tag alone will do where the key, the flag or the
    variable speaks of an image, and any name where it ends with "image".
    """
    if len(value) > _LONGEST:
        return None
    setting = _SETTING.fullmatch(value)
    if setting is not None:
        key, value = setting[1], setting[2]
    if not _SHAPE.fullmatch(value) or value.lower() in _NO_NAMES or value.isdecimal():
        return None
    try:
        found = Reference.parse(value)
    except UsageError:
        return None
    called = key.lower()
    has_tag = ":" in value.rpartition("/")[2]
    is_tagged = has_tag and ("image" in called or typed_host(value) is not None)
    return value if found.digest or is_tagged or called.endswith("image") else None


def may_be_image(key: str, value: str) -> bool:
    """Tell cheaply whether a value could be a candidate; some of these are none."""
    if len(value) > _LONGEST or " " in value:
        return False
    if ":" in value or "@" in value:
        # The value of a variable may be told by the variable's name, which stands beside it.
        return (
            "/" in value or "@" in value or "=" in value or "image" in key.lower() or key == "value"
        )
    return key[-5:].lower() == "image" or "image=" in value.lower()
