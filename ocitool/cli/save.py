"""ocitool save: images of the store into one archive."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli import console
from ocitool.cli.options import (
    Json,
    Quiet,
    SomePlatforms,
    Strict,
    platforms,
    settings,
    usual_platform,
)
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.content import Root
    from ocitool.layout import Layout


def save(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Images of the store.")],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="Where to write; - is stdout.")
    ] = "-",
    platform: SomePlatforms = None,
    all_tags: Annotated[
        bool, typer.Option("--all-tags", help="Each NAME is a repository: save all its tags.")
    ] = False,
    strict: Strict = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Save images as one tar that docker, podman, skopeo and containerd load.

    Layers are written as they are, and the same images always give the same bytes. A FILE ends
    in .tar, .tar.gz or .tar.zst, and appears whole or not at all.
    """
    from ocitool import copying
    from ocitool.cli import texts
    from ocitool.places import open_store

    options = settings(context)
    if output == "-" and console.is_terminal(sys.stdout):
        raise UsageError(
            "a tar is not written to a terminal", hint="use -o FILE, or pipe it into a command"
        )
    if output == "-" and json:
        raise UsageError("--json and the tar cannot both go to stdout", hint="use -o FILE")
    observer = options.observer(quiet=quiet)
    with open_store(options.store) as layout:
        roots = _all_tags(layout, names) if all_tags else _chosen(layout, names)
        wanted, featured = platforms(platform), usual_platform()
        if output == "-":
            copying.save(
                layout,
                roots,
                console.out_bytes,
                platforms=wanted,
                featured=featured,
                strict=strict,
                observer=observer,
            )
            return
        report = copying.save_file(
            layout,
            roots,
            output,
            platforms=wanted,
            featured=featured,
            strict=strict,
            observer=observer,
        )
    if json:
        console.out_json({"file": output, **texts.report_json(report)})
        return
    for image in report.images:
        if quiet or options.quiet:
            console.out(str(image.digest))
        else:
            console.out(f"Saved image: {texts.called_image(image)}")


def _chosen(layout: "Layout", names: list[str]) -> "list[Root]":
    """Return the roots, each once, with the names that were asked for, in that order."""
    from dataclasses import replace

    from ocitool.lookup import find_image

    chosen: dict[object, Root] = {}
    for text in names:
        found = find_image(layout, text.removeprefix("store:"))
        digest = found.root.descriptor.digest
        asked = (found.name,) if found.name else found.root.names
        known = chosen[digest].names if digest in chosen else ()
        chosen[digest] = replace(found.root, names=tuple(dict.fromkeys((*known, *asked))))
    return list(chosen.values())


def _all_tags(layout: "Layout", names: list[str]) -> "list[Root]":
    from dataclasses import replace

    from ocitool.spec import Reference

    wanted = {Reference.parse(text).repository for text in names}
    chosen = []
    for root in layout.roots():
        mine = tuple(name for name in root.names if Reference.parse(name).repository in wanted)
        if mine:
            chosen.append(replace(root, names=mine))
    found = {Reference.parse(name).repository for root in chosen for name in root.names}
    for missing in sorted(wanted - found):
        raise NotFound(f"the store holds no image of the repository {missing!r}")
    return chosen
