"""ocitool load: images from an archive into the store."""

import os
import sys
from typing import Annotated

import typer

from ocitool.cli.options.shared import (
    Compression,
    Json,
    Quiet,
    SomePlatforms,
    Strict,
    platforms,
    settings,
)
from ocitool.cli.render import console
from ocitool.errors import UsageError


def load(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|DIR|-]", help="The archive; - is standard input.")
    ] = None,
    *,
    source_option: Annotated[
        str | None, typer.Option("--input", "-i", metavar="FILE", help="The archive, as in docker.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call the one image in it so.")
    ] = None,
    platform: SomePlatforms = None,
    compression: Compression = None,
    no_clobber: Annotated[
        bool, typer.Option("--no-clobber", help="Refuse to move a name that exists.")
    ] = False,
    strict: Strict = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Load images from an archive: docker save, podman save, an OCI layout or tar, a folder."""
    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind, open_source, parse_place, path_place
    from ocitool.operations import load as copying
    from ocitool.places.layout import Layout
    from ocitool.transfer.pipeline import TransferOptions

    options = settings(context)
    text = _archive(source, source_option)
    place = parse_place(text)
    if place.kind is PlaceKind.STORE:
        place = path_place(text)
    observer = options.observer(quiet=quiet)
    with (
        open_source(place, store=options.store, stdin=0, scratch=options.temporary) as opened,
        Layout.create(options.store, store=True, observer=observer) as layout,
    ):
        report = copying.load(
            opened.source,
            layout,
            TransferOptions(
                name=texts.full(tag) if tag is not None else None,
                platforms=platforms(platform),
                compression=compression,
                strict=strict,
            ),
            roots=opened.roots,
            clobber=not no_clobber,
            observer=observer,
        )
    if json:
        console.out_json({"store": options.store, **texts.report_json(report)})
        return
    for image in report.images:
        if quiet or options.quiet:
            console.out(str(image.digest))
        elif image.names:
            for name in image.names:
                console.out(f"Loaded image: {texts.familiar(name)}")
        else:
            console.out(f"Loaded image ID: {image.image_id or image.digest}")
    for line in texts.remarks(report):
        observer.remark(line)


def _archive(argument: str | None, option: str | None) -> str:
    if argument is not None and option is not None:
        raise UsageError("name the archive once, not with -i as well")
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
