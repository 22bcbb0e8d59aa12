"""How the commands that edit images reach places and print what they did."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ocitool.cli.interrupted import SENT
from ocitool.cli.options.editing import EditingOptions
from ocitool.cli.output import Output
from ocitool.cli.render import console

if TYPE_CHECKING:
    from ocitool.operations.edit.report import EditReport, PlaceAccess
    from ocitool.places.registry import RegistryOptions


def edit(
    text: str,
    run: "Callable[[PlaceAccess], EditReport]",
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
    places: Iterable[str | None],
) -> None:
    """Run an edit with what reaches `places`, and print its report. `text` says what it does."""
    from ocitool.cli.delivery import check_destination

    texts = [one for one in (*places, *editing.options.targets) if one]
    for target in editing.options.targets:
        check_destination(target, out)
    with out.moving(text, left=SENT), access(out, registry, texts) as reached:
        report = run(reached)
    show(report, editing, out)


@contextlib.contextmanager
def access(
    out: Output, registry: "RegistryOptions", texts: Iterable[str]
) -> "Iterator[PlaceAccess]":
    """Yield how places are reached in this run; a registry only if one of them is in one."""
    from ocitool.cli.options.registry import connected_to
    from ocitool.cli.options.shared import usual_platform
    from ocitool.cli.options.tables import table_cache
    from ocitool.images.locations import parse_place
    from ocitool.operations.edit.report import PlaceAccess

    places = [parse_place(text) for text in texts]
    with connected_to(registry, out.observer, *places) as connected:
        yield PlaceAccess(
            store=out.options.store_if_any,
            registries=connected,
            stdin=0,
            write=console.out_bytes,
            featured=usual_platform(),
            observer=out.observer,
            tables=table_cache,
        )


def show(report: "EditReport", editing: EditingOptions, out: Output) -> None:
    """Print what an edit did, and write its digest file."""
    from ocitool.cli import edit_documents
    from ocitool.cli.render import edits, texts

    if editing.digestfile is not None and not report.dry_run:
        texts.write_digests(editing.digestfile, [report.new])
    out.remark(edits.remarks(report))
    if "-" not in editing.options.targets:
        out.result(
            report,
            text=edits.lines,
            ids=lambda report: [str(report.new)],
            view=edit_documents.EDITED,
        )
    out.summary(edits.summary(report, out.seconds))
