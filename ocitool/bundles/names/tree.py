"""YAML and JSON as trees of what can name an image, each value with its place in the text.

The tree is made of the parser's events: an alias is a link to the node that it means, and never a
copy, so that a small text is a small tree. What can name no image is left out.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from ocitool.bundles.lock import NAME_ANNOTATION
from ocitool.bundles.names.candidates import may_be_image
from ocitool.bundles.names.found import unrendered
from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from yaml import YAMLError

CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
MERGE: Final = "<<"
_KEYS: Final = frozenset(
    (
        *CONTAINERS,
        *("apiVersion", "kind", "volumes", "image", "reference", "services", "images", "name"),
        *("newName", "newTag", "digest", "annotations", NAME_ANNOTATION, MERGE),
    )
)
"""The keys below which a value matters whatever it is."""

DEEPEST: Final = 500
MOST_EVENTS: Final = 2_000_000
MOST_NODES: Final = 500_000

# In YAML 1.1 these are no characters at all, or end a line.
_NO_YAML = re.compile(
    "[^\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_JSON_ESCAPE = re.compile(r"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)


class Scalar(Struct, eq=False):
    """A text: its value, the characters that it takes, and how it is quoted: `'`, `"`, `|`, `>`.

    They begin with its tag and its anchor, if it has any.
    """

    value: str
    start: int
    end: int
    style: str


class Items(Struct, eq=False):
    """A sequence."""

    start: int
    items: "list[Node]"


class Entry(Struct, eq=False):
    """A key, where it begins, and its value."""

    key: str
    at: int
    value: "Node"


class Fields(Struct, eq=False):
    """A mapping; `is_flow` when it is written in braces."""

    start: int
    is_flow: bool
    entries: list[Entry]


Node: TypeAlias = Scalar | Items | Fields


def documents(text: str, what: str) -> Iterator[Node]:
    """Yield the root of every document of a text, without those that can name nothing.

    MalformedDocument for what is no YAML, UsageError where it is a template, and LimitExceeded
    for more than DEEPEST levels, MOST_EVENTS values or MOST_NODES that matter.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    # The parser would take the mark for an indentation of the first line.
    plain = text.removeprefix("\ufeff")
    builder = _Builder(what, len(text) - len(plain))
    try:
        for count, event in enumerate(yaml.parse(_without_json_only(plain), Loader=loader)):
            if count > MOST_EVENTS:
                raise LimitExceeded(f"{what} has more than {MOST_EVENTS} values")
            root = builder.take(event)
            if root is not None:
                yield root
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, what) from None


def _without_json_only(text: str) -> str:
    """Return JSON as YAML 1.1, with every character in its place; other text as it is.

    YAML 1.1 refuses tabs between values, some characters, and escaped halves of a character.
    """
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return text
    # In a string a tab is always escaped, so these stand between values.
    return _JSON_ESCAPE.sub(_unescaped_half, _NO_YAML.sub("?", text.replace("\t", " ")))


def _unescaped_half(found: re.Match[str]) -> str:
    return "\\u003f" if len(found[0]) > len(r"\n") else found[0]


def _not_yaml(error: "YAMLError", text: str, what: str) -> Exception:
    mark: Any = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "{{" in text:
        return unrendered(what, text.count("\n", 0, text.index("{{")) + 1)
    if "depth" in problem:
        # The C library has a limit of its own.
        return _too_deep(what, line)
    return MalformedDocument(f"{what}:{line}: this is not YAML: {problem}")


def _too_deep(what: str, line: int) -> LimitExceeded:
    return LimitExceeded(f"{what}:{line} is more than {DEEPEST} levels deep")


class _Open:
    """A collection whose end was not seen yet."""

    def __init__(self, node: Items | Fields, *, is_kept: bool) -> None:
        self.node = node
        self.is_kept = is_kept
        self.key: Scalar | None = None
        self.has_key = False


class _Builder:
    """Makes nodes of events; `take` returns the root of a document when it has ended.

    `skipped` characters stand before what was parsed.
    """

    def __init__(self, what: str, skipped: int) -> None:
        self._what = what
        self._skipped = skipped
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._kept = 0

    def take(self, event: Any) -> Node | None:
        """Take the next event."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            start = event.start_mark.index + self._skipped
            end = event.end_mark.index + self._skipped
            self._add(Scalar(event.value, start, end, event.style or ""), event.anchor)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._begin(event, kind)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._end()
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind == "DocumentEndEvent":
            root, self._root, self._anchors = self._root, None, {}
            return root
        return None

    def _begin(self, event: Any, kind: str) -> None:
        if len(self._open) >= DEEPEST:
            raise _too_deep(self._what, event.start_mark.line + 1)
        start = event.start_mark.index + self._skipped
        node: Items | Fields = (
            Fields(start, bool(event.flow_style), [])
            if kind == "MappingStartEvent"
            else Items(start, [])
        )
        is_kept = event.anchor is not None
        if is_kept:
            self._anchors[event.anchor] = node
        self._open.append(_Open(node, is_kept=is_kept))

    def _end(self) -> None:
        closed = self._open.pop()
        node = closed.node
        has_content = node.entries if isinstance(node, Fields) else node.items
        self._place(node, is_kept=closed.is_kept or bool(has_content))

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            line = event.start_mark.line + 1
            raise MalformedDocument(
                f"{self._what}:{line}: nothing has the anchor {quoted(event.anchor)}"
            )
        self._place(node, is_kept=True)

    def _add(self, scalar: Scalar, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = scalar
        self._place(scalar, is_kept=anchor is not None)

    def _place(self, node: Node, *, is_kept: bool) -> None:
        """Put a node where it belongs: as a key, as the value of one, as an item, as the root."""
        if not self._open:
            self._root = node
            return
        into = self._open[-1]
        if isinstance(into.node, Items):
            if is_kept or (isinstance(node, Scalar) and may_be_image("", node.value)):
                self._keep()
                into.node.items.append(node)
            return
        if not into.has_key:
            into.key, into.has_key = node if isinstance(node, Scalar) else None, True
            return
        key, into.has_key = into.key, False
        if key is not None and (is_kept or _matters(key.value, node)):
            self._keep()
            into.node.entries.append(Entry(key.value, key.start, node))

    def _keep(self) -> None:
        self._kept += 1
        if self._kept > MOST_NODES:
            raise LimitExceeded(f"{self._what} has more than {MOST_NODES} values that may be names")


def _matters(key: str, node: Node) -> bool:
    return key in _KEYS or (isinstance(node, Scalar) and may_be_image(key, node.value))
