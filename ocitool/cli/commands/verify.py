"""ocitool verify: check every blob, and repair."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, connected_to, opened_at, source_at
from ocitool.cli.options.shared import Settings
from ocitool.cli.output import OUTPUT, Output, nothing
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.image.content import Root
    from ocitool.operations.hashing import Problem
    from ocitool.operations.rebuild import Rebuilt
    from ocitool.operations.repair import RepairReport
    from ocitool.operations.verify import VerifyReport
    from ocitool.places.layout import Layout
    from ocitool.places.registry import RegistryOptions

_DAMAGED = 3


Fast = Annotated[
    bool,
    typer.Option("--fast", help="Check names, sizes and documents only, without reading layers."),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Move damaged blobs aside, rebuild lost metadata of the store, and remove leftovers "
        "of killed commands.",
    ),
]
RepairFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--repair-from",
        metavar="SRC",
        help="Also fetch missing blobs from this place; may be repeated.",
    ),
]

_BUILT_WRONG = (
    "the image was built wrong: its layers have the digests of its manifest, but not the diff IDs "
    "of its config, so every copy is the same; build it again"
)


@with_options(out=OUTPUT, registry=REGISTRY)
def verify(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]",
            help="An image or a place; default: the store.",
            autocompletion=store_names,
        ),
    ] = None,
    *,
    fast: Fast = False,
    repair: Repair = False,
    repair_from: RepairFrom = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Check every blob, size, diff ID and reference of the store, an archive or a layout.

    The exit code is 0 if everything is intact, 3 if something is damaged, 7 if the place cannot
    be read at all. Every byte of a bundle is proved, as by `bundle verify`. A repair deletes no
    blob and no name: damaged blobs are moved to .ocitool/quarantine.
    """
    if repair or repair_from:
        if fast:
            raise UsageError("--fast cannot be combined with a repair, which must read the layers")
        repaired = _repair(source, repair_from or [], out, registry)
        _show_repair(repaired, source or out.options.store, out)
        return
    if source is not None and not fast and _is_bundle(source):
        from ocitool.bundles.trust import Trust
        from ocitool.cli.commands.bundle_verify import verify_bundles

        verify_bundles([source], Trust(), out)
        return
    _show(_verify(source, out, registry, fast=fast), source, out, fast=fast)


def _show(report: "VerifyReport", source: str | None, out: Output, *, fast: bool) -> None:
    from ocitool.cli import documents

    what = source or out.options.store
    out.result(
        report,
        text=lambda report: _lines(report, what, fast=fast),
        ids=nothing,
        view=documents.VERIFIED,
    )
    if not report.sound:
        built_wrong = all(problem.kind == "diff-id" for problem in report.problems)
        out.remark([_BUILT_WRONG if built_wrong else _advice(source)])
        raise typer.Exit(_DAMAGED)


def _is_bundle(source: str) -> bool:
    """Tell whether a path holds a bundle, each byte of which its list can prove."""
    from ocitool.bundles.files import holds_bundle
    from ocitool.images.locations import PlaceKind, parse_place

    place = parse_place(source)
    return place.kind is PlaceKind.PATH and source != "-" and holds_bundle(place.path)


def _verify(
    source: str | None, out: Output, registry: "RegistryOptions", *, fast: bool
) -> "VerifyReport":
    from ocitool.images.locations import parse_place
    from ocitool.operations import verify as verification

    if source is None:
        with out.options.open_store() as layout:
            return verification.verify(layout, fast=fast, observer=out.observer)
    place = parse_place(source)
    with opened_at(place, out.options, registry, out.observer) as opened:
        roots = opened.roots if place.name else None
        return verification.verify(opened.source, roots, fast=fast, observer=out.observer)


def _show_repair(repaired: "RepairReport", what: str, out: Output) -> None:
    from ocitool.cli import documents

    out.result(
        repaired,
        text=lambda report: _repair_lines(report, what),
        ids=nothing,
        view=documents.REPAIRED,
    )
    if not repaired.sound:
        raise typer.Exit(_DAMAGED)


def _repair(
    source: str | None, repair_from: list[str], out: Output, registry: "RegistryOptions"
) -> "RepairReport":
    from ocitool.images.locations import parse_place
    from ocitool.operations import repair
    from ocitool.operations.rebuild import rebuild

    with contextlib.ExitStack() as stack:
        path = _repairable(source, out.options)
        rebuilt = rebuild(path, observer=out.observer)
        layout = stack.enter_context(_opened(source, path, out.options))
        places = [parse_place(text) for text in repair_from]
        connected = stack.enter_context(connected_to(registry, out.observer, *places))
        opened = [
            stack.enter_context(source_at(place, out.options, connected, out.observer))
            for place in places
        ]
        report = repair.repair(layout, [one.source for one in opened], observer=out.observer)
    return replace(report, rebuilt=rebuilt)


def _opened(source: str | None, path: str, options: Settings) -> "Layout":
    from ocitool.places.layout import Layout

    if source is None:
        return options.open_store()
    return Layout.existing(path, observer=options.observer())


def _repairable(source: str | None, options: Settings) -> str:
    """Return the path of the store or layout that is meant; UsageError for any other place."""
    from ocitool.images.locations import PlaceKind, parse_place

    if source is None:
        return options.store
    place = parse_place(source)
    if place.kind not in (PlaceKind.LAYOUT, PlaceKind.PATH) or place.name or source == "-":
        raise UsageError(
            f"{source!r} cannot be repaired", hint="only the store and a layout (oci:DIR) can"
        )
    return place.path


def _rebuilt_lines(rebuilt: "Rebuilt") -> Iterator[str]:
    from ocitool.cli.render import texts

    for file in rebuilt.files:
        yield f"rebuilt: {file}"
    for name in rebuilt.names:
        yield f"restored: {texts.familiar(name)}"
    for digest in rebuilt.nameless:
        yield f"restored: <none>: {digest}"
    for name in rebuilt.lost:
        console.note(f"lost: {texts.familiar(name)}: its image is not here; load or pull it again")


def _repair_lines(report: "RepairReport", what: str) -> Iterator[str]:
    if report.rebuilt is not None:
        yield from _rebuilt_lines(report.rebuilt)
    for problem in report.before:
        yield f"found: {problem.kind}: {console.safe(problem.message)}"
    for one in report.aside:
        yield f"set aside: {one.digest}: {one.place}"
    for digest in report.fetched:
        yield f"fetched: {digest}"
    if report.leftovers:
        console.note(f"{counted(report.leftovers, 'leftover')} of killed commands removed")
    for digest in report.lost:
        console.note(f"lost: {digest}; --repair-from SRC fetches it from an intact copy")
    yield from _lines(report.after, what)


def _lines(report: "VerifyReport", what: str, *, fast: bool = False) -> Iterator[str]:
    yield from _proved_lines(report.proved)
    for problem in report.problems:
        yield from _problem_lines(problem)
    for child in report.absent:
        platform = f" ({console.safe(str(child.platform))})" if child.platform is not None else ""
        console.note(f"not here: {child.digest}{platform}, listed by an index")
    for layer in report.foreign:
        console.note(f"not here: {layer.digest}, a foreign layer, which is stored elsewhere")
    for remark in report.remarks:
        console.note(console.safe(remark))
    if report.unreferenced:
        console.note(f"{counted(len(report.unreferenced), 'blob')} without an image")
    for stray in report.unknown_files:
        console.note(f"not a blob: {stray}")
    count = f"{counted(report.roots, 'image')}, {counted(report.blobs, 'blob')}"
    verdict = "sound" if report.sound else f"{len(report.problems)} damaged"
    rate = f", {size(round(report.size / report.seconds))}/s" if report.seconds else ""
    took = f"{report.seconds:.1f} s{'' if fast else rate}"
    yield f"{console.safe(what)}: {count}, {size(report.size)} in {took}: {verdict}"


def _proved_lines(proved: "Sequence[Root]") -> Iterator[str]:
    """Yield a line for each name of each image in which nothing is damaged."""
    from ocitool.cli.render import texts

    for root in proved:
        names = [texts.familiar(name) for name in root.names]
        for name in names or [console.safe(root.label or "<none>")]:
            yield f"sound: {name} {root.descriptor.digest}"


def _problem_lines(problem: "Problem") -> Iterator[str]:
    """Yield what is damaged, and below it in which image and by which build step it was made."""
    from ocitool.cli.render import texts
    from ocitool.image.instructions import instruction

    yield f"{problem.kind}: {console.safe(problem.message)}"
    if problem.image is None or problem.part is None:
        return
    others = counted(problem.other_images, "other image") if problem.other_images else ""
    step = f": {instruction(problem.created_by)}" if problem.created_by else ""
    about = f"{problem.part} of {problem.image}{' and of ' if others else ''}{others}"
    yield f"  it is {console.safe(about)}{texts.one_line(step, shorten=True)}"


def _advice(source: str | None) -> str:
    """Return what to do about damage."""
    from ocitool.images.locations import PlaceKind, parse_place

    place = parse_place(source) if source is not None else None
    kind = PlaceKind.STORE if place is None else place.kind
    if kind is PlaceKind.PATH and place is not None and os.path.isdir(place.path):
        kind = PlaceKind.LAYOUT
    if kind is PlaceKind.STORE:
        return "`ocitool verify --repair-from SRC` fetches what is damaged from where it is whole"
    if kind is PlaceKind.LAYOUT and place is not None:
        what = f"oci:{place.path}"
        return f"`ocitool verify {what} --repair-from SRC` fetches what is damaged from elsewhere"
    if kind is PlaceKind.REGISTRY:
        return "push the image again from where it is whole"
    return "copy the archive again, or save it again where it came from"
