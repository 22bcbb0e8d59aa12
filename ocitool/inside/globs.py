"""Patterns for paths inside an image, read as `.gitignore` reads them."""

import fnmatch
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


def _end_of_set(text: str, at: int) -> int:
    """Return where the set ends that begins at a bracket, -1 if it does not end.

    A closing bracket right after the opening one, or after the sign for "not", is in the set.
    """
    return text.find("]", at + (3 if text[at + 1 : at + 2] in ("!", "^") else 2))


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
        elif letter == "[" and (end := _end_of_set(text, at)) > 0:
            is_not = text[at + 1] in "!^"
            letters = text[at + 2 if is_not else at + 1 : end]
            yield f"(?!/){fnmatch.translate(f'[!{letters}]' if is_not else f'[{letters}]')[:-2]}"
            at = end + 1
        else:
            yield {"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter)
            at += 1
