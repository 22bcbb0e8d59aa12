"""ocitool load: images from an archive into the store."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.attempts import Attempts
from ocitool.cli.interrupted import NOT_LOADED
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.transfer import CONVERSION
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocitool.images.opening import Opened
    from ocitool.places.layout import Layout
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


_LOST = 3
"""The exit code when images are not whole in the volumes that are here."""

Tag = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name for the image (the archive must hold exactly one), or the repository of "
        "images that have only a tag.",
    ),
]


Archives = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE|DIR|-]…", help="The archives; - is standard input."),
]
Input = Annotated[
    str | None, typer.Option("--input", "-i", metavar="FILE", help="The archive, as in docker.")
]
NoClobber = Annotated[
    bool, typer.Option("--no-clobber", help="Refuse to move a name from another image.")
]


@with_options(options=CONVERSION, out=OUTPUT)
def load(
    sources: Archives = None,
    *,
    source_option: Input = None,
    tag: Tag = None,
    options: "TransferOptions",
    no_clobber: NoClobber = False,
    out: Output,
) -> None:
    """Load images from archives: docker save, podman save, an OCI layout or tar, a folder.

    Bundles of imgpkg, skopeo sync, oras backup, regsync and hauler are read as well. Of an archive
    that was cut into chunks name the first, such as haul.tar.zst.001.

    Each archive is loaded whole or not at all. If one fails, the others are still loaded. Deltas
    and volumes of bundles come last; what a delta requires has to be in the store by then.
    What the store has already is not read: `ocitool verify FILE` proves an archive.
    """
    places = _archives(sources, source_option)
    if tag is not None:
        options = _tagged(options, tag, places)
    attempts = Attempts(out, len(places))
    archives, parts = _told_apart(places, options)
    lost: list[str] = []
    with out.working("loading", left=NOT_LOADED):
        reports = _load_all(archives, options, attempts, out, clobber=not no_clobber)
        if parts:
            from ocitool.cli.commands.bundle_load import load_parts

            loaded = load_parts(parts, attempts, out, clobber=not no_clobber, jobs=options.jobs)
            reports += [one.copied for one in loaded if one.copied is not None]
            lost = [name for one in loaded for name in one.check.lost_images]
    _show(reports, lost, places, attempts, out)
    attempts.finish()
    if lost:
        raise typer.Exit(_LOST)


def _tagged(options: "TransferOptions", tag: str, places: "Sequence[str]") -> "TransferOptions":
    """Return the options with the name that --tag gives to the one image."""
    from msgspec.structs import replace

    from ocitool.cli.render import texts

    if len(places) > 1:
        raise UsageError("--tag names one image: load its archive alone")
    return replace(options, name=texts.full(tag), repository=texts.repository(tag))


def _show(
    reports: "Sequence[CopyReport]",
    lost: "Sequence[str]",
    places: "Sequence[str]",
    attempts: Attempts,
    out: Output,
) -> None:
    """Print the document, the remarks and the summary."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.cli.render.summary import done
    from ocitool.transfer.report import merge_reports

    report = merge_reports(reports)
    view = documents.STORED.beside(
        store=out.options.store,
        failed=[documents.FAILURE(one) for one in attempts.failed],
        lost_images=list(lost),
    )
    out.document(report, view)
    out.remark(texts.remarks(report))
    if reports:
        what = f"loaded {texts.several(report.images)}"
        # Without a manifest every layer is read, to know what it unpacks to.
        source = None if report.conversions else _called(places)
        out.summary([done(what, report.transfer, out.seconds, source=source)])


def _told_apart(places: "Sequence[str]", options: "TransferOptions") -> tuple[list[str], list[str]]:
    """Return the archives, and the files that are only parts of images: deltas and volumes."""
    from ocitool.bundles.files import holds_bundle
    from ocitool.images.locations import PlaceKind, parse_place

    parts = []
    for text in places:
        place = parse_place(text)
        is_path = place.kind in (PlaceKind.STORE, PlaceKind.PATH) and text != "-"
        if is_path and holds_bundle(text, only_partial=True):
            parts.append(text)
    if parts and (options.name or options.platforms or options.compression or options.strict):
        raise UsageError(
            f"{parts[0]!r} is a part of a bundle, which is loaded as it is",
            hint="leave out --tag, --platform, --compression and --strict",
        )
    return [text for text in places if text not in parts], parts


def _called(places: "Sequence[str]") -> str:
    """Return what to call what was loaded."""
    if len(places) > 1:
        return "the archives"
    return "the archive" if places[0] == "-" else console.safe(places[0])


def _load_all(
    places: "Sequence[str]",
    options: "TransferOptions",
    attempts: Attempts,
    out: Output,
    *,
    clobber: bool,
) -> "list[CopyReport]":
    """Load each archive; the store is made for the first one that can be opened."""
    from ocitool.cli.render import texts
    from ocitool.places.layout import Layout

    reports: list[CopyReport] = []
    store: Layout | None = None
    with contextlib.ExitStack() as stack:
        for text in places:
            with attempts.one(text), _opened(text, out) as opened:
                if store is None:
                    made = Layout.create(out.options.store, store=True, observer=out.observer)
                    store = stack.enter_context(made)
                report = _load_one(opened, store, options, out, clobber=clobber)
                reports.append(report)
                out.lines(_lines(report), ids=texts.digests(report))
    return reports


def _opened(text: str, out: Output) -> "AbstractContextManager[Opened]":
    """Return an archive, ready to be entered; a bare word is a file here."""
    from ocitool.images.locations import PlaceKind, parse_place, path_place
    from ocitool.images.opening import open_source

    place = parse_place(text)
    if place.kind is PlaceKind.STORE:
        place = path_place(text)
    return open_source(
        place,
        store=out.options.store,
        stdin=0,
        scratch=out.options.temporary,
        observer=out.observer,
    )


def _load_one(
    opened: "Opened", store: "Layout", options: "TransferOptions", out: Output, *, clobber: bool
) -> "CopyReport":
    from ocitool.operations import load as loading

    return loading.load(
        opened.source,
        store,
        options,
        roots=opened.roots,
        clobber=clobber,
        observer=out.observer,
    )


def _lines(report: "CopyReport") -> Iterator[str]:
    from ocitool.cli.render import texts

    for image in report.images:
        for name in image.names:
            yield f"Loaded image: {texts.familiar(name)}"
        if not image.names:
            yield f"Loaded image ID: {image.image_id or image.digest}"


def _archives(arguments: list[str] | None, option: str | None) -> list[str]:
    if arguments and option is not None:
        raise UsageError("name the archive only once: as an argument or with -i")
    found = arguments or [option if option is not None else "-"]
    if "" in found:
        raise UsageError(
            "the path of the archive is empty", hint="is a variable of the shell unset?"
        )
    if found.count("-") > 1:
        raise UsageError("standard input can be read only once")
    if "-" in found and console.is_terminal(sys.stdin):
        raise UsageError(
            "there is no archive to load: standard input is a terminal",
            hint="name a file, or pipe one in: docker save NAME | ocitool load",
        )
    return list(dict.fromkeys(found))
