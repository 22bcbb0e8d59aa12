"""The shape of a JSON document: the path of every field, with the types of its values."""

import re
from collections.abc import Iterable, Iterator

Shape = dict[str, str]
"""Paths such as `images[].digest`, each with the types seen there, such as `digest|null`."""

MAPS = ("labels", "annotations", "xattrs", "Labels", "ExposedPorts", "Volumes", "Data")
"""The objects whose keys are content of images rather than names of fields."""

_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")


def shape_of(documents: Iterable[object]) -> Shape:
    """Return the shape of documents of one kind."""
    seen: dict[str, set[str]] = {}
    for document in documents:
        for path, kind in _fields(document, ""):
            seen.setdefault(path, set()).add(kind)
    return {path: "|".join(sorted(kinds)) for path, kinds in sorted(seen.items())}


def _fields(value: object, path: str) -> Iterator[tuple[str, str]]:
    yield path, _type(value)
    if isinstance(value, list):
        for item in value:
            yield from _fields(item, f"{path}[]")
    elif isinstance(value, dict):
        is_map = path.rpartition(".")[2] in MAPS
        for key, item in value.items():
            yield from _fields(item, f"{path}.*" if is_map else f"{path}.{key}".lstrip("."))


def _type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list | dict):
        return "list" if isinstance(value, list) else "object"
    assert isinstance(value, str)
    if _DIGEST.fullmatch(value):
        return "digest"
    return "time" if _TIME.fullmatch(value) else "text"
