"""Instructions of a Dockerfile that change a configuration and make no layer.

Those that `docker commit --change` takes, with docker's grammar: words with quotes and backslashes,
`$NAME` and `${NAME}` from the environment of the image, and JSON arrays for commands.
"""

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci.members import CONFIG_ORDER, RUNTIME_ORDER, put
from ocitool.oci.quoting import quoted

_SHELL = ["/bin/sh", "-c"]
_VARIABLE = re.compile(
    r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}$]*))?\})"
)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_LAST_PORT = 65535
_ESCAPED = {'"': '"$\\', "'": ""}
"""What a backslash escapes between such quotes; elsewhere it escapes everything."""

Fields = dict[str, object]


class Instruction(Struct, frozen=True):
    """A keyword such as CMD, and what follows it."""

    keyword: str
    text: str


def parse_instruction(line: str) -> Instruction:
    """Read an instruction such as `CMD ["sh"]`; UsageError for one that cannot be used here."""
    keyword, _, text = line.strip().partition(" ")
    found = Instruction(keyword.upper(), text.strip())
    if found.keyword not in _APPLY:
        raise UsageError(
            f"{quoted(line)} is not an instruction that changes a configuration",
            hint=f"use one of {' '.join(sorted(_APPLY))}",
        )
    if not found.text:
        raise UsageError(f"{found.keyword} needs a value")
    return found


def apply_instructions(fields: Fields, instructions: Sequence[Instruction]) -> None:
    """Change the members of an image's configuration, one instruction after the other.

    An ENTRYPOINT clears the command of the image, unless a CMD came before it here.
    """
    if not instructions:
        return
    runtime = dict(cast("Fields", fields.get("config") or {}))
    sets_command = False
    for one in instructions:
        sets_command |= one.keyword == "CMD"
        _APPLY[one.keyword](runtime, one)
        if one.keyword == "ENTRYPOINT" and not sets_command:
            runtime.pop("Cmd", None)
    put(fields, "config", runtime, CONFIG_ORDER)


def _command(runtime: Fields, one: Instruction) -> None:
    key = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}[one.keyword]
    words = _json_words(one.text)
    if words is None:
        shell = cast("list[str]", runtime.get("Shell") or _SHELL)
        words = [*shell, one.text]
    put(runtime, key, words, RUNTIME_ORDER)


def _environment(runtime: Fields, one: Instruction) -> None:
    lines = cast("list[str]", runtime.get("Env") or [])
    for name, value in _pairs(one, lines):
        new = f"{name}={value}"
        at = next((n for n, line in enumerate(lines) if line.partition("=")[0] == name), None)
        lines = [*lines, new] if at is None else [*lines[:at], new, *lines[at + 1 :]]
    put(runtime, "Env", lines, RUNTIME_ORDER)


def _labels(runtime: Fields, one: Instruction) -> None:
    labels = cast("dict[str, str]", runtime.get("Labels") or {})
    put(runtime, "Labels", {**labels, **dict(_pairs(one, _variables(runtime)))}, RUNTIME_ORDER)


def _ports(runtime: Fields, one: Instruction) -> None:
    ports = dict(cast("Fields", runtime.get("ExposedPorts") or {}))
    for part in one.text.split():
        for word in _words(part, _variables(runtime)):
            match = _PORT.fullmatch(word)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if match is None or not first <= last <= _LAST_PORT:
                raise UsageError(f"{quoted(word)} is not a port", hint="write 80, 80/udp or 80-90")
            for port in range(first, last + 1):
                ports[f"{port}/{match[3] or 'tcp'}"] = {}
    put(runtime, "ExposedPorts", ports, RUNTIME_ORDER)


def _volumes(runtime: Fields, one: Instruction) -> None:
    words = _json_words(one.text)
    if words is None:
        words = [w for part in one.text.split() for w in _words(part, _variables(runtime))]
    volumes = cast("Fields", runtime.get("Volumes") or {})
    put(runtime, "Volumes", {**volumes, **{word: {} for word in words}}, RUNTIME_ORDER)


def _on_build(runtime: Fields, one: Instruction) -> None:
    triggers = cast("list[str]", runtime.get("OnBuild") or [])
    put(runtime, "OnBuild", [*triggers, one.text], RUNTIME_ORDER)


def _user(runtime: Fields, one: Instruction) -> None:
    put(runtime, "User", _word(runtime, one), RUNTIME_ORDER)


def _stop_signal(runtime: Fields, one: Instruction) -> None:
    put(runtime, "StopSignal", _word(runtime, one), RUNTIME_ORDER)


def _folder(runtime: Fields, one: Instruction) -> None:
    before = str(runtime.get("WorkingDir") or "/")
    path = posixpath.normpath(posixpath.join("/", before, _word(runtime, one)))
    put(runtime, "WorkingDir", path, RUNTIME_ORDER)


_APPLY: Mapping[str, Callable[[Fields, Instruction], None]] = {
    "CMD": _command,
    "ENTRYPOINT": _command,
    "ENV": _environment,
    "EXPOSE": _ports,
    "LABEL": _labels,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volumes,
    "WORKDIR": _folder,
}


def _variables(runtime: Fields) -> list[str]:
    return cast("list[str]", runtime.get("Env") or [])


def _json_words(text: str) -> list[str] | None:
    """Return the words of a JSON array of strings; None for another text."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if all(isinstance(word, str) for word in words) else None


def _word(runtime: Fields, one: Instruction) -> str:
    words = _words(one.text, _variables(runtime))
    if len(words) != 1:
        raise UsageError(f"{one.keyword} takes one word, not {quoted(one.text)}")
    return words[0]


def _pairs(one: Instruction, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and values of `A=1 B="2 3"`, or of the old form `A 1 and all the rest`."""
    words = _words(one.text, lines)
    if words and "=" not in one.text.split()[0]:
        name, _, rest = one.text.partition(" ")
        if not rest.strip():
            raise UsageError(f"{one.keyword} {quoted(name)} has no value", hint="write NAME=VALUE")
        return [(name, _expanded(rest.strip(), lines))]
    pairs = [word.partition("=") for word in words]
    for name, sign, _ in pairs:
        if not (name and sign):
            raise UsageError(f"{quoted(name)} has no value", hint="write NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


def _words(text: str, lines: Sequence[str]) -> list[str]:
    """Split as a shell does; what is not in single quotes has its variables filled in."""
    words: list[str] = []
    current: list[str] | None = None
    quote = ""
    at = 0
    while at < len(text):
        letter, at = text[at], at + 1
        if letter.isspace() and not quote:
            words += ["".join(current)] if current is not None else []
            current = None
            continue
        current = [] if current is None else current
        if letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
        elif letter == "\\" and at < len(text) and (not quote or text[at] in _ESCAPED[quote]):
            current.append(text[at])
            at += 1
        elif quote != "'" and (match := _VARIABLE.match(text, at - 1)):
            current.append(_value(match, lines))
            at = match.end()
        else:
            current.append(letter)
    if quote:
        raise UsageError(f"{quoted(text)} has a quote that is not closed")
    return [*words, "".join(current)] if current is not None else words


def _expanded(text: str, lines: Sequence[str]) -> str:
    return _VARIABLE.sub(lambda match: _value(match, lines), text)


def _value(match: re.Match[str], lines: Sequence[str]) -> str:
    """Return the value of a variable; `${X:-w}` is w if X is empty, `${X:+w}` if it is not."""
    name = match[1] or match[2]
    found = next((line.partition("=")[2] for line in lines if line.startswith(f"{name}=")), "")
    if match[3] == "-":
        return found or match[4]
    if match[3] == "+":
        return match[4] if found else ""
    return found
