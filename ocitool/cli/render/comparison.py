"""A comparison of two images as text that a person reads."""

from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ocitool.cli.render.changes import Part, parts
from ocitool.cli.render.columns import cells, clip, counted, padded, styled
from ocitool.cli.render.console import safe
from ocitool.cli.render.file_changes import MOST_ROWS, Row
from ocitool.cli.render.texts import familiar, tabbed

if TYPE_CHECKING:
    from ocitool.inside.differences import Comparison, Side

_TITLE: Final = 15
_WIDEST: Final = 44
_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow"}


class Layout(Struct, frozen=True, kw_only=True):
    """How a comparison is shown: in how many columns (None: any number), and how much of it."""

    width: int | None
    every_path: bool


def comparison_lines(found: "Comparison", layout: Layout) -> Iterator[str]:
    """Yield the lines that tell how two images differ."""
    yield _side("A", found.a)
    yield _side("B", found.b)
    yield ""
    for part in parts(found, every_path=layout.every_path):
        room = None if layout.width is None else layout.width - _TITLE
        summary = part.summary if room is None else clip(part.summary, room)
        yield f"{styled(padded(part.title, _TITLE), 'bold')}{summary}"
        yield from _rows(part, layout)
    for change in found.files.changed if found.files is not None else ():
        if change.diff is not None:
            yield ""
            yield styled(f"content of {safe(f'/{change.path}')}", "bold")
            yield from map(_diff_line, change.diff)
    verdict = verdict_of(found)
    if verdict:
        yield ""
        yield verdict


def verdict_of(found: "Comparison") -> str:
    """Return the last line where the images do not differ, else nothing."""
    if not found.same:
        return ""
    if found.a.digest == found.b.digest:
        return "A and B are the same image."
    told = [
        word
        for word, section in (
            ("files", found.files),
            ("configuration", found.config),
            ("layers", found.layers),
        )
        if section is not None
    ]
    return f"A and B do not differ in their {' and '.join(told)}; their manifests do."


def shown_rows(part: Part, *, every_path: bool) -> tuple[list[Row], int]:
    """Return the rows to show, the weightiest in their order, and how many are left out."""
    if every_path or len(part.rows) <= MOST_ROWS:
        return list(part.rows), 0
    numbers = nlargest(MOST_ROWS, range(len(part.rows)), key=lambda n: (part.rows[n].weight, -n))
    return [part.rows[n] for n in sorted(numbers)], len(part.rows) - MOST_ROWS


def _side(letter: str, side: "Side") -> str:
    name = familiar(side.called)
    about = f"{safe(str(side.platform))}  {side.digest.short}"
    return f"{styled(letter, 'bold')}  {name}  {styled(about, 'dim')}"


def _rows(part: Part, layout: Layout) -> Iterator[str]:
    rows, left = shown_rows(part, every_path=layout.every_path)
    column = max((cells(row.name) for row in rows if cells(row.name) <= _WIDEST), default=0)
    for row in rows:
        yield from _row(row, column, layout.width)
    if left:
        more = f"and {counted(left, 'smaller row')}; --files lists every path"
        yield styled(f"  {more}", "dim")


def _row(row: Row, column: int, width: int | None) -> Iterable[str]:
    """Return a row as one line, or as two where both its parts do not fit."""
    mark = styled(row.mark, _COLOURS[row.mark])
    if not row.detail:
        return [f"  {mark} {row.name if width is None else clip(row.name, width - 4)}"]
    name = padded(row.name, column)
    if width is None:
        return [f"  {mark} {name}  {row.detail}"]
    for text in (name, row.name):
        if cells(text) + cells(row.detail) + 6 <= width:
            return [f"  {mark} {text}  {row.detail}"]
    if row.is_cut and cells(name) <= min(column, width // 2):
        return [f"  {mark} {name}  {clip(row.detail, width - cells(name) - 6)}"]
    return [f"  {mark} {row.name}", f"      {clip(row.detail, width - 6)}"]


def _diff_line(line: str) -> str:
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return styled(tabbed(line), colour) if colour else tabbed(line)
