"""Templates as people type them after --format: the part of Go's text/template that they use.

`{{.Field.Field}}`, pipes, the functions below, `range`, `if`, `else` and `end`; `\\t` and `\\n` are
a tab and a new line, as in docker. A `Record` has fixed fields, and any other is an error; a plain
mapping, such as labels, has "<no value>" for what it lacks.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ocitool.cli.render.console import safe
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_ACTION = re.compile(r"(\s*\{\{-\s|\{\{)(.*?)(\s-\}\}\s*|\}\})", re.DOTALL)
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|[|()]|[^\s|()]+')
_NO_VALUE = "<no value>"

Node = Callable[[object], str]
Expression = Callable[[object], object]


class Record(dict[str, object]):
    """The fields of one thing that is printed; a name that is not among them is a mistake."""


class Template:
    """A template that is ready to be filled. UsageError for one that makes no sense."""

    def __init__(self, text: str) -> None:
        self._nodes, _ = _Parser(text).block(())

    def __call__(self, value: object) -> str:
        """Return the text for a value; what is not of the template itself is made safe."""
        return _filled(self._nodes, value)


def as_json(value: object) -> str:
    """Return a value as one line of JSON, pure ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _filled(nodes: Sequence[Node], value: object) -> str:
    return "".join(node(value) for node in nodes)


class _Parser:
    """Reads a template piece by piece: text and actions take turns."""

    def __init__(self, text: str) -> None:
        self._pieces: list[tuple[str, bool]] = []
        end = 0
        for match in _ACTION.finditer(text):
            self._add(text[end : match.start()])
            self._pieces.append((match[2].strip(), True))
            end = match.end()
        self._add(text[end:])
        self._next = 0

    def _add(self, text: str) -> None:
        if "{{" in text:
            raise _mistake(f"{quoted(text[text.index('{{') :])} is not closed by }}}}")
        self._pieces.append((text.replace("\\t", "\t").replace("\\n", "\n"), False))

    def block(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """Return the nodes up to one of the words that end a block, and that word."""
        nodes: list[Node] = []
        while self._next < len(self._pieces):
            piece, is_action = self._pieces[self._next]
            self._next += 1
            word, _, rest = piece.partition(" ")
            if not is_action:
                nodes.append(partial(_literal, piece))
            elif word in ends:
                return nodes, word
            elif word in _BLOCKS:
                nodes.append(self._nested(word, rest))
            elif not piece.startswith("/*"):
                nodes.append(partial(_printed, _expression(piece)))
        if ends:
            raise _mistake("{{end}} is missing")
        return nodes, ""

    def _nested(self, word: str, rest: str) -> Node:
        chosen = _expression(rest)
        inner, end = self.block(("else", "end"))
        other: list[Node] = []
        if end == "else":
            other, _ = self.block(("end",))
        return partial(_BLOCKS[word], chosen, inner, other)


def _literal(text: str, _value: object) -> str:
    return text


def _printed(expression: Expression, value: object) -> str:
    return _shown(expression(value))


def _range(chosen: Expression, inner: list[Node], other: list[Node], value: object) -> str:
    found = chosen(value)
    items = list(found.values()) if isinstance(found, Mapping) else found
    if not isinstance(items, list | tuple) or not items:
        return _filled(other, value)
    return "".join(_filled(inner, item) for item in items)


def _if(chosen: Expression, inner: list[Node], other: list[Node], value: object) -> str:
    return _filled(inner if chosen(value) else other, value)


_BLOCKS = {"range": _range, "if": _if}


def _shown(value: object) -> str:
    """Return a value as Go prints it."""
    if value is None:
        return _NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{safe(k)}:{_shown(v)}' for k, v in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_shown, value))}]"
    return (
        "\n".join(map(safe, str(value).split("\n"))) if type(value) is _Safe else safe(str(value))
    )


class _Safe(str):
    """Text in which new lines are meant, and whose parts are safe."""

    __slots__ = ()


def _expression(text: str) -> Expression:
    tokens = _TOKEN.findall(text)
    if not tokens:
        raise _mistake("{{}} is empty")
    expression, rest = _pipe(tokens)
    if rest:
        raise _mistake(f"{quoted(rest[0])} stands where nothing is expected")
    return expression


def _pipe(tokens: list[str]) -> tuple[Expression, list[str]]:
    """Return what the tokens up to a closing parenthesis mean, and the tokens behind."""
    expression: Expression | None = None
    while True:
        terms: list[Expression] = []
        function = tokens[0] if tokens and tokens[0] in _FUNCTIONS else None
        tokens = tokens[1:] if function else tokens
        while tokens and tokens[0] not in ("|", ")"):
            term, tokens = _term(tokens)
            terms.append(term)
        expression = _command(function, terms, expression)
        if not tokens or tokens[0] == ")":
            return expression, tokens
        tokens = tokens[1:]


def _command(function: str | None, terms: list[Expression], piped: Expression | None) -> Expression:
    arguments = [*terms, *([piped] if piped is not None else [])]
    if function is None:
        if len(arguments) != 1:
            raise _mistake("a value stands alone, or behind a function")
        return arguments[0]
    return partial(_call, function, arguments)


def _call(name: str, arguments: list[Expression], value: object) -> object:
    try:
        return _FUNCTIONS[name](*(argument(value) for argument in arguments))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise _mistake(f"{name} does not fit its arguments") from error


def _term(tokens: list[str]) -> tuple[Expression, list[str]]:
    word, rest = tokens[0], tokens[1:]
    if word == "(":
        expression, behind = _pipe(rest)
        if not behind:
            raise _mistake("a parenthesis is not closed")
        return expression, behind[1:]
    if word[0] in '"`':
        text = word[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")
        return lambda _value: text, rest
    if word.lstrip("-").isdigit():
        number = int(word)
        return lambda _value: number, rest
    if word.startswith("."):
        return partial(_field, word.strip(".").split(".") if word != "." else []), rest
    names = ", ".join(_FUNCTIONS)
    raise _mistake(f"{quoted(word)} is not a field or a function", f"the functions are {names}")


def _field(path: list[str], value: object) -> object:
    for name in path:
        if isinstance(value, Record) and name not in value:
            raise _mistake(f"there is no field .{name}", f"there is .{', .'.join(value)}")
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(str(key), "")
        elif isinstance(value, list | tuple) and isinstance(key, int):
            value = value[key]
    return value


def _mistake(text: str, hint: str | None = None) -> UsageError:
    usual = "write for example '{{.ID}}', 'table {{.ID}}\\t{{.Size}}' or json"
    return UsageError(f"--format: {text}", hint=hint or usual)


_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "json": as_json,
    "join": lambda items, separator: _Safe(str(separator).join(map(_shown, items))),
    "split": lambda text, separator: str(text).split(str(separator)),
    "index": _index,
    "len": len,
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "title": lambda text: str(text).title(),
    "truncate": lambda text, length: str(text)[:length],
    "print": lambda *values: "".join(map(_shown, values)),
    "println": lambda *values: _Safe(" ".join(map(_shown, values)) + "\n"),
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
    "not": lambda value: not value,
}
