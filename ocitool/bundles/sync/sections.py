"""The mappings of a YAML file: values of their types, with lines; unknown keys are errors."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from ocitool.bundles.yaml_marks import Fields, Items, Node, Scalar, merged_entries
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_NULL: Final = ("", "~", "null")
_FLAGS: Final = {"true": True, "false": False}


class Sections:
    """Reads the mappings of one file, and collects what of them is `ignored`."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.ignored: list[str] = []

    def read(
        self, node: Node, known: str, ignored: Iterable[str] = (), *, extras: bool = False
    ) -> "Section":
        """Return a mapping with the keys `known`, those `ignored`, and with `extras` also `x-…`."""
        if not isinstance(node, Fields):
            raise UsageError(f"{self.what}:{node.line}: here is a mapping expected")
        values: dict[str, tuple[int, Node]] = {}
        for key, value in merged_entries(node, self.what):
            if key.value in ignored:
                self.ignored.append(f"{self.what}:{key.line}: {key.value} is ignored")
            elif key.value in known.split():
                values[key.value] = key.line, value
            elif not (extras and key.value.startswith("x-")):
                raise self._unknown(key, [*known.split(), *ignored])
        return Section(self, node.line, values)

    def empty(self) -> "Section":
        """Return the mapping that stands for an absent one."""
        return Section(self, 1, {})

    def _unknown(self, key: Scalar, known: Sequence[str]) -> UsageError:
        near = difflib.get_close_matches(key.value, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(sorted(known))}"
        return UsageError(f"{self.what}:{key.line}: there is no key {quoted(key.value)}", hint=hint)


class Section:
    """A mapping, read by its keys. An absent key and one without a value are the same."""

    def __init__(self, owner: Sections, line: int, values: dict[str, tuple[int, Node]]) -> None:
        self.line = line
        self._owner = owner
        self._values = {key: pair for key, pair in values.items() if not _is_null(pair[1])}

    def line_of(self, key: str) -> int:
        """Return the line of a key, or that of the mapping if it has no such key."""
        return self._values[key][0] if key in self._values else self.line

    def where(self, key: str) -> str:
        """Return the place of a key, such as `sync.yaml:3`."""
        return f"{self._owner.what}:{self.line_of(key)}"

    def error(self, message: str, key: str, *, hint: str | None = None) -> UsageError:
        """Return an error about the value of a key."""
        return self.error_at(self.line_of(key), message, hint=hint)

    def error_at(self, line: int, message: str, *, hint: str | None = None) -> UsageError:
        """Return an error about a line."""
        return UsageError(f"{self._owner.what}:{line}: {message}", hint=hint)

    def text(self, key: str) -> str | None:
        """Return the text of a key."""
        if key not in self._values:
            return None
        value = self._values[key][1]
        if not isinstance(value, Scalar):
            raise self.error(f"{key} is a text", key)
        return value.value

    def required(self, key: str) -> str:
        """Return the text of a key that has to be there."""
        found = self.text(key)
        if found is None:
            raise self.error(f"{key} is missing", key)
        return found

    def texts(self, key: str) -> list[tuple[str, int]]:
        """Return the texts of a list, or the one text in its place, each with its line."""
        return [self._scalar(item, key) for item in self.items(key)]

    def _scalar(self, item: Node, key: str) -> tuple[str, int]:
        if not isinstance(item, Scalar) or _is_null(item):
            raise self.error_at(item.line, f"{key} is a list of texts")
        return item.value, item.line

    def flag(self, key: str) -> bool | None:
        """Return a yes or no, written as true or false."""
        text = self.text(key)
        if text is not None and text.lower() not in _FLAGS:
            raise self.error(f"{key} is true or false, not {quoted(text)}", key)
        return None if text is None else _FLAGS[text.lower()]

    def count(self, key: str) -> int | None:
        """Return a number from 1 on."""
        text = self.text(key)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
            raise self.error(f"{key} is a number from 1 on, not {quoted(text)}", key)
        return int(text)

    def items(self, key: str) -> list[Node]:
        """Return the items of a list; one that is not a list stands for itself."""
        if key not in self._values:
            return []
        value = self._values[key][1]
        return value.items if isinstance(value, Items) else [value]

    def sections(self, key: str, known: str, ignored: Iterable[str] = ()) -> "list[Section]":
        """Return the mappings of a list."""
        return [self._owner.read(item, known, ignored) for item in self.items(key)]

    def section(self, key: str, known: str, ignored: Iterable[str] = ()) -> "Section":
        """Return a mapping below a key; an empty one if there is none."""
        if key not in self._values:
            return self._owner.empty()
        return self._owner.read(self._values[key][1], known, ignored)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_plain and node.value in _NULL
