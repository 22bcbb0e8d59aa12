"""ocitool size: what an image weighs, what of it is waste, and whether it keeps its budgets."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.budgets import BUDGETS, BudgetOptions
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_at
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.options.tables import NoCache, table_cache
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocitool.image.choosing import ChosenImage
    from ocitool.images.opening import Opened
    from ocitool.inside.budgets import Budget, Budgets
    from ocitool.inside.image import Inside
    from ocitool.inside.problems import Problem
    from ocitool.inside.sizing import SizeReport
    from ocitool.oci import Platform
    from ocitool.places.registry import RegistryOptions

_EXCEEDED = 3

Top = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="How many of the largest of each kind to show. Default: 20; 5 on a terminal.",
    ),
]
ShowDuplicates = Annotated[
    bool, typer.Option("--duplicates", help="Also look for files with the same content.")
]
Markdown = Annotated[
    bool,
    typer.Option(
        "--markdown",
        help="Print Markdown, and add it to the file that GITHUB_STEP_SUMMARY names.",
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE|-",
        help="Also write a page for a browser that shows all files; - prints it instead of text.",
    ),
]


class Measured(Struct, frozen=True, kw_only=True):
    """What the command shows."""

    name: str
    report: "SizeReport"
    unread: "tuple[Problem, ...]"
    budgets: "tuple[Budget, ...]"


@with_options(budgets=BUDGETS, out=JSON_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool size SRC", "ocitool size SRC")
def size(
    source: ImageSource,
    *,
    platform: OnePlatform = None,
    top: Top = None,
    duplicates: ShowDuplicates = False,
    markdown: Markdown = False,
    html: Html = None,
    no_cache: NoCache = False,
    budgets: BudgetOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Show how many bytes the layers and files of an image have, and how many of them are wasted.

    Wasted are files that a later layer replaces or deletes. With budgets the exit code is 3 if one
    of them is exceeded; every one is checked, and the files that cause it are listed.
    """
    from ocitool.cli import inside_documents
    from ocitool.cli.render import texts
    from ocitool.inside.sizing import TOP, measure

    if markdown + out.is_json + (html == "-") > 1:
        raise UsageError("--markdown, --json and --html - exclude each other")
    texts.check_output_file(None if html == "-" else html)
    viewer = _Viewer(out, registry, one_platform(platform), no_cache=no_cache)
    with viewer.opened(source) as opened:
        inside = viewer.look(opened, duplicates=duplicates)
        report = measure(inside, top=top or TOP, duplicates=duplicates)
        measured = viewer.measured(inside, report, budgets)
    if html is not None:
        _write_page(html, inside, measured, out)
    if markdown:
        _print_markdown(measured, out)
    elif html != "-":
        out.result(measured, text=lambda one: _lines(one, top), view=inside_documents.SIZES)
    _fail(measured)


def _lines(measured: Measured, top: int | None) -> Iterable[str]:
    from ocitool.cli.render.sizes import size_lines

    return size_lines(measured.name, measured.report, measured.budgets, top)


def _write_page(path: str, inside: "Inside", measured: Measured, out: Output) -> None:
    """Write the page to a file, which appears whole or not at all, or to stdout."""
    from ocitool.cli.render import columns, console
    from ocitool.fsops import write_output
    from ocitool.inside.page.facts import image_page

    page = image_page(inside, measured.report, title=measured.name)
    if path == "-":
        console.out_bytes(page)
        return
    write_output(path, page)
    out.remark([f"wrote {path} ({columns.size(len(page))}); open it in a browser"])


def _print_markdown(measured: Measured, out: Output) -> None:
    from ocitool.cli.render.markdown import size_page

    lines = list(size_page(measured.name, measured.report, measured.budgets))
    out.lines(lines)
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from ocitool.fsops import Directory, append_to_file

        with Directory.open(os.path.dirname(path) or ".") as folder:
            text = "\n".join([*lines, "", ""])
            append_to_file(folder, os.path.basename(path), text.encode("utf-8", "replace"))


def _fail(measured: Measured) -> None:
    """End with the code of what is wrong: layers that are missing or damaged, then budgets."""
    from ocitool.cli.unread import end_for

    end_for(
        (problem.kind, f"layer {problem.layer} could not be read: {problem.text}")
        for problem in measured.unread
    )
    end_for(
        (
            (budget.unread, f"{budget.rule} is not known to be kept: {budget.problem}")
            for budget in measured.budgets
            if budget.unread
        ),
        gated=True,
    )
    if not all(budget.passed for budget in measured.budgets):
        raise typer.Exit(_EXCEEDED)


class _Viewer:
    """Opens images and looks into them, all for the same platform."""

    def __init__(
        self,
        out: Output,
        registry: "RegistryOptions",
        wanted: "Platform | None",
        *,
        no_cache: bool,
    ) -> None:
        self._out = out
        self._registry = registry
        self._wanted = wanted
        self._no_cache = no_cache

    def opened(self, text: str) -> "AbstractContextManager[Opened]":
        from ocitool.images.locations import parse_place

        return opened_at(parse_place(text), self._out.options, self._registry, self._out.bar)

    def look(self, opened: "Opened", *, duplicates: bool) -> "Inside":
        from ocitool.images.opening import one_root
        from ocitool.inside.duplicates import hash_doubtful
        from ocitool.inside.hashes import Hashes
        from ocitool.inside.image import look_inside

        inside = look_inside(
            opened.source,
            one_root(opened),
            platform=self._wanted or usual_platform(),
            required=self._wanted is not None,
            hashes=Hashes.DOUBTFUL if duplicates else Hashes.CHECKS,
            cache=table_cache(opened, unless=self._no_cache),
            observer=self._out.bar,
        )
        hash_doubtful(inside, duplicates=duplicates, observer=self._out.bar)
        return inside

    def _chosen(self, opened: "Opened") -> "ChosenImage":
        from ocitool.image.choosing import choose_image
        from ocitool.images.opening import one_root

        wanted = self._wanted or usual_platform()
        required = self._wanted is not None
        return choose_image(opened.source, one_root(opened), wanted, required=required)

    def measured(self, inside: "Inside", report: "SizeReport", options: BudgetOptions) -> Measured:
        from ocitool.cli.render.texts import familiar

        root = inside.chosen.root
        return Measured(
            name=familiar(root.names[0]) if root.names else root.called,
            report=report,
            unread=inside.unread,
            budgets=self._checked(inside, options) if options.is_any else (),
        )

    def _checked(self, inside: "Inside", options: BudgetOptions) -> "tuple[Budget, ...]":
        from ocitool.inside.budgets import check_budgets

        baseline = self._baseline(options, inside)
        both = [inside] if baseline is None else [inside, baseline]
        return check_budgets(inside, self._budgets(options, both), baseline)

    def _baseline(self, options: BudgetOptions, inside: "Inside") -> "Inside | None":
        if options.baseline is None:
            return None
        with self.opened(options.baseline) as opened:
            found = self.look(opened, duplicates=False)
        ours, theirs = inside.chosen.image.platform, found.chosen.image.platform
        if ours != theirs:
            self._out.remark([f"the baseline is an image for {theirs}, this one is for {ours}"])
        return found

    def _base(self, options: BudgetOptions, built_on_it: "Sequence[Inside]") -> int:
        """Return how many layers the base has that all these images are built on."""
        from ocitool.inside.budgets import base_layers

        base = options.exclude_base or 0
        if isinstance(base, str):
            with self.opened(base) as opened:
                chosen = self._chosen(opened)
                config = chosen.image.read_config(opened.source)
                (base,) = {base_layers(inside, chosen, config) for inside in built_on_it}
        elif base:
            for inside in built_on_it:
                inside.layer(base)
        return base

    def _budgets(self, options: BudgetOptions, built_on_it: "Sequence[Inside]") -> "Budgets":
        from ocitool.inside.budgets import Budgets

        return Budgets(
            size=options.size,
            layer=options.layer,
            waste=options.waste,
            growth=options.growth,
            base=self._base(options, built_on_it),
            ignored=options.ignored,
        )
