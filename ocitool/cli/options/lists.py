"""Names from a file: one per line, with comments and blank lines, each counted once."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ocitool.errors import UsageError

_LARGEST = 16 << 20

ListFile = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="LIST",
        help="Read more names from this file, one per line (# begins a comment; - is stdin).",
    ),
]


def listed(names: Sequence[str] | None, path: str | None, what: str) -> list[str]:
    """Return the names of the command line and of the file of -f, each once, in their order.

    UsageError, which asks for `what`, when there are none at all.
    """
    found = list(dict.fromkeys([*(names or ()), *(read_list(path) if path is not None else ())]))
    if found:
        return found
    if path is not None:
        raise UsageError(f"the list {path!r} holds no names")
    raise UsageError(f"Missing argument {what!r}.", hint="name one, or give a list with -f LIST")


def read_list(path: str) -> list[str]:
    """Return the lines of a list without comments, blank lines and duplicates; - is stdin.

    NotFound or StorageError when the file cannot be read, UsageError for what is not text.
    """
    data = read_input(path, f"the list {path!r}", _LARGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"the list {path!r} is not UTF-8 text", hint="write one name per line"
        ) from None
    lines = (line.strip() for line in text.splitlines())
    # A name holds no spaces, so what follows one is a comment or a mistake that will be told.
    names = (line.partition(" #")[0].partition("\t#")[0].strip() for line in lines)
    return list(dict.fromkeys(name for name in names if name and not name.startswith("#")))


def read_input(path: str, what: str, most: int) -> bytes:
    """Return the bytes of a file, or of stdin for -; UsageError for more than `most`.

    NotFound or StorageError, which names `what` it is, when it cannot be read.
    """
    from ocitool.fsops import translated

    with translated("read", path):
        if path == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{what} is larger than {most >> 20} MiB")
    return data
