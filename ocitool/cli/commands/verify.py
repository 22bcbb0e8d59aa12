"""ocitool verify: is it whole?"""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import connected_to, source_at, with_reach
from ocitool.cli.options.shared import Json, Quiet, Settings, settings
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.operations.repair import RepairReport
    from ocitool.operations.verify import VerifyReport
    from ocitool.places.layout import Layout
    from ocitool.places.registry import RegistryOptions

_DAMAGED = 3


@with_reach
def verify(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="[SRC]", help="An image or a place; default: the store.")
    ] = None,
    *,
    fast: Annotated[
        bool, typer.Option("--fast", help="Names, sizes and documents only; no layer is read.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged blobs aside; remove what is left behind.")
    ] = False,
    repair_from: Annotated[
        list[str] | None,
        typer.Option("--repair-from", metavar="SRC", help="And fetch again what is missing there."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Check every blob, size, diff ID and reference of the store, an archive or a layout.

    Exit code 0 when all is sound, 3 when something is damaged, 7 when it cannot be read at all.
    A repair deletes no blob and no name: what is damaged is moved to .ocitool/quarantine.
    """
    from ocitool.images.locations import parse_place
    from ocitool.operations import verify as verification

    options = settings(context)
    if repair or repair_from:
        if fast:
            raise UsageError("--fast does not look at what would have to be repaired")
        _repair(source, repair_from or [], options, reach, quiet=quiet, json=json)
        return
    observer = options.observer(quiet=quiet)
    if source is None:
        with options.open_store() as layout:
            report = verification.verify(layout, fast=fast, observer=observer)
    else:
        place = parse_place(source)
        with (
            connected_to(reach, observer, place) as connected,
            source_at(place, options, connected) as opened,
        ):
            roots = opened.roots if place.name else None
            report = verification.verify(opened.source, roots, fast=fast, observer=observer)
    if json:
        console.out_json(_as_json(report))
    elif not (quiet or options.quiet):
        _show(report, source or options.store)
    if not report.sound:
        raise typer.Exit(_DAMAGED)


def _repair(
    source: str | None,
    repair_from: list[str],
    options: Settings,
    reach: "RegistryOptions",
    *,
    quiet: bool,
    json: bool,
) -> None:
    from ocitool.images.locations import parse_place
    from ocitool.operations import repair

    observer = options.observer(quiet=quiet)
    with contextlib.ExitStack() as stack:
        layout = stack.enter_context(_repairable(source, options))
        places = [parse_place(text) for text in repair_from]
        connected = stack.enter_context(connected_to(reach, observer, *places))
        opened = [stack.enter_context(source_at(place, options, connected)) for place in places]
        report = repair.repair(layout, [one.source for one in opened], observer=observer)
    if json:
        console.out_json(_repair_json(report))
    elif not (quiet or options.quiet):
        _show_repair(report, source or options.store)
    if not report.sound:
        raise typer.Exit(_DAMAGED)


def _repairable(source: str | None, options: Settings) -> "Layout":
    """Return the store or the layout that is meant, open; UsageError for any other place."""
    from ocitool.images.locations import PlaceKind, parse_place
    from ocitool.places.layout import Layout

    if source is None:
        return options.open_store()
    place = parse_place(source)
    if place.kind not in (PlaceKind.LAYOUT, PlaceKind.PATH) or place.name or source == "-":
        raise UsageError(
            f"{source!r} cannot be repaired", hint="the store can, and a layout as oci:DIR"
        )
    return Layout.existing(place.path, observer=options.observer())


def _repair_json(report: "RepairReport") -> dict[str, object]:
    return {
        **_as_json(report.after),
        "sound": report.sound,
        "found": [
            {"kind": problem.kind, "subject": problem.subject, "message": problem.message}
            for problem in report.before
        ],
        "set_aside": [{"digest": str(one.digest), "place": one.place} for one in report.aside],
        "fetched": [str(digest) for digest in report.fetched],
        "lost": [str(digest) for digest in report.lost],
        "leftovers": report.leftovers,
    }


def _show_repair(report: "RepairReport", what: str) -> None:
    for problem in report.before:
        console.out(f"found: {problem.kind}: {console.safe(problem.message)}")
    for one in report.aside:
        console.out(f"set aside: {one.digest}: {one.place}")
    for digest in report.fetched:
        console.out(f"fetched: {digest}")
    if report.leftovers:
        console.note(f"{counted(report.leftovers, 'leftover')} of killed commands removed")
    for digest in report.lost:
        console.note(f"lost: {digest}; --repair-from SRC fetches it from where it is whole")
    _show(report.after, what)


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
        "strays": list(report.unknown_files),
        "foreign": [str(layer.digest) for layer in report.foreign],
        "remarks": list(report.remarks),
    }


def _show(report: "VerifyReport", what: str) -> None:
    for problem in report.problems:
        console.out(f"{problem.kind}: {console.safe(problem.message)}")
    for child in report.absent:
        platform = f" ({console.safe(str(child.platform))})" if child.platform is not None else ""
        console.note(f"not here: {child.digest}{platform}, named by an index")
    for layer in report.foreign:
        console.note(f"not here: {layer.digest}, a foreign layer, which its image gets elsewhere")
    for remark in report.remarks:
        console.note(console.safe(remark))
    if report.unreferenced:
        console.note(f"{counted(len(report.unreferenced), 'blob')} without an image")
    for stray in report.unknown_files:
        console.note(f"not a blob: {stray}")
    count = f"{counted(report.roots, 'image')}, {counted(report.blobs, 'blob')}"
    verdict = "sound" if report.sound else f"{len(report.problems)} damaged"
    console.out(f"{console.safe(what)}: {count}, {size(report.size)}: {verdict}")
