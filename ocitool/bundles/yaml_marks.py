"""YAML as nodes that know their line, for files in which a user writes what is to be done.

A value keeps the text that was written: `3.10` is no number here. The tree is made of the parser's
events; an alias is a link to the node that it means, so that a small text is a small tree.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

DEEPEST: Final = 64
MOST_VALUES: Final = 1_000_000
MOST_MERGED: Final = 10_000
_MERGE: Final = "<<"


class Scalar(Struct, eq=False):
    """A text as it was written, without its quotes; `is_plain` if it had none."""

    value: str
    line: int
    is_plain: bool = True


class Items(Struct, eq=False):
    """A sequence."""

    line: int
    items: "list[Node]"


class Fields(Struct, eq=False):
    """A mapping: its keys with their values, in their order."""

    line: int
    entries: "list[tuple[Scalar, Node]]"


Node: TypeAlias = Scalar | Items | Fields


def parse_yaml(text: str, what: str) -> Node | None:
    """Return the root of the one document of a text; None for an empty one.

    UsageError, with `what` and the line, for what is no YAML, for several documents, and for more
    than DEEPEST levels or MOST_VALUES values.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(what)
    try:
        for event in yaml.parse(text.removeprefix("\ufeff"), Loader=loader):
            builder.take(event)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = mark.line + 1 if mark is not None else 1
        raise UsageError(f"{what}:{line}: this is not YAML: {problem}") from None
    return builder.root


class _Builder:
    """Makes nodes of events."""

    def __init__(self, what: str) -> None:
        self.root: Node | None = None
        self._what = what
        self._open: list[Items | Fields] = []
        self._keys: list[Scalar | None] = []
        self._anchors: dict[str, Node] = {}
        self._documents = self._values = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        kind = type(event).__name__.removesuffix("Event")
        line = event.start_mark.line + 1
        self._values += 1
        if self._values > MOST_VALUES:
            raise UsageError(f"{self._what} has more than {MOST_VALUES} values")
        if kind == "Scalar":
            self._place(self._anchored(Scalar(event.value, line, not event.style), event))
        elif kind == "Alias":
            self._alias(event, line)
        elif kind in ("MappingStart", "SequenceStart"):
            self._begin(event, Fields(line, []) if kind == "MappingStart" else Items(line, []))
        elif kind in ("MappingEnd", "SequenceEnd"):
            self._open.pop()
            self._keys.pop()
        elif kind == "DocumentStart":
            self._documents += 1
            if self._documents > 1:
                raise UsageError(f"{self._what}:{line}: a second document begins here")

    def _begin(self, event: Any, node: Items | Fields) -> None:
        if len(self._open) >= DEEPEST:
            raise UsageError(f"{self._what}:{node.line} is more than {DEEPEST} levels deep")
        self._place(self._anchored(node, event))
        self._open.append(node)
        self._keys.append(None)

    def _anchored(self, node: Node, event: Any) -> Node:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, line: int) -> None:
        node = self._anchors.get(event.anchor)
        # A node that is open yet would hold itself.
        if node is None or any(node is one for one in self._open):
            raise UsageError(f"{self._what}:{line}: {quoted(event.anchor)} is no anchor above")
        self._place(node)

    def _place(self, node: Node) -> None:
        """Put a node where it belongs: as the root, as an item, as a key or as the value of one."""
        if not self._open:
            self.root = node
            return
        into = self._open[-1]
        if isinstance(into, Items):
            into.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            if not isinstance(node, Scalar):
                raise UsageError(f"{self._what}:{node.line}: a key has to be a text")
            self._keys[-1] = node
            return
        into.entries.append((key, node))
        self._keys[-1] = None


def merged_entries(fields: Fields, what: str) -> Iterator[tuple[Scalar, Node]]:
    """Yield the entries of a mapping, each key once: its own, then those that `<<` brings in.

    UsageError for a key that stands there twice, and for `<<` of anything but mappings.
    """
    own: set[str] = set()
    for key, value in fields.entries:
        if key.value == _MERGE and key.is_plain:
            continue
        if key.value in own:
            raise UsageError(f"{what}:{key.line}: {quoted(key.value)} stands here twice")
        own.add(key.value)
        yield key, value
    for key, value in _merged(fields, what):
        if key.value not in own:
            own.add(key.value)
            yield key, value


def _merged(fields: Fields, what: str) -> Iterator[tuple[Scalar, Node]]:
    """Yield what `<<` brings in, the nearest first; each mapping is looked at once."""
    waiting, seen = [fields], {id(fields)}
    while waiting:
        here = waiting.pop(0)
        if here is not fields:
            yield from ((key, value) for key, value in here.entries if key.value != _MERGE)
        for key, value in here.entries:
            if key.value != _MERGE or not key.is_plain:
                continue
            for one in value.items if isinstance(value, Items) else [value]:
                if not isinstance(one, Fields):
                    raise UsageError(f"{what}:{key.line}: << takes mappings")
                if id(one) not in seen and len(seen) < MOST_MERGED:
                    seen.add(id(one))
                    waiting.append(one)
