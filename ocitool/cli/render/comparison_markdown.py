"""A comparison of two images as Markdown, for a comment on a pull request."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ocitool.cli.render import markdown
from ocitool.cli.render.changes import Part, parts
from ocitool.cli.render.columns import arrow, counted
from ocitool.cli.render.comparison import shown_rows, verdict_of
from ocitool.cli.render.markdown import code
from ocitool.cli.render.texts import familiar, tabbed

if TYPE_CHECKING:
    from ocitool.inside.differences import Comparison, FileChange, Side

_FEW: Final = 12
"""Rows of a section that is not folded."""
_MOST_TEXT: Final = 30_000
"""Letters of text diffs; GitHub refuses a comment of more than 65,536."""


def markdown_lines(found: "Comparison", *, every_path: bool) -> Iterator[str]:
    """Yield the lines of a comment that tells how two images differ."""
    yield f"### {code(familiar(found.a.called))} → {code(familiar(found.b.called))}"
    yield ""
    sections = list(parts(found, every_path=every_path))
    totals = [part for part in sections if part.is_total]
    yield from markdown.table(("", "A", "B"), _sides(found.a, found.b, totals))
    for part in sections:
        if part.is_total:
            continue
        yield ""
        yield from _part(part, every_path=every_path)
    changes = found.files.changed if found.files is not None else ()
    yield from _diffs([change for change in changes if change.diff is not None])
    for problem in found.problems:
        yield ""
        where = f"layer {problem.layer} of {problem.image.upper()} is not compared"
        yield f"> {where}: {code(problem.text)}"
    verdict = verdict_of(found)
    if verdict:
        yield ""
        yield verdict


def _sides(a: "Side", b: "Side", totals: Sequence[Part]) -> Iterator[tuple[str, str, str]]:
    yield "image", code(familiar(a.called)), code(familiar(b.called))
    yield "platform", code(str(a.platform)), code(str(b.platform))
    yield "digest", code(str(a.digest)), code(str(b.digest))
    for part in totals:
        before, _, after = part.summary.partition(f" {arrow()} ")
        yield part.title.lower(), before.removesuffix(" as before"), after or "the same"


def _part(part: Part, *, every_path: bool) -> Iterator[str]:
    if not part.rows:
        yield f"**{part.title}**: {part.summary}"
        return
    rows, left = shown_rows(part, every_path=every_path)
    cells = [tuple(map(_cell, (row.mark, row.name, row.detail))) for row in rows]
    lines = list(markdown.table(("", part.title.lower(), ""), cells))
    if not any(row.detail for row in rows):
        lines = list(markdown.fenced([f"{row.mark} {row.name}" for row in rows], "diff"))
    if left:
        lines += ["", f"and {counted(left, 'smaller row')}"]
    if len(rows) > _FEW:
        yield from markdown.folded(f"<b>{part.title}</b>: {part.summary}", lines)
    else:
        yield f"**{part.title}**: {part.summary}"
        yield ""
        yield from lines


def _cell(text: str) -> str:
    return code(" ".join(text.split())) if text else ""


def _diffs(changes: "list[FileChange]") -> Iterator[str]:
    """Yield the text diffs, as many as a comment can hold."""
    used = 0
    for number, change in enumerate(changes):
        lines = list(map(tabbed, change.diff or ()))
        used += sum(map(len, lines))
        yield ""
        if used > _MOST_TEXT:
            yield f"and {counted(len(changes) - number, 'text diff')} more"
            return
        yield from markdown.folded(
            f"{counted(len(lines), 'line')} of text",
            [code(f"/{change.path}"), "", *markdown.fenced(lines, "diff")],
        )
