"""JSON documents: which fields of a value they show, and how values are written.

Digests are written as `algorithm:hex`, names and platforms as their text, sizes as numbers.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Union

from msgspec import Struct
from msgspec.structs import asdict

from ocitool.oci import Digest, Platform, Reference

_TEXTS = (Digest, Platform, Reference)
_MANY: Final = 1000

Encode = Callable[[object], object]
Source = Union[str, "View", tuple[str, Encode]]


class View:
    """The fields of a JSON object, each with the attribute of the value that it is read from.

    `names` are attributes that are shown under their own names. The source of another field is a
    path such as `root.descriptor.digest` (None where a part of it is None), a view of the
    attribute with the field's name, or a path with a view or a function that encodes the value.
    """

    def __init__(self, names: str = "", /, **fields: Source) -> None:
        self._sources: dict[str, Source] = {**{name: name for name in names.split()}, **fields}

    def __call__(self, value: object) -> object:
        """Return the JSON form of a value, of each item of a sequence, or of None."""
        if value is None:
            return None
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return [*map(self, value)] if len(value) <= _MANY else _Documents(self, value)
        return self._object(value)

    def beside(self, **known: object) -> Encode:
        """Return a function that encodes a value as this view does, with `known` fields first."""
        return lambda value: {**_fields(known), **self._object(value)}

    def under(self, name: str, /, **known: object) -> Encode:
        """Return a function that encodes a value into the field `name`, after `known` fields."""
        return lambda value: {**_fields(known), name: self(value)}

    def __or__(self, other: "View") -> "View":
        """Return a view with the fields of both."""
        return View(**{**self._sources, **other._sources})

    def at(self, path: str) -> "View":
        """Return a view that reads the same fields from an attribute of its value."""
        return View(**{name: _at(path, name, one) for name, one in self._sources.items()})

    def _object(self, value: object) -> dict[str, object]:
        return {name: _read(value, *_parts(name, one)) for name, one in self._sources.items()}


class _Documents(Sequence[object]):
    """The JSON forms of many values, each made when it is written."""

    def __init__(self, view: View, values: Sequence[object]) -> None:
        self._view = view
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self._view(one) for one in self._values[number]]
        return self._view(self._values[number])


def plain(value: object) -> object:
    """Return the JSON form of a value: a struct becomes an object, a digest its text."""
    if isinstance(value, _TEXTS):
        return str(value)
    if isinstance(value, Struct):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def path_text(path: object) -> object:
    """Return a path of an image as JSON shows it: U+FFFD for each byte that is not UTF-8."""
    if not isinstance(path, str):
        return plain(path)
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def path_bytes(path: object) -> object:
    """Return the bytes of a path in base64 if they are not UTF-8, else None."""
    if not isinstance(path, str) or path.isascii():
        return None
    raw = path.encode("utf-8", "surrogateescape")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii")
    return None


def _fields(known: Mapping[str, object]) -> dict[str, object]:
    return {name: plain(value) for name, value in known.items()}


def each(path: str) -> Encode:
    """Return a function that lists one attribute of every item."""

    def encode(items: object) -> object:
        return [_read(one, path, plain) for one in items] if isinstance(items, tuple) else items

    return encode


def each_of(encode: Encode) -> Encode:
    """Return a function that encodes every item of a sequence."""

    def encode_all(items: object) -> object:
        return [encode(one) for one in items] if isinstance(items, list | tuple) else items

    return encode_all


def _parts(name: str, source: Source) -> tuple[str, Encode]:
    if isinstance(source, str):
        return source, plain
    return (name, source) if isinstance(source, View) else source


def _at(path: str, name: str, source: Source) -> Source:
    below, encode = _parts(name, source)
    return f"{path}.{below}", encode


def _read(value: object, path: str, encode: Encode) -> object:
    for part in path.split("."):
        if value is None:
            break
        value = getattr(value, part)
    return encode(value)
