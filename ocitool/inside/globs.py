"""Patterns for paths inside an image, read as `.gitignore` reads them."""

import re
from collections.abc import Callable, Iterable

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted


def path_matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path, or a folder that it is in, fits any pattern.

    `*`, `?` and `[…]` stay within one name, `**` goes across folders. A pattern without a slash
    before its end fits a name in any folder, any other only from the root. UsageError for an empty
    pattern.
    """
    expressions = [_expression(pattern) for pattern in patterns]
    found = re.compile("|".join(expressions) or r"(?!)", re.DOTALL)
    return lambda path: found.fullmatch(path) is not None


def _expression(pattern: str) -> str:
    text = pattern.strip("/")
    if not text:
        raise UsageError(f"{quoted(pattern)} is not a pattern for paths", hint="try 'etc/**'")
    anchored = pattern.startswith("/") or "/" in text
    start = "" if anchored else "(?:.*/)?"
    return f"{start}{''.join(_parts(text))}(?:/.*)?"


def _parts(text: str) -> Iterable[str]:
    at = 0
    while at < len(text):
        letter = text[at]
        if text.startswith("**/", at):
            yield "(?:.*/)?"
            at += 3
        elif text.startswith("**", at):
            yield ".*"
            at += 2
        elif letter == "[" and (end := text.find("]", at + 2)) > 0:
            inner = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            yield f"(?!/)[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            at = end + 1
        else:
            yield {"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter)
            at += 1
