"""The sizes of an image as text: what it has, its layers, its waste, and its budgets."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size, styled, table
from ocitool.cli.render.console import safe
from ocitool.cli.render.texts import oddity, one_line

if TYPE_CHECKING:
    from ocitool.inside.budgets import Budget
    from ocitool.inside.sizing import LayerSize, SizeReport

Row = tuple[str, ...]

LAYERS = ("#", "STORED", "CONTENT", "WASTED", "ADDED", "CHANGED", "DELETED", "INSTRUCTION")
WASTED = ("WASTED", "LAYER", "HOW", "PATH", "HIDDEN BY")
LARGEST = ("SIZE", "LAYER", "PATH")
FOLDERS = ("SIZE", "FILES", "PATH")
DUPLICATES = ("COULD SAVE", "COPIES", "PATHS")
_SHOWN_COPIES = 3
_SHORT = 5
"""How many rows of each kind fit on a screen together."""
_REMEDIES = {
    "metadata": "the same content with another owner, mode or time; COPY --chown stores it once",
    "identical": "the same file, stored again unchanged; copy it in one step only",
    "deleted": "delete it in the step that makes it, or use a build stage",
}


def size_lines(
    name: str,
    report: "SizeReport",
    budgets: "Sequence[Budget]",
    top: int | None = None,
) -> Iterator[str]:
    """Yield the lines that show the sizes of an image, without `top` a screen of them."""
    shown = top or _SHORT
    yield styled(safe(name), "bold")
    for line in summary(report):
        yield f"  {line}"
    # An image of 60 layers would push the answer off the first screen.
    yield from _table("Waste", WASTED, waste_rows(report), right=(0, 1), shrink=(3, 4), most=shown)
    yield from _remedies(report, shown)
    yield from _table("Layers", LAYERS, layer_rows(report), right=range(7), shrink=(7,))
    for title, header, rows in (
        ("Largest files", LARGEST, largest_rows(report)),
        ("Largest folders", FOLDERS, folder_rows(report)),
        ("Duplicates", DUPLICATES, duplicate_rows(report)),
    ):
        yield from _table(title, header, rows, right=(0, 1), shrink=(2,), most=shown)
    yield from _problem_lines(report)
    yield from _budget_lines(budgets)


def summary(report: "SizeReport") -> Iterator[str]:
    """Yield the totals in words."""
    yield (
        f"{size(report.file_bytes)} of files in {size(report.tar_size)} of tar, "
        f"{size(report.stored)} stored"
    )
    yield f"{counted(report.files, 'file')} in {counted(report.directories, 'folder')}"
    if report.read < len(report.layers):
        yield f"numbers of {report.read} of {counted(len(report.layers), 'layer')}: see Problems"
    waste = f"efficiency {percent(report.efficiency)}: {size(report.wasted_bytes)} wasted"
    stored = f" (about {size(report.wasted_stored)} stored)"
    why = ", seen by no container" if report.wasted_bytes else ""
    yield f"{waste}{why}{stored if report.wasted_stored else ''}"
    if report.duplicate_bytes:
        yield f"{size(report.duplicate_bytes)} in copies of files that are in the image already"


def percent(part: float) -> str:
    """Return a part of 1 in percent; never 100 % for what is less."""
    shown = min(f"{part * 100:.1f}", "99.9", key=float) if part < 1 else "100"
    return f"{shown} %"


def layer_rows(report: "SizeReport") -> list[Row]:
    """Return a row for each layer."""
    return [_layer_row(layer) for layer in report.layers]


def _layer_row(layer: "LayerSize") -> Row:
    text = one_line(layer.instruction or "(no history)", shorten=True)
    return (
        str(layer.number),
        size(layer.stored),
        size(layer.file_bytes),
        size(layer.hidden_bytes) if layer.hidden_bytes else "-",
        *(
            "-" if not count else f"{count:,}"
            for count in (layer.added, layer.changed, layer.deleted)
        ),
        f"{text}  [not read: see Problems]" if layer.problem else text,
    )


def waste_rows(report: "SizeReport") -> list[Row]:
    """Return a row for each wasted path, with the layer and the instruction that hid it."""
    return [
        (
            size(waste.bytes),
            str(waste.layer),
            waste.how,
            safe(waste.path) + (f"/  ({counted(waste.files, 'file')})" if waste.is_folder else ""),
            instruction(report, waste.hidden_by),
        )
        for waste in report.wasted
    ]


def instruction(report: "SizeReport", number: int) -> str:
    """Return the number of a layer and the build step that made it."""
    return f"{number} {one_line(report.layers[number - 1].instruction or '', shorten=True)}".strip()


def largest_rows(report: "SizeReport") -> list[Row]:
    """Return a row for each of the largest files."""
    return [(size(one.bytes), str(one.layer), safe(one.path)) for one in report.largest]


def folder_rows(report: "SizeReport") -> list[Row]:
    """Return a row for each of the largest folders."""
    return [
        (size(one.bytes), f"{one.files:,}", safe(one.path)) for one in report.directories_by_size
    ]


def duplicate_rows(report: "SizeReport") -> list[Row]:
    """Return a row for each content that several files have."""
    return [
        (size(one.reclaimable), str(len(one.paths)), _copies(one.paths))
        for one in report.duplicates
    ]


def _copies(paths: Sequence[str]) -> str:
    shown = ", ".join(map(safe, paths[:_SHOWN_COPIES]))
    more = len(paths) - _SHOWN_COPIES
    return f"{shown} and {more} more" if more > 0 else shown


def amounts(budget: "Budget") -> tuple[str, str]:
    """Return the limit and what became of it; where it is exceeded, with digits that show it."""
    actual, limit = budget.actual, budget.limit
    if actual is None:
        return _amount(limit, budget.unit), "unknown"
    shown = _amount(limit, budget.unit), _amount(actual, budget.unit)
    if budget.passed or shown[0] != shown[1]:
        return shown
    if budget.unit == "bytes":
        return f"{int(limit):,} B", f"{int(actual):,} B"
    digits = next((n for n in range(3, 16) if f"{limit:.{n}f}" != f"{actual:.{n}f}"), 16)
    return f"{limit:.{digits}f} %", f"{actual:.{digits}f} %"


def _amount(value: float, unit: str) -> str:
    if unit == "percent":
        return f"{value:.2f} %"
    return size(int(value)) if value >= 0 else f"-{size(-int(value))}"


def _problem_lines(report: "SizeReport") -> Iterator[str]:
    if report.problems:
        yield ""
        yield styled("Problems", "bold")
    for problem in report.problems:
        yield f"  {oddity(problem)}"


def _budget_lines(budgets: "Sequence[Budget]") -> Iterator[str]:
    if budgets:
        yield ""
        yield styled("Budgets", "bold")
    for budget in budgets:
        limit, found = amounts(budget)
        verdict = "kept" if budget.passed else "exceeded" if budget.actual is not None else "failed"
        found = found if budget.problem is None else f"{found}, {safe(budget.problem)}"
        style = "green" if budget.passed else "red"
        yield f"  {styled(f'{verdict:8}', style)}  {budget.rule} {limit}: {found}"
        for cause in budget.causes:
            yield f"{size(cause.bytes):>22}  layer {cause.layer}  {safe(cause.path)}"


def _table(
    title: str,
    header: Row,
    rows: list[Row],
    *,
    right: Iterable[int],
    shrink: Sequence[int],
    most: int | None = None,
) -> Iterator[str]:
    if not rows:
        return
    width = console.terminal_width()
    room = width - 2 if width is not None else None
    yield ""
    yield styled(title, "bold")
    # In a pipe nothing is left out.
    shown = rows if room is None else rows[:most]
    for line in table(header, shown, right=tuple(right), shrink=shrink, width=room):
        yield f"  {line}"
    if len(shown) < len(rows):
        yield styled(f"  --top {len(rows)} lists {len(rows) - len(shown)} more", "dim")


def _remedies(report: "SizeReport", shown: int) -> Iterator[str]:
    """Yield how to avoid the waste that is shown."""
    hows = {waste.how for waste in report.wasted[:shown]}
    for how, text in _REMEDIES.items():
        if how in hows:
            yield styled(f"  {how}: {text}", "dim")
