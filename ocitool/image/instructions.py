"""Build steps as the history records them, and in the words of a Dockerfile."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ocitool.oci import HistoryEntry

KEYWORDS: Final = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
"""The words that begin an instruction of a Dockerfile."""
POSIX_SHELL: Final = ("/bin/sh", "-c")
_WINDOWS_SHELL: Final = ("cmd", "/S", "/C")
_NOP: Final = re.compile(r"(?:/|cmd |powershell |pwsh )[^\"\n]*?#\(nop\)\s+")
_BUILDKIT: Final = re.compile(r"\s# buildkit$")
_BUILDKIT_COMMENT: Final = "buildkit."
_ARGUMENTS: Final = re.compile(r"\|(\d{1,4}) ")
_COPIED: Final = re.compile(r"\b((?:file|dir|multi):[0-9a-f]{6})[0-9a-f]{58}\b")
_NEXT_ARGUMENT: Final = re.compile(r" (?=[A-Za-z_][A-Za-z0-9_]*=)")


class Builder(StrEnum):
    """Who wrote a history entry, which decides how its text is to be read.

    Docker's classic builder and buildah run every step in a shell. BuildKit writes the words of a
    command with spaces between. All others are taken to keep the line of the Dockerfile.
    """

    CLASSIC = "classic"
    BUILDKIT = "buildkit"
    OTHER = "other"


class Step(Struct, frozen=True, kw_only=True):
    """A history entry, taken apart.

    `keyword` begins the instruction and `words` are the rest of it; without a keyword the entry is
    not an instruction, and `words` is all of it. For RUN the words are what the shell was given if
    `has_shell`, else what was run without one. `arguments` are the build arguments that RUN saw,
    `NAME=value` each; `has_all_arguments` is false where their number is not the recorded one.
    """

    builder: Builder
    keyword: str
    words: str
    has_shell: bool = False
    arguments: tuple[str, ...] = ()
    has_all_arguments: bool = True


def read_step(entry: HistoryEntry, shell: Sequence[str] = POSIX_SHELL) -> Step:
    """Take a history entry apart; `shell` is what RUN used at that step."""
    text = entry.created_by.strip()
    plain = _BUILDKIT.sub("", text).rstrip()
    is_buildkit = plain != text or entry.comment.startswith(_BUILDKIT_COMMENT)
    builder = Builder.BUILDKIT if is_buildkit else Builder.OTHER
    nop = _NOP.match(plain)
    if nop is not None:
        return _split(Builder.CLASSIC, plain[nop.end() :].strip())
    if plain.startswith("RUN "):
        return _run(builder, plain[4:].strip(), shell)
    run = _run(Builder.CLASSIC, plain, shell)
    # Without a shell only the build arguments tell that it is a RUN.
    return run if run.has_shell or run.arguments else _split(builder, plain)


def instruction(created_by: str) -> str:
    """Return a history entry's command in the words of a Dockerfile.

    The classic builder writes `/bin/sh -c …` for RUN and `/bin/sh -c #(nop) CMD …` for other
    instructions, BuildKit writes `RUN /bin/sh -c … # buildkit`.
    """
    step = read_step(HistoryEntry(created_by=created_by))
    return f"{step.keyword} {step.words}".strip()


def shortened(words: str) -> str:
    """Return words in which the classic builder's names of copied files are short.

    Of the 64 digits of a checksum 6 stay, so that the path behind it is seen.
    """
    return _COPIED.sub(r"\1", words)


def step_words(step: HistoryEntry) -> str:
    """Return a step's instruction, or its comment in brackets when it has none."""
    return instruction(step.created_by) or (f"({step.comment})" if step.comment else "")


def _split(builder: Builder, text: str) -> Step:
    keyword, _, words = text.partition(" ")
    if keyword in KEYWORDS:
        return Step(builder=builder, keyword=keyword, words=words.strip())
    return Step(builder=builder, keyword="", words=text)


def _run(builder: Builder, text: str, shell: Sequence[str]) -> Step:
    """Take apart what RUN has behind it: build arguments, a shell, and what the shell was given."""
    recorded = _ARGUMENTS.match(text)
    count = int(recorded[1]) if recorded is not None else 0
    rest = text[recorded.end() :] if recorded is not None else text
    for words in (shell, POSIX_SHELL, _WINDOWS_SHELL):
        prefix = " ".join(words) + " "
        at = f" {rest}".find(f" {prefix}") if count else 0 if rest.startswith(prefix) else -1
        if at >= 0:
            arguments = tuple(_NEXT_ARGUMENT.split(rest[:at].strip())) if count else ()
            return Step(
                builder=builder,
                keyword="RUN",
                words=rest[at + len(prefix) :].strip(),
                has_shell=True,
                arguments=arguments,
                has_all_arguments=len(arguments) == count,
            )
    # The value of the last argument is taken to be one word; where it ends is not recorded.
    parts = _NEXT_ARGUMENT.split(rest, maxsplit=count - 1) if count else [rest]
    last, _, words = parts.pop().partition(" ") if count else ("", "", parts.pop())
    return Step(
        builder=builder,
        keyword="RUN",
        words=words.strip(),
        arguments=(*parts, last) if count else (),
        has_all_arguments=not count,
    )
