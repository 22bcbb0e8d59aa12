"""ocitool copy: images from any place to any other."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli import console
from ocitool.cli.options import (
    Json,
    Quiet,
    Settings,
    SomePlatforms,
    Strict,
    platforms,
    settings,
    usual_platform,
)
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.copying import CopyReport
    from ocitool.events import Observer
    from ocitool.places import Opened, Place
    from ocitool.spec import Platform


def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="NAME, oci:DIR:TAG, ./FILE, …")],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="NAME, oci:DIR:TAG, oci-archive:FILE, …")
    ],
    *,
    platform: SomePlatforms = None,
    strict: Strict = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Copy images between the store, OCI layouts and archives, digests unchanged.

    Places: NAME or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME],
    dir:DIR (read only), and paths that begin with ./ or /. Without a name in SRC everything in it
    is copied.
    """
    from ocitool.cli import texts
    from ocitool.places import PlaceKind, open_source, parse_place

    options = settings(context)
    target = parse_place(destination)
    observer = options.observer(quiet=quiet)
    with open_source(
        parse_place(source), store=options.store, stdin=0, scratch=options.temporary
    ) as opened:
        report = _copy(opened, target, options, platforms(platform), observer, strict=strict)
    if json:
        console.out_json({"destination": destination, **texts.report_json(report)})
        return
    if target.path != "-":
        for image in report.images:
            console.out(str(image.digest))
    for line in texts.remarks(report, into_store=target.kind is PlaceKind.STORE):
        observer.remark(line)


def _copy(
    opened: "Opened",
    target: "Place",
    options: Settings,
    wanted: "tuple[Platform, ...]",
    observer: "Observer",
    *,
    strict: bool,
) -> "CopyReport":
    from ocitool import copying
    from ocitool.cli import texts
    from ocitool.layout import Layout
    from ocitool.places import PlaceKind

    if target.kind is PlaceKind.FOLDER:
        raise UsageError("the dir: form is read only", hint="write oci:DIR:TAG instead")
    if target.kind in (PlaceKind.STORE, PlaceKind.LAYOUT):
        own = target.kind is PlaceKind.STORE
        name = texts.full(target.name) if own and target.name else target.name
        path = options.store if own else target.path
        with Layout.create(path, store=own) as layout:
            return copying.load(
                opened.source,
                layout,
                roots=opened.roots,
                name=name,
                platforms=wanted,
                strict=strict,
                observer=observer,
            )
    return _to_archive(opened, target, wanted, observer, strict=strict)


def _to_archive(
    opened: "Opened",
    target: "Place",
    wanted: "tuple[Platform, ...]",
    observer: "Observer",
    *,
    strict: bool,
) -> "CopyReport":
    from dataclasses import replace

    from ocitool import copying
    from ocitool.cli import texts
    from ocitool.places import PlaceKind, one_root

    roots = list(opened.roots)
    if target.name:
        bare = target.kind is PlaceKind.OCI_ARCHIVE and not {"/", ":"} & set(target.name)
        names = () if bare else (texts.full(target.name),)
        label = target.name if bare else None
        roots = [replace(one_root(opened), names=names, label=label)]
    featured = usual_platform()
    if target.path != "-":
        return copying.save_file(
            opened.source,
            roots,
            target.path,
            platforms=wanted,
            featured=featured,
            strict=strict,
            observer=observer,
        )
    if console.is_terminal(sys.stdout):
        raise UsageError("a tar is not written to a terminal", hint="name a file, or pipe it")
    return copying.save(
        opened.source,
        roots,
        console.out_bytes,
        platforms=wanted,
        featured=featured,
        strict=strict,
        observer=observer,
    )
