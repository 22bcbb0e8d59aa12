"""Lines and columns of a text, and lists of names, one a line."""

import bisect
import re
from collections.abc import Iterator

from ocitool.bundles.names.found import NamedImage, Span
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

LARGEST = 16 << 20
"""Bytes of a file that names images."""

_BREAK = re.compile(r"\r\n?|\n")
_BYTE_ORDER_MARK = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_SPACE = re.compile(r"\s")
_PATH = re.compile(r"[./~]|(oci|oci-archive|docker-archive|dir):")
# A name has no space behind its colons, and begins with a letter, a digit or a bracket.
_YAML = re.compile(r"---|\.\.\.|%|-(\s|$)|[{\"'&*!|>?]|\[(?![0-9a-fA-F:]*\])|.*(:(\s|$)|\{\{)")


def text_of(data: bytes, what: str) -> str:
    """Return the text of a file that names images; a byte order mark stays in it.

    UsageError for what is not UTF-8, and for more than LARGEST bytes.
    """
    if len(data) > LARGEST:
        raise UsageError(f"{what} is larger than {LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        hint = "write it as UTF-8"
        if data.startswith(_UTF16):
            hint = "it is UTF-16, as PowerShell writes it; save it as UTF-8"
        elif _is_archive(data):
            hint = f"it is an archive: name it as a source, ./{what}, and not as a list"
        raise UsageError(f"{what} is not UTF-8 text", hint=hint) from None


def _is_archive(data: bytes) -> bool:
    """Tell whether data begins like a tar, or like a compressed file."""
    return data[257:262] == b"ustar" or data.startswith(_COMPRESSED)


class Lines:
    """Where the lines of a text begin, to tell the line and the column of a character."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]
        # A mark at the beginning is no character of the first line.
        self._mark = text.startswith(_BYTE_ORDER_MARK)

    def place(self, position: int) -> tuple[int, int]:
        """Return the line and the column of a character; both count from 1."""
        line = bisect.bisect_right(self._starts, position)
        column = position - self._starts[line - 1] + 1
        return line, column - (self._mark and line == 1)


def names_in_list(text: str, what: str) -> Iterator[NamedImage]:
    """Yield the names of a list: one a line; `#` begins a comment, blank lines are left out.

    UsageError for a line with several names; a path may have spaces in it.
    """
    for number, (start, line) in enumerate(_lines(text), 1):
        name = _entry(line)
        if name:
            if _SPACE.search(name) and not _PATH.match(name):
                raise UsageError(
                    f"{what}:{number}: {quoted(name)} is not one name",
                    hint="write one name a line; # begins a comment",
                )
            mark = line.startswith(_BYTE_ORDER_MARK)
            at = line.index(name, mark)
            span = Span(start + at, start + at + len(name))
            yield NamedImage(name=name, line=number, column=at + 1 - mark, form="list", slot=span)


def is_list(text: str) -> bool:
    """Tell whether a text is a list rather than YAML or JSON: nothing in it is of these."""
    return not any(_YAML.match(name) for name in (_entry(line) for _, line in _lines(text)) if name)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield where each line begins, and the line; `splitlines` would end it at other signs too."""
    start = 0
    for found in _BREAK.finditer(text):
        yield start, text[start : found.start()]
        start = found.end()
    yield start, text[start:]


def _entry(line: str) -> str:
    entry = line.removeprefix(_BYTE_ORDER_MARK).strip()
    if entry.startswith("#"):
        return ""
    # A name holds no spaces, so what follows one is a comment or a mistake that will be told.
    return entry.partition(" #")[0].partition("\t#")[0].strip()
