"""Secrets in the configuration of an image: variables, labels, and the steps that built it."""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from ocitool.image.instructions import read_step
from ocitool.inside.facts.leaks.assignments import assigned
from ocitool.inside.facts.leaks.finding import Found, is_placeholder
from ocitool.inside.facts.leaks.patterns import known_forms
from ocitool.inside.facts.leaks.programs import passwords_of_programs
from ocitool.inside.facts.leaks.shell import Command, Word, commands
from ocitool.oci import HistoryEntry

_DEEPEST = 3
_RECORDED = ("ENV", "ARG", "LABEL")
_NEXT_PAIR = re.compile(r"\s+(?=[A-Za-z_][\w.-]*=)")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)")
_ASSIGNED = re.compile(r"(?:^|[;&?,\s-])(?P<name>[A-Za-z_][\w.-]*)=")
_KEY = re.compile(
    r"""\\?["'](?P<name>[\w.-]+)\\?["']\s*:\s*\\?(?:"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)\\?"|'(?P<single>[^']*)')""",
    re.DOTALL,
)
_URL = re.compile(r"://(?P<user>[^\s/:@]{0,200})(?::(?P<password>[^\s]{0,400}))?@[\w.\[$-]")
_PORT = re.compile(r"\d{1,5}(/|$)")
_TOKEN = 20
_LITERAL = re.compile(r"\$\((?:echo|printf)\s+(?P<value>[^$`]+)\)")


def secrets_in_pair(name: str, value: str) -> list[Found]:
    """Return the secrets of a variable or a label."""
    word = Word(value, value, value)
    inside = (*known_forms(value), *_keys(word), *_urls(word))
    found = [replace(one, name=name) for one in inside]
    plain = assigned(name, value)
    return _once([*found, *([plain] if plain is not None else [])])


def secrets_in_command(text: str) -> list[Found]:
    """Return the secrets of a build step, or of another command line."""
    return _once((*known_forms(text), *_recorded(text), *_in_shell(text)))


def secrets_in_words(words: Sequence[str]) -> list[Found]:
    """Return the secrets of a command whose words are known."""
    command = Command(tuple(Word(word, word, word) for word in words))
    inside = [one for word in words for one in (*known_forms(word), *_in_shell(word))]
    return _once((*inside, *_in_words(command.words)))


def _recorded(text: str) -> Iterator[Found]:
    """Yield those of ENV, ARG, LABEL and of build arguments, which builders record unquoted."""
    step = read_step(HistoryEntry(created_by=text))
    pairs = list(step.arguments)
    if step.keyword in _RECORDED:
        words = step.words
        if "=" not in words.partition(" ")[0]:
            words = words.replace(" ", "=", 1)
        pairs += _NEXT_PAIR.split(words)
    for pair in pairs:
        name, _, value = pair.partition("=")
        found = assigned(name, value)
        if found is not None:
            yield found


def _in_shell(text: str, depth: int = 0) -> Iterator[Found]:
    before: Command | None = None
    for command in commands(text):
        yield from _in_words(command.words)
        if before is not None and before.is_piped:
            yield from _piped(before, command)
        before = command
        for word in command.words if depth < _DEEPEST else ():
            if word.text != text and any(map(str.isspace, word.text)):
                for found in _in_shell(word.text, depth + 1):
                    yield _written_in(word, found)


def _written_in(word: Word, found: Found) -> Found:
    """Return what was found in a quoted word; if it is not written there, the word is hidden."""
    if found.value in word.raw:
        return found
    return replace(found, spelled=(*found.spelled, word.raw))


def _in_words(words: Sequence[Word]) -> Iterator[Found]:
    for number, word in enumerate(words):
        behind = words[number + 1] if number + 1 < len(words) else None
        option = _OPTION.fullmatch(word.text)
        if option is not None and behind is not None and not behind.text.startswith("-"):
            yield from _named(f"--{option['name']}", behind, "secret option")
        yield from _assignments(word)
        yield from _keys(word)
        yield from _urls(word)
        if word.raw != word.text:
            for found in known_forms(word.text):
                yield _written_in(word, found)
    yield from passwords_of_programs(words)


def _assignments(word: Word) -> Iterator[Found]:
    if word.text.startswith("-") and "=" in word.text:
        yield from _named(word.text.partition("=")[0], word.behind("="), "secret option")
    first = True
    for match in _ASSIGNED.finditer(word.text):
        rest = word.text[match.end() :]
        if first and match.start() == 0 and "=" in word.raw and not word.text.startswith("-"):
            yield from _named(match["name"], word.behind("="), "secret variable")
        else:
            value = re.split(r"[;&,\s]", rest, maxsplit=1)[0]
            yield from _named(match["name"], Word(value, value, value), "secret variable")
        first = False


def _named(name: str, word: Word, kind: str) -> Iterator[Found]:
    literal = _LITERAL.fullmatch(word.text)
    text = literal["value"] if literal is not None else word.text
    found = assigned(name.lstrip("-"), text)
    if found is not None:
        spelled = () if found.value in word.raw else (word.raw,)
        wide = (word.wide,) if word.wide != word.raw else ()
        yield Found(
            kind=kind,
            value=found.value,
            name=f"--{found.name}" if kind == "secret option" else found.name,
            spelled=(*spelled, *wide),
        )


def _keys(word: Word) -> Iterator[Found]:
    """Yield those of objects in JSON."""
    for match in _KEY.finditer(word.text):
        value = match["double"] or match["single"] or ""
        found = assigned(match["name"], value)
        if found is not None:
            yield _written_in(word, found)


def _urls(word: Word) -> Iterator[Found]:
    """Yield passwords of URLs up to the last "@", and tokens in place of a user's name."""
    for match in _URL.finditer(word.text):
        value, user = match["password"], match["user"]
        if value is None:
            value = user if len(user) >= _TOKEN and any(map(str.isdigit, user)) else ""
        if len(value) >= 3 and not is_placeholder(value) and not _PORT.match(value):
            yield _written_in(word, Found(kind="password in a URL", value=value))


def _piped(source: Command, target: Command) -> Iterator[Found]:
    """Yield what is echoed into a command that reads a password."""
    texts = {word.text.rpartition("/")[2] for word in target.words}
    names = [word.text for word in source.words]
    begin = next((at for at, name in enumerate(names) if name in ("echo", "printf")), None)
    if begin is None or not texts & {"--password-stdin", "chpasswd"}:
        return
    said = [word for word in source.words[begin + 1 :] if not word.text.startswith(("-", "%"))]
    value, name = " ".join(word.text for word in said), "--password-stdin"
    if "chpasswd" in texts:
        name, _, value = value.partition(":")
    value = value.strip().removesuffix("\\n")
    if len(value) >= 3 and not is_placeholder(value):
        spelled = tuple(word.raw for word in said if word.raw != word.text)
        written = any(value in word.raw for word in said)
        yield Found(
            kind="password in a command",
            value=value,
            name=name,
            spelled=() if written else spelled,
        )


def _once(found: Iterable[Found]) -> list[Found]:
    """Return each secret once; none that is a part of another."""
    kept: dict[str, Found] = {}
    for one in found:
        before = kept.setdefault(one.value, one)
        if before is not one and set(one.spelled) - set(before.spelled):
            spelled = tuple(dict.fromkeys((*before.spelled, *one.spelled)))
            kept[one.value] = replace(before, spelled=spelled)
    return [
        one
        for value, one in kept.items()
        if not any(value in other and value != other for other in kept)
    ]
