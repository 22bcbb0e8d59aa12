"""ocitool load: images from an archive into the store."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.transfer import CONVERSION
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


Tag = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name for the image (the archive must hold exactly one)."),
]


Archive = Annotated[
    str | None, typer.Argument(metavar="[FILE|DIR|-]", help="The archive; - is standard input.")
]
Input = Annotated[
    str | None, typer.Option("--input", "-i", metavar="FILE", help="The archive, as in docker.")
]
NoClobber = Annotated[bool, typer.Option("--no-clobber", help="Refuse to move a name that exists.")]


@with_options(options=CONVERSION, out=OUTPUT)
def load(
    source: Archive = None,
    *,
    source_option: Input = None,
    tag: Tag = None,
    options: "TransferOptions",
    no_clobber: NoClobber = False,
    out: Output,
) -> None:
    """Load images from an archive: docker save, podman save, an OCI layout or tar, a folder."""
    from msgspec.structs import replace

    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind, parse_place, path_place
    from ocitool.images.opening import open_source
    from ocitool.operations import load as loading
    from ocitool.places.layout import Layout

    store, scratch = out.options.store, out.options.temporary
    text = _archive(source, source_option)
    place = parse_place(text)
    if place.kind is PlaceKind.STORE:
        place = path_place(text)
    with (
        open_source(place, store=store, stdin=0, scratch=scratch) as opened,
        Layout.create(store, store=True, observer=out.observer) as layout,
    ):
        report = loading.load(
            opened.source,
            layout,
            replace(options, name=texts.full(tag) if tag is not None else None),
            roots=opened.roots,
            clobber=not no_clobber,
            observer=out.observer,
        )
    out.result(report, text=_lines, ids=texts.digests, view=documents.STORED.beside(store=store))
    out.remark(texts.remarks(report))


def _lines(report: "CopyReport") -> Iterator[str]:
    from ocitool.cli.render import texts

    for image in report.images:
        for name in image.names:
            yield f"Loaded image: {texts.familiar(name)}"
        if not image.names:
            yield f"Loaded image ID: {image.image_id or image.digest}"


def _archive(argument: str | None, option: str | None) -> str:
    if argument is not None and option is not None:
        raise UsageError("name the archive only once: as an argument or with -i")
    found = argument if argument is not None else option
    if found is None:
        found = "-"
    if found == "-" and console.is_terminal(sys.stdin):
        raise UsageError(
            "there is no archive to load: standard input is a terminal",
            hint="name a file, or pipe one in: docker save NAME | ocitool load",
        )
    if found == "":
        raise UsageError("the path of the archive is empty")
    return os.fspath(found)
