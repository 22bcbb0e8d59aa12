"""The words of a command line as a shell reads them, and what they were written as."""

import re
from collections.abc import Iterator

from msgspec import Struct

_PIECE = re.compile(
    r"""(?:'(?P<single>[^']*)'|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<continued>\r?\n)"""
    r"""|\\(?P<escaped>.)|(?P<inner>\$\([^()]*\)|\$\{[^{}]*\}|`[^`]*`)|(?P<space>[ \t<>]+)"""
    r"""|(?P<operator>\r?\n|&&|\|\||[;|&()])|(?P<plain>[^'"\\$`\s<>;|&()]+|.))""",
    re.DOTALL,
)
_ESCAPED = re.compile(r'\\(?:\r?\n|([\\"$`]))')
_JSON_WORD = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_LIST = re.compile(r"(?:[A-Z]+\s+)?\[\s*\"")
_NO_SPACE = re.compile(r"\S*")


class Word(Struct, frozen=True):
    """A word: `text` without its quotes, `raw` as it is written.

    `wide` goes on to the next space, for what is written `a;b` may be one word that lost quotes.
    """

    text: str
    raw: str
    wide: str

    def behind(self, mark: str) -> "Word":
        """Return the part behind the first such mark."""
        return Word(*(part.partition(mark)[2] for part in (self.text, self.raw, self.wide)))

    def without(self, beginning: str) -> "Word":
        """Return the word without its beginning, as far as that is written as it is read."""
        return Word(*(part.removeprefix(beginning) for part in (self.text, self.raw, self.wide)))


class Command(Struct, frozen=True):
    """A simple command and whether its output goes into the next one."""

    words: tuple[Word, ...]
    is_piped: bool = False


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a line or a script. A quote that does not end is a letter."""
    if _LIST.match(text) and (listed := tuple(_listed(text))):
        yield Command(listed)
        return
    words: list[Word] = []
    read: list[str] = []
    begin, end = -1, 0
    for match in _PIECE.finditer(f"{text}\n"):
        if match["space"] is None and match["operator"] is None:
            begin = match.start() if begin < 0 else begin
            read.append(_read(match))
            continue
        end = match.start()
        if begin >= 0:
            tail = _NO_SPACE.match(text, end)
            wide = text[begin : tail.end() if tail else end]
            words.append(Word("".join(read), text[begin:end], wide))
            read, begin = [], -1
        if match["operator"] is not None:
            yield Command(tuple(words), match["operator"] == "|")
            words = []


def _listed(text: str) -> Iterator[Word]:
    """Yield the words of a command in JSON form."""
    for match in _JSON_WORD.finditer(text):
        yield Word(re.sub(r"\\(.)", r"\1", match[1]), match[1], match[1])


def _read(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPED.sub(r"\1", match["double"])
    if match["continued"] is not None:
        return ""
    for name in ("single", "escaped"):
        if match[name] is not None:
            return match[name]
    return match[0]
