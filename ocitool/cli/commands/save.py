"""ocitool save: images into one archive."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.attempts import Attempts
from ocitool.cli.completing import store_names, words
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.interrupted import UNCHANGED, not_written
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import LISTS, NameLists
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.options.transfer import CONVERSION
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.image.content import Catalog, Root
    from ocitool.images.locations import Place
    from ocitool.places.layout import Layout
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


Destination = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|-",
        help="Write to a file, stdout (-) or an engine: docker-daemon:, podman:, containerd:.",
    ),
]
Form = Annotated[
    str,
    typer.Option(
        "--type",
        metavar="universal|docker|oci",
        autocompletion=words("universal", "docker", "oci"),
        help="Form of the archive: docker (plain layers), oci, or universal (read as both).",
    ),
]


AllTags = Annotated[
    bool, typer.Option("--all-tags", help="Each NAME is a repository: save all its tags.")
]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…",
        help="Images of the store, or docker-daemon:NAME…",
        autocompletion=store_names,
    ),
]


@with_options(lists=LISTS, options=CONVERSION, out=OUTPUT)
@says_where_else("ocitool save SRC -o FILE", "ocitool copy SRC oci-archive:FILE")
def save(
    names: Names = None,
    *,
    lists: NameLists,
    output: Destination = "-",
    form: Form = "universal",
    options: "TransferOptions",
    all_tags: AllTags = False,
    out: Output,
) -> None:
    """Save images as one tar that docker, podman, skopeo and containerd load.

    Layers are written as they are, and the same images always give the same bytes. A FILE ends
    in .tar, .tar.gz or .tar.zst, and appears only when it is complete.
    """
    from ocitool.cli.render import texts
    from ocitool.operations.deliver import deliver
    from ocitool.operations.save import check_form
    from ocitool.transfer.report import CopyReport

    wanted = lists.names(names, "NAME", out)
    check_form(form, options.compression)
    target = _checked_target(output, wanted, out)
    attempts = Attempts(out, 1)
    report = CopyReport(images=())
    with (
        out.working("saving", left=_left(target)),
        attempts.one(output),
        _opened(wanted, output, out, all_tags=all_tags) as (source, roots),
    ):
        report = deliver(
            source,
            roots,
            target,
            options,
            form=form,
            featured=usual_platform(),
            write=console.out_bytes,
            observer=out.observer,
        )
    _say(report, attempts, output, out)
    made_by = f"--type {form}" if form == "docker" else options.changed_by
    name = "the tar" if output == "-" else output
    out.summary([texts.saved(f"saved {name}", report, out.seconds, made_by)])
    attempts.finish()


def _checked_target(output: str, wanted: list[str], out: Output) -> "Place":
    """Return what -o means; UsageError, before any work, where that cannot be written."""
    from ocitool.cli.delivery import check_destination
    from ocitool.operations.save import check_file_name

    _refuse_file(wanted, output, out)
    target = _target(output, wanted)
    check_file_name(target.path)
    check_destination(target.path, out)
    return target


def _say(report: "CopyReport", attempts: Attempts, output: str, out: Output) -> None:
    """Print what was saved, unless the tar itself is on stdout."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts

    if output == "-":
        return
    out.result(
        report,
        text=lambda report: [f"Saved image: {texts.called_image(i)}" for i in report.images],
        ids=texts.digests,
        view=documents.SAVED.beside(
            destination=output, failed=[documents.FAILURE(one) for one in attempts.failed]
        ),
    )
    out.remark(texts.remarks(report, into_store=False))


def _left(target: "Place") -> str:
    """Return what a save that is interrupted leaves."""
    from ocitool.images.locations import ENGINES

    return UNCHANGED if target.kind in ENGINES else not_written(target.path)


def _refuse_file(names: list[str], output: str, out: Output) -> None:
    """Raise UsageError for the file of the archive among the names of images."""
    from ocitool.images.hints import is_named_as_file
    from ocitool.images.locations import PlaceKind, parse_place

    files = [name for name in names[1:] if is_named_as_file(name)]
    if output != "-" or len(files) != 1 or len(names) < 2:
        return
    place = parse_place(files[0])
    if place.kind is PlaceKind.STORE and _is_stored(files[0], out):
        return
    rest = " ".join(name for name in names if name != files[0])
    raise UsageError(
        f"{files[0]!r} is a file, and save takes the names of images",
        hint=f"write the file behind -o: ocitool save {rest} -o {files[0]}",
    )


def _is_stored(name: str, out: Output) -> bool:
    from ocitool.images.lookup import find_image

    try:
        with out.options.open_store() as layout:
            return find_image(layout, name).name is not None
    except NotFound:
        return False


def _target(output: str, names: list[str]) -> "Place":
    """Return what -o means: a file, stdout, or an engine."""
    from ocitool.images.locations import RECEIVERS, Place, PlaceKind, parse_place

    if not output:
        raise UsageError("-o is empty")
    target = parse_place(output)
    if target.kind in (PlaceKind.STORE, PlaceKind.PATH) and not output.startswith("store:"):
        return Place(kind=PlaceKind.PATH, path=output, text=output)
    if target.kind not in RECEIVERS or target.name:
        raise UsageError(
            f"-o takes a file, - or an engine without a name, not {output!r}",
            hint=f"use: ocitool copy {names[0]} {output}",
        )
    return target


@contextlib.contextmanager
def _opened(
    names: list[str], output: str, out: Output, *, all_tags: bool
) -> "Iterator[tuple[Catalog, list[Root]]]":
    """Open the place that has the images: the store, or one engine for all of them."""
    from ocitool.images.locations import ENGINES, PlaceKind, parse_place
    from ocitool.images.opening import exported

    places = [parse_place(name) for name in names]
    kinds = {place.kind for place in places}
    if kinds == {PlaceKind.STORE}:
        with out.options.open_store() as layout:
            wanted = [place.name or "" for place in places]
            yield layout, (_all_tags(layout, wanted) if all_tags else _chosen(layout, wanted))
    elif len(kinds) == 1 and kinds <= set(ENGINES) and not all_tags:
        with exported(places, scratch=out.options.temporary, observer=out.observer) as archive:
            yield archive, list(archive.roots())
    else:
        other = next((place for place in places if place.kind is not PlaceKind.STORE), places[0])
        target = "-" if output == "-" else f"oci-archive:{output}"
        raise UsageError(
            "save takes images of the store, or of one engine",
            hint=f"for other places use `ocitool copy {other.text} {target}`",
        )


def _chosen(layout: "Layout", names: list[str]) -> "list[Root]":
    """Return the roots with the names that were asked for; by ID all names of the image."""
    from msgspec.structs import replace

    from ocitool.images.lookup import find_images

    found = find_images(layout, names)
    return [replace(one.root, names=(one.name,)) if one.name else one.root for one in found]


def _all_tags(layout: "Layout", names: list[str]) -> "list[Root]":
    from msgspec.structs import replace

    from ocitool.oci import Reference

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
