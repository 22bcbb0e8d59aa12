"""The options of size: limits, what they are compared with, and what does not count."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_amount
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.inside.budgets import Limit

PANEL = "Budgets, in bytes of unpacked files (exit code 3 if one is exceeded)"
_WHOLE = 100
_BARE = re.compile(r"\d+(?:\.\d+)?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOptions:
    """What was asked for. `exclude_base` is a number of layers, or the text of a place."""

    size: int | None
    layer: int | None
    waste: "Limit | None"
    growth: "Limit | None"
    baseline: str | None
    exclude_base: int | str | None
    ignored: Callable[[str], bool] | None

    @property
    def is_any(self) -> bool:
        """Whether a limit was given."""
        return (self.size, self.layer, self.waste, self.growth) != (None,) * 4


MaxSize = Annotated[
    str | None,
    typer.Option(
        "--max-size",
        metavar="SIZE",
        rich_help_panel=PANEL,
        help="Most bytes of files in all layers, for example 500MB or 500MiB.",
    ),
]
MaxLayer = Annotated[
    str | None,
    typer.Option(
        "--max-layer", metavar="SIZE", rich_help_panel=PANEL, help="Most bytes in any layer."
    ),
]
MaxWaste = Annotated[
    str | None,
    typer.Option(
        "--max-waste",
        metavar="SIZE|P%",
        rich_help_panel=PANEL,
        help="Most wasted bytes, or most percent of all bytes.",
    ),
]
MaxGrowth = Annotated[
    str | None,
    typer.Option(
        "--max-growth",
        metavar="SIZE|P%",
        rich_help_panel=PANEL,
        help="Most bytes, or percent, more than --baseline has.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="SRC", rich_help_panel=PANEL, help="The image to compare with for --max-growth."
    ),
]
ExcludeBase = Annotated[
    str | None,
    typer.Option(
        "--exclude-base",
        metavar="N|SRC",
        rich_help_panel=PANEL,
        help="Leave out the files of the lowest N layers, or of those of a base image.",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="GLOB",
        rich_help_panel=PANEL,
        help="Leave out these paths, for example 'usr/share/doc/*'; may be repeated.",
    ),
]


def limit_of(text: str | None, option: str) -> "Limit | None":
    """Return a limit such as 20MB or 5%; UsageError for anything else.

    A small number without a unit could be either.
    """
    from ocitool.inside.budgets import Limit

    if text is None:
        return None
    percent = _PERCENT.fullmatch(text.strip())
    if percent is not None:
        return Limit(percent=float(percent.group(1)))
    if _BARE.fullmatch(text.strip()) and float(text) <= _WHOLE:
        raise UsageError(
            f"{option} {text}: percent or bytes?", hint=f"write {text.strip()}% or {text.strip()}B"
        )
    return Limit(bytes=parse_amount(text))


def _ignored(globs: list[str] | None) -> Callable[[str], bool] | None:
    """Return a function that tells whether one of the patterns matches a path."""
    from ocitool.inside.globs import path_matcher

    return path_matcher(globs) if globs else None


def _build(
    _: typer.Context,
    *,
    max_size: str | None,
    max_layer: str | None,
    max_waste: str | None,
    max_growth: str | None,
    baseline: str | None,
    exclude_base: str | None,
    ignore: list[str] | None,
) -> BudgetOptions:
    if (max_growth is None) != (baseline is None):
        given, other = (
            ("--baseline", "--max-growth") if max_growth is None else ("--max-growth", "--baseline")
        )
        raise UsageError(f"{given} needs {other}")
    limits = (max_size, max_layer, max_waste, max_growth)
    for is_given, option in ((exclude_base, "--exclude-base"), (ignore, "--ignore")):
        if is_given and limits == (None,) * 4:
            raise UsageError(
                f"{option} needs a budget",
                hint="--max-size, --max-layer, --max-waste or --max-growth",
            )
    is_number = exclude_base is not None and exclude_base.isdecimal()
    return BudgetOptions(
        size=parse_amount(max_size) if max_size is not None else None,
        layer=parse_amount(max_layer) if max_layer is not None else None,
        waste=limit_of(max_waste, "--max-waste"),
        growth=limit_of(max_growth, "--max-growth"),
        baseline=baseline,
        exclude_base=int(exclude_base) if exclude_base is not None and is_number else exclude_base,
        ignored=_ignored(ignore),
    )


BUDGETS = Group(
    {
        "max_size": (MaxSize, None),
        "max_layer": (MaxLayer, None),
        "max_waste": (MaxWaste, None),
        "max_growth": (MaxGrowth, None),
        "baseline": (Baseline, None),
        "exclude_base": (ExcludeBase, None),
        "ignore": (Ignore, None),
    },
    _build,
)
