"""Build steps in the words of a Dockerfile."""

import re
from typing import Final

from ocitool.oci import HistoryEntry

_NOP: Final = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_SHELL: Final = re.compile(r"^(?:\|\d+ .*?)?/bin/sh -c\s+", re.DOTALL)
_BUILDKIT: Final = re.compile(r"\s# buildkit$")


def instruction(created_by: str) -> str:
    """Return a history entry's command in the words of a Dockerfile.

    The classic builder writes `/bin/sh -c …` for RUN and `/bin/sh -c #(nop) CMD …` for other
    instructions, BuildKit writes `RUN /bin/sh -c … # buildkit`.
    """
    text = _BUILDKIT.sub("", created_by.strip()).rstrip()
    if _NOP.match(text):
        return _NOP.sub("", text).strip()
    if text.startswith("RUN "):
        return "RUN " + _SHELL.sub("", text[4:]).strip()
    if _SHELL.match(text):
        return "RUN " + _SHELL.sub("", text).strip()
    return text


def step_words(step: HistoryEntry) -> str:
    """Return a step's instruction, or its comment in brackets when it has none."""
    return instruction(step.created_by) or (f"({step.comment})" if step.comment else "")
