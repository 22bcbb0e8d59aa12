"""Markdown for a comment or the summary of a CI job; the sizes of an image in it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import sizes
from ocitool.cli.render.columns import size
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.inside.budgets import Budget
    from ocitool.inside.sizing import SizeReport

# What formats, links or mentions anywhere in a line; a bare www. becomes a link too.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&$@:]|(?<=[wW]{3})\.")


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: nothing in it formats, links or mentions."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found.group())};", safe(text))


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
) -> Iterator[str]:
    """Yield the lines of a table; the cells must be escaped."""
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---:' if n in right else '---' for n in range(len(header)))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def code(text: str) -> str:
    """Return text as code for a cell of a table: nothing in it formats, links or mentions."""
    text = safe(text).replace("|", "\\|")
    fence = "`" * (longest_fence(text) + 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def longest_fence(text: str) -> int:
    """Return how many backticks stand together in a text at most."""
    return max(map(len, re.findall("`+", text)), default=0)


def fenced(lines: Sequence[str], language: str) -> Iterator[str]:
    """Yield lines as a block of code, also such that hold fences themselves; they must be safe."""
    fence = "`" * max(3, longest_fence("\n".join(lines)) + 1)
    yield f"{fence}{language}"
    yield from lines
    yield fence


def folded(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield lines that are shown when their summary, which is HTML, is clicked."""
    yield from (f"<details><summary>{summary}</summary>", "")
    yield from lines
    yield from ("", "</details>")


def size_page(name: str, report: "SizeReport", budgets: "Sequence[Budget]") -> Iterator[str]:
    """Yield the lines of a page about the sizes of an image."""
    yield f"### {escaped(name)}"
    yield ""
    yield from (f"- {line}" for line in sizes.summary(report))
    if budgets:
        yield ""
        yield from _budgets(budgets)
    for title, header, rows in (
        ("Layers", sizes.LAYERS, sizes.layer_rows(report)),
        ("Waste", sizes.WASTED, sizes.waste_rows(report)),
        ("Largest files", sizes.LARGEST, sizes.largest_rows(report)),
        ("Largest folders", sizes.FOLDERS, sizes.folder_rows(report)),
        ("Duplicates", sizes.DUPLICATES, sizes.duplicate_rows(report)),
    ):
        if rows:
            yield from _folded(title, header, rows)
    if report.problems:
        yield from ("", "**Problems**", "")
        for problem in report.problems:
            where = f"layer {problem.layer} {escaped(problem.path)}".strip()
            yield f"- {where}: {escaped(problem.text)}"


def _folded(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    words = [word.capitalize() for word in header]
    lines = table(words, ([escaped(cell) for cell in row] for row in rows))
    yield ""
    yield from folded(f"{title} ({len(rows)})", lines)


def _budgets(budgets: "Sequence[Budget]") -> Iterator[str]:
    rows = []
    for budget in budgets:
        causes = ", ".join(f"{escaped(c.path)} ({size(c.bytes)})" for c in budget.causes)
        if budget.problem is not None:
            causes = escaped(budget.problem)
        limit, actual = sizes.amounts(budget)
        broken = "**exceeded**" if budget.actual is not None else "**failed**"
        verdict = "kept" if budget.passed else broken
        rows.append((budget.rule, limit, actual, verdict, causes))
    yield from table(("Budget", "Limit", "Actual", "Verdict", "Largest"), rows, right=(1, 2))
