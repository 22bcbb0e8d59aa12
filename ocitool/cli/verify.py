"""ocitool verify: is it whole?"""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli import console
from ocitool.cli.layout_text import counted, size
from ocitool.cli.options import Json, Quiet, settings

if TYPE_CHECKING:
    from ocitool.verification import VerifyReport

_DAMAGED = 3


def verify(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="[SRC]", help="An image or a place; default: the store.")
    ] = None,
    *,
    fast: Annotated[
        bool, typer.Option("--fast", help="Names, sizes and documents only; no layer is read.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Check every blob, size, diff ID and reference of the store, an archive or a layout.

    Exit code 0 when all is sound, 3 when something is damaged, 7 when it cannot be read at all.
    """
    from ocitool import verification
    from ocitool.places import open_source, open_store, parse_place

    options = settings(context)
    observer = options.observer(quiet=quiet)
    if source is None:
        with open_store(options.store) as layout:
            report = verification.verify(layout, fast=fast, observer=observer)
    else:
        place = parse_place(source)
        with open_source(place, store=options.store, stdin=0, scratch=options.temporary) as opened:
            roots = opened.roots if place.name else None
            report = verification.verify(opened.source, roots, fast=fast, observer=observer)
    if json:
        console.out_json(_as_json(report))
    elif not (quiet or options.quiet):
        _show(report, source or options.store)
    if not report.sound:
        raise typer.Exit(_DAMAGED)


def _as_json(report: "VerifyReport") -> dict[str, object]:
    return {
        "sound": report.sound,
        "images": report.roots,
        "blobs": report.blobs,
        "bytes": report.size,
        "problems": [
            {"kind": problem.kind, "subject": problem.subject, "message": problem.message}
            for problem in report.problems
        ],
        "absent": [str(child.digest) for child in report.absent],
        "unreferenced": [str(digest) for digest in report.unreferenced],
        "strays": list(report.strays),
    }


def _show(report: "VerifyReport", what: str) -> None:
    for problem in report.problems:
        console.out(f"{problem.kind}: {console.safe(problem.message)}")
    for child in report.absent:
        platform = f" ({console.safe(str(child.platform))})" if child.platform is not None else ""
        console.note(f"not here: {child.digest}{platform}, named by an index")
    if report.unreferenced:
        console.note(f"{counted(len(report.unreferenced), 'blob')} without an image")
    for stray in report.strays:
        console.note(f"not a blob: {stray}")
    count = f"{counted(report.roots, 'image')}, {counted(report.blobs, 'blob')}"
    verdict = "sound" if report.sound else f"{len(report.problems)} damaged"
    console.out(f"{console.safe(what)}: {count}, {size(report.size)}: {verdict}")
