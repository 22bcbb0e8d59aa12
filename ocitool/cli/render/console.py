"""Results on stdout, messages on stderr; text from images cannot control the terminal."""

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, TextIO

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_encode = json.JSONEncoder(ensure_ascii=True).encode
_SIMPLE: dict[type, Callable[[Any], str]] = {
    str: encode_basestring_ascii,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
_MANY = 1 << 16
_UNSAFE = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")


class ClosedPipe(BaseException):
    """The reader of our output has closed the pipe."""


_before_line: list[Callable[[], None]] = []


def before_line(hide: Callable[[], None]) -> None:
    """Call this before anything is written: it takes away what is drawn on the terminal."""
    _before_line.append(hide)


def clear() -> None:
    """Take away what is drawn on the terminal."""
    for hide in _before_line:
        hide()


def safe(text: str) -> str:
    """Return text in which control, format, bidi and lone surrogate characters are escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSAFE else c for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def out(text: str = "") -> None:
    """Write one line of the result. The caller has made untrusted parts safe."""
    _write(sys.stdout, f"{text}\n")


def out_json(value: object) -> None:
    """Write the result as one JSON document, pure ASCII."""
    pieces, size = list[str](), 0
    for piece in json_pieces(value):
        pieces.append(piece)
        size += len(piece)
        if size > _MANY:
            _write(sys.stdout, "".join(pieces))
            pieces, size = [], 0
    out("".join(pieces))


def json_pieces(value: object, line: str = "\n") -> Iterator[str]:
    """Yield a document as `json.dumps` with an indent of 2 writes it, without holding all of it.

    A sequence may make its items when they are looked at. `line` begins a line of this level.
    """
    inner = f"{line}  "
    if value and isinstance(value, Mapping):
        begin = "{"
        for name, item in value.items():
            yield f"{begin}{inner}{_encode(name)}: "
            yield from json_pieces(item, inner)
            begin = ","
        yield f"{line}}}"
    elif value and isinstance(value, Sequence) and not isinstance(value, str):
        begin = "["
        for item in value:
            yield f"{begin}{inner}{_json_text(item, inner)}"
            begin = ","
        yield f"{line}]"
    else:
        yield _encode(value)


def _json_text(value: object, line: str) -> str:
    # What most of a long document is made of: no generators.
    if (simple := _SIMPLE.get(type(value))) is not None:
        return simple(value)
    if not value or isinstance(value, float):
        return _encode(value)
    if type(value) is dict:
        inner = f"{line}  "
        parts = (f"{_encode(name)}: {_json_text(item, inner)}" for name, item in value.items())
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    return "".join(json_pieces(value, line))


def out_bytes(data: bytes) -> None:
    """Write bytes of the result as they are."""
    flush()
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except BrokenPipeError:
        raise ClosedPipe from None


def note_bytes(data: bytes) -> None:
    """Write bytes on stderr as they are; a closed stderr does not end the work."""
    clear()
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(2, view) :]
    except OSError:
        return


def note(text: str) -> None:
    """Write a message on stderr; a closed stderr does not end the work."""
    try:
        _write(sys.stderr, f"{safe(text)}\n")
    except (OSError, ClosedPipe):
        sys.stderr = None


def ask(text: str) -> None:
    """Write one line on stderr that asks something; the caller has made untrusted parts safe."""
    plain = text if is_terminal(sys.stderr) else _STYLE.sub("", text)
    try:
        _write(sys.stderr, f"{plain}\n")
    except (OSError, ClosedPipe):
        sys.stderr = None


def flush() -> None:
    """Send out what is buffered; raises OSError when stdout is full."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise ClosedPipe from None


def prepare() -> None:
    """Make both streams able to print every character, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def width() -> int:
    """Return how many columns to use: the terminal's, or COLUMNS, or 100 in a pipe."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def terminal_width() -> int | None:
    """Return the columns of the terminal that shows the results; None if stdout is not one."""
    return width() if is_terminal(sys.stdout) else None


def room() -> int | None:
    """Return the columns that a picture may have: the terminal's or COLUMNS; None in a pipe."""
    return width() if is_terminal(sys.stdout) or os.environ.get("COLUMNS") else None


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal; a closed one is not."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def colour() -> bool:
    """Tell whether stdout may be coloured: a terminal, no NO_COLOR, not TERM=dumb."""
    return not os.environ.get("NO_COLOR") and not is_dumb() and is_terminal(sys.stdout)


def is_dumb() -> bool:
    """Tell whether the terminal can show nothing but lines of text."""
    return os.environ.get("TERM") == "dumb"


def unicode_output() -> bool:
    """Tell whether stdout can show block characters."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "") == "utf8"


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    clear()
    try:
        stream.write(text)
    except BrokenPipeError:
        raise ClosedPipe from None
