"""Text diffs of small text files that two images have in different versions."""

from collections import defaultdict
from collections.abc import Iterable
from difflib import unified_diff
from itertools import islice
from typing import Final

from msgspec.structs import replace

from ocitool.image.layers import EntryKind
from ocitool.inside.content import read_members
from ocitool.inside.differences import Entry, FileChange, FileChanges, What
from ocitool.inside.image import Inside

LARGEST: Final = 64 << 10
"""Bytes of a file that is compared line by line."""
_MOST_LINES: Final = 2_000
_MOST_FILES: Final = 500
_MOST_LINES_OF_ALL: Final = 20_000
"""Comparing lines takes up to the square of their number, and hostile files take that long."""
_NO_END: Final = "\\ No newline at end of file"


def with_text_diffs(changes: FileChanges, a: Inside, b: Inside) -> FileChanges:
    """Return the changes with a diff of each file that is a small text in both images.

    Only the first 500 such files are compared line by line, and at most 20,000 lines of them.
    """
    small = [change for change in changes.changed if _is_small(change)][:_MOST_FILES]
    texts_a = _texts(a, (change.a for change in small))
    texts_b = _texts(b, (change.b for change in small))
    diffs: dict[str, tuple[str, ...]] = {}
    left = _MOST_LINES_OF_ALL
    for change in small:
        one, other = texts_a.get(change.path), texts_b.get(change.path)
        if one is not None and other is not None and (left := left - len(one) - len(other)) >= 0:
            diffs[change.path] = tuple(_diff(one, other))
    return replace(
        changes,
        changed=tuple(
            replace(change, diff=diffs[change.path]) if change.path in diffs else change
            for change in changes.changed
        ),
    )


def _is_small(change: FileChange) -> bool:
    return What.CONTENT in change.what and all(
        entry.kind is EntryKind.FILE and entry.size <= LARGEST for entry in (change.a, change.b)
    )


def _texts(inside: Inside, entries: Iterable[Entry]) -> dict[str, list[str]]:
    """Return the lines of those files that are text, by their path."""
    paths: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        table = inside.layer(entry.layer).table
        if table is not None and entry.row not in table.sparse:
            paths[entry.layer][entry.row].append(entry.path)
    found: dict[str, list[str]] = {}
    for number, rows in paths.items():
        for row, content in read_members(inside, number, rows):
            lines = _lines(b"".join(content))
            if lines is not None:
                found |= dict.fromkeys(rows[row], lines)
    return found


def _lines(data: bytes) -> list[str] | None:
    """Return the lines of a text with their ends; None for what is not text, or too many lines."""
    try:
        *whole, rest = data.decode().split("\n")
    except UnicodeDecodeError:
        return None
    lines = [f"{line}\n" for line in whole] + ([rest] if rest else [])
    return lines if b"\0" not in data and len(lines) <= _MOST_LINES else None


def _diff(a: list[str], b: list[str]) -> Iterable[str]:
    """Yield the lines of a unified diff, without the two that name the files."""
    for line in islice(unified_diff(a, b), 2, None):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield _NO_END
