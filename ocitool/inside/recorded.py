"""One step of the history as a line of a Dockerfile, and what in it is a guess.

Builders do not record the line: docker writes lists in the notation of Go, drops quotes, and names
the files of COPY by their checksum (I23).
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from ocitool.image.instructions import Builder, Step
from ocitool.inside.settings import (
    Setting,
    Settings,
    exec_form,
    healthcheck_words,
    line_for,
)
from ocitool.oci.runtime import Healthcheck

_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LIST: Final = re.compile(r'\[(?:"(?:[^"\\]|\\.)*"[ ,]*)*\]')
_NEXT_PAIR: Final = re.compile(r"\s+(?=[A-Za-z_][\w.\-/]*=)")
_CHECK: Final = re.compile(r"&\{(\[.*\]) ((?:\"[^\"]*\" ){2,4})'(.+)'\}", re.DOTALL)
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|µs|us|ns|m|s)")
_NANOSECONDS: Final = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "µs": 1_000,
    "us": 1_000,
    "ns": 1,
}
_MOST_WORDS: Final = 200
_LONGEST: Final = 100_000
"""Letters of a step that is looked at one by one; longer ones are only found in hostile images."""
_GO_ESCAPES: Final = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_UNKNOWN_SOURCE: Final = re.compile(
    # Docker forgets the space between its flags and the checksum.
    r"((?:--\S+ +)*?(?:--\S+?)?)(?: *)(?:file|dir|multi):[0-9a-f]{64} in +(.*)"
    r"|((?:--\S+ +)*)(?:tarsum\.v1\+\w+:)?[0-9a-f]{64} in +(.*)",
    re.DOTALL,
)
_FLAG: Final = re.compile(r"(?:--\S+ +)*")
_JOINED: Final = re.compile(r"[ ]*\t\s*|[ ]{2,}")

WORDS_ARE_LOST = "where its words end is not recorded"
QUOTES_ARE_LOST = "its quotes are not recorded"
STAGE_IS_LOST = "whether --from was given is not recorded"
SCRIPT_IS_LOST = "the script is not recorded"
ARGUMENTS_ARE_LOST = "its build arguments cannot be told apart"


class Wording(Struct, frozen=True, kw_only=True):
    """An instruction as it could stand in a Dockerfile, maybe of several lines.

    `guess` says what in it is not known for certain, "" if everything is. `sets` are the fields of
    the configuration that it sets; `sets_any` that it may set any of its keyword. `copies_to` is
    the destination of an ADD or COPY whose sources are unknown; `text` then ends where they are to
    be written.
    """

    text: str
    guess: str = ""
    sets: Mapping[str, Setting] = field(default_factory=dict)
    sets_any: bool = False
    copies_to: str | None = None


def wording(step: Step, known: Settings) -> Wording:
    """Return the line for a step that has a keyword.

    `known` are the settings of the finished image: they tell where words begin that the history
    runs together.
    """
    if step.keyword in ("ADD", "COPY"):
        return _copy(step)
    if step.keyword == "RUN":
        return _run(step)
    text = f"{step.keyword} {step.words}".rstrip()
    if step.builder is Builder.OTHER:
        return Wording(text=text, sets_any=True)
    writer = _WRITERS.get(step.keyword)
    return writer(step.words, known) if writer is not None else Wording(text=text)


def _copy(step: Step) -> Wording:
    unknown = _UNKNOWN_SOURCE.fullmatch(step.words)
    if unknown is not None:
        flags, destination = unknown[1] or unknown[3] or "", unknown[2] or unknown[4] or ""
        return Wording(text=f"{step.keyword} {flags}".rstrip(), copies_to=destination.strip())
    text = f"{step.keyword} {step.words}"
    if step.builder is not Builder.BUILDKIT:
        return Wording(text=text)
    flags = _FLAG.match(step.words)
    options = flags[0] if flags is not None else ""
    sources = step.words[len(options) :].split()
    if any(source.startswith("<<") for source in sources):
        return Wording(text=f"{step.keyword} {options}".rstrip(), copies_to=sources[-1])
    return Wording(text=text, guess=STAGE_IS_LOST if step.keyword == "COPY" else "")


def _run(step: Step) -> Wording:
    guess = "" if step.has_all_arguments else ARGUMENTS_ARE_LOST
    if step.builder is Builder.OTHER or step.has_shell:
        return Wording(text=f"RUN {_laid_out(step.words)}", guess=guess)
    if step.words.startswith("/dev/pipes/"):
        return Wording(text=f"RUN <<{step.words.rpartition('/')[2]}", guess=SCRIPT_IS_LOST)
    return Wording(text=f"RUN {exec_form(step.words.split())}", guess=guess or WORDS_ARE_LOST)


def _laid_out(command: str) -> str:
    """Return a command with the line breaks that its spaces are left of, or as a here-document.

    A line break of the Dockerfile leaves the indentation of the next line; one of the command
    itself can only come from a here-document.
    """
    if "\n" not in command.replace("\\\n", ""):
        return "".join(_broken(command)) if len(command) <= _LONGEST else command
    first, *rest = command.split("\n")
    named = re.search(r"<<-?[\"']?(\w+)", first)
    if named is not None and named[1] in rest:
        return command
    end = "EOF"
    while end in command.split("\n"):
        end += "_"
    return f"<<{end}\n{command}\n{end}"


def _broken(command: str) -> list[str]:
    """Return the parts of a command, broken where several spaces stand outside of quotes."""
    parts, quote, at = [], "", 0
    while at < len(command):
        letter = command[at]
        joined = None if quote else _JOINED.match(command, at)
        if joined is not None:
            parts.append(" \\\n    ")
            at = joined.end()
            continue
        if letter == "\\" and quote != "'":
            letter = command[at : at + 2]
        elif letter in ('"', "'"):
            quote = "" if quote == letter else quote or letter
        parts.append(letter)
        at += len(letter)
    return parts


def _command(keyword: str) -> "Writer":
    """Return a writer for CMD and ENTRYPOINT, whose words Go quotes and separates by spaces."""

    def write(words: str, known: Settings) -> Wording:
        found = go_list(words)
        if found is None:
            value = known.get(keyword.lower())
            # Buildah keeps what is run by a shell as it is; docker writes a list for it too.
            is_witnessed = isinstance(value, tuple) and value[-1] == words
            return Wording(
                text=f"{keyword} {words}",
                guess=WORDS_ARE_LOST if words.startswith("[") else "",
                sets={keyword.lower(): value} if is_witnessed and value else {},
            )
        command = tuple(found)
        return Wording(text=f"{keyword} {exec_form(found)}", sets={keyword.lower(): command})

    return write


def _pairs(keyword: str, prefix: str) -> "Writer":
    """Return a writer for ENV and LABEL: docker drops their quotes, buildah keeps the line."""

    def write(words: str, known: Settings) -> Wording:
        each = [words] if _is_pair(words, prefix, known) else _NEXT_PAIR.split(words)
        sets: dict[str, Setting] = {}
        for text in each:
            name, _, value = text.partition("=")
            sets[f"{prefix}.{name}"] = value
        is_witnessed = all(known.get(field) == value for field, value in sets.items())
        whole = None if is_witnessed else _as_written(words, prefix, known)
        if whole is not None:
            sets, is_witnessed = whole, True
        lines = [line_for(field, value).partition(" ")[2] for field, value in sets.items()]
        # For values that need quotes, the image itself is the only witness.
        certain = is_witnessed or not re.search(r"[\s\"'$\\]", "".join(map(str, sets.values())))
        guess = "" if certain else QUOTES_ARE_LOST
        return Wording(text=f"{keyword} {' '.join(lines)}", guess=guess, sets=sets)

    return write


def _is_pair(text: str, prefix: str, known: Settings) -> bool:
    name, _, value = text.partition("=")
    return known.get(f"{prefix}.{name}") == value


def _as_written(words: str, prefix: str, known: Settings) -> dict[str, Setting] | None:
    """Return what a line set if it was written like this, with quotes and variables.

    None if the image has other values, or the line cannot be read so. What variables stood for is
    known from the image alone.
    """
    try:
        tokens = shlex.split(words[:_LONGEST])
    except ValueError:
        return None
    found: dict[str, Setting] = {}
    for token in tokens:
        name, is_pair, value = token.partition("=")
        field = f"{prefix}.{name}"
        if not is_pair or field not in known or (known[field] != value and "$" not in value):
            return None
        found[field] = known[field]
    return found


def _entries(keyword: str, prefix: str) -> "Writer":
    """Return a writer for EXPOSE and VOLUME, whose entries Go writes as a list or a map."""

    def write(words: str, known: Settings) -> Wording:
        inner = re.fullmatch(r"(?:map)?\[(.*)\]", words, re.DOTALL)
        whole = (words if inner is None else inner[1]).split(" ")
        texts = [re.sub(r":\{\}$", "", text) for text in whole if text]
        witnessed = _put_together(texts, lambda text: f"{prefix}.{text}" in known)
        listed = go_list(words)
        found = listed or witnessed or texts
        certain = inner is None or len(texts) < 2 or (listed or witnessed) is not None
        if keyword == "VOLUME" and (len(found) > 1 or any(" " in one for one in found)):
            text = exec_form(found)
        else:
            text = " ".join(found)
        sets: dict[str, Setting] = {}
        for entry in found:
            field = entry if keyword == "VOLUME" or "/" in entry else f"{entry}/tcp"
            sets[f"{prefix}.{field}"] = field
        guess = "" if certain else WORDS_ARE_LOST
        return Wording(text=f"{keyword} {text}", guess=guess, sets=sets)

    return write


def _put_together(words: Sequence[str], is_known: Callable[[str], bool]) -> list[str] | None:
    """Return known entries that the words make one after the other; None if there are none."""
    reached: dict[int, list[str]] = {0: []}
    for end in range(1, min(len(words), _MOST_WORDS) + 1):
        for begin in range(end):
            entry = " ".join(words[begin:end])
            if begin in reached and is_known(entry):
                reached[end] = [*reached[begin], entry]
                break
    return reached.get(len(words))


def _shell(words: str, known: Settings) -> Wording:
    inner = words.removeprefix("[").removesuffix("]")
    final = known.get("shell")
    if isinstance(final, tuple) and inner == " ".join(final):
        return Wording(text=f"SHELL {exec_form(final)}", sets={"shell": final})
    found = go_list(words)
    shell = tuple(found if found is not None else inner.split())
    guess = WORDS_ARE_LOST if found is None else ""
    return Wording(text=f"SHELL {exec_form(shell)}", guess=guess, sets={"shell": shell})


def _healthcheck(words: str, _: Settings) -> Wording:
    check = _go_healthcheck(words)
    if check is not None:
        words = healthcheck_words(check)
    guess = WORDS_ARE_LOST if words.startswith("&{") else ""
    return Wording(text=f"HEALTHCHECK {words}", guess=guess, sets={"healthcheck": words})


def _one(keyword: str, name: str) -> "Writer":
    """Return a writer for an instruction of one value."""
    return lambda words, _: Wording(text=f"{keyword} {words}", sets={name: words})


def _on_build(words: str, _: Settings) -> Wording:
    return Wording(text=f"ONBUILD {words}", sets={f"on_build.{words}": words})


def go_list(text: str) -> list[str] | None:
    """Return the words of a list as Go's %q or JSON writes it; None for anything else."""
    if not _LIST.fullmatch(text):
        return None
    try:
        # JSON knows all escapes that occur in a command but those of control characters.
        return [json.loads(word, strict=False) for word in _WORD.findall(text)]
    except ValueError:
        return None


def _go_healthcheck(words: str) -> Healthcheck | None:
    """Read docker's note of a health check: &{["CMD" "x"] "30s" "0s" "0s" '\\x03'}."""
    match = _CHECK.fullmatch(words)
    test = go_list(match[1]) if match is not None else None
    if match is None or test is None:
        return None
    times = [_nanoseconds(time) for time in re.findall(r'"([^"]*)"', match[2])]
    interval, timeout, start_period, start_interval = [*times, 0, 0][:4]
    return Healthcheck(
        test=tuple(test),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_go_letter(match[3]),
    )


def _nanoseconds(text: str) -> int:
    return round(sum(float(count) * _NANOSECONDS[unit] for count, unit in _TIME.findall(text)))


def _go_letter(text: str) -> int:
    r"""Return the number that Go wrote as a letter: \x03, \t, or a digit's own code."""
    if len(text) == 1:
        return ord(text)
    escape, digits = text[1:2], text[2:]
    if escape in ("x", "u", "U") and re.fullmatch("[0-9a-f]+", digits):
        return int(digits, 16)
    return _GO_ESCAPES.get(escape, ord(escape or "\0"))


Writer = Callable[[str, Settings], Wording]
_WRITERS: Final[Mapping[str, Writer]] = {
    "CMD": _command("CMD"),
    "ENTRYPOINT": _command("ENTRYPOINT"),
    "ENV": _pairs("ENV", "env"),
    "LABEL": _pairs("LABEL", "labels"),
    "EXPOSE": _entries("EXPOSE", "exposed_ports"),
    "VOLUME": _entries("VOLUME", "volumes"),
    "SHELL": _shell,
    "HEALTHCHECK": _healthcheck,
    "USER": _one("USER", "user"),
    "WORKDIR": _one("WORKDIR", "working_dir"),
    "STOPSIGNAL": _one("STOPSIGNAL", "stop_signal"),
    "ONBUILD": _on_build,
}
