"""ocitool images: what the store or another place holds."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.shared import NoTruncation
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted
from ocitool.cli.render.formatted import Format, formatted, is_template
from ocitool.cli.render.images import ImageRow, image_lines, image_records, short_id
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.containers.uses import ContainerUse
    from ocitool.events import Observer
    from ocitool.images.filters import ImageFilters
    from ocitool.images.listing import ListedImage
    from ocitool.images.locations import Place
    from ocitool.oci import Digest
    from ocitool.places.layout import Layout

Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="KEY=VALUE",
        help="dangling=true, label=KEY[=VALUE], label!=KEY[=VALUE], reference=PATTERN, "
        "before=NAME, since=NAME",
    ),
]
Containers = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER", help="Containers to look for, as for `gc`."),
]


NameOrPlace = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME|PLACE]",
        help="A name or pattern of the store, or a place: ./FILE, oci:DIR, docker-daemon:, …",
        autocompletion=store_names,
    ),
]
Artifacts = Annotated[
    bool,
    typer.Option(
        "--all",
        "-a",
        help="Also list artifacts, such as signatures, and single platforms of an index.",
    ),
]
Digests = Annotated[bool, typer.Option("--digests", help="Show digests.")]


@with_options(out=OUTPUT)
def images(
    name: NameOrPlace = None,
    *,
    show_all: Artifacts = False,
    digests: Digests = False,
    no_trunc: NoTruncation = False,
    template: Format = None,
    filters: Filters = None,
    containers: Containers = None,
    out: Output,
) -> None:
    """List the images of the store or another place; <none> is an image that lost its name."""
    from ocitool.cli import documents
    from ocitool.images.filters import LIST_KEYS, parse_filters
    from ocitool.images.locations import parse_place

    wanted = parse_filters(filters or (), LIST_KEYS)
    place = parse_place(name) if name is not None else None
    rows = _rows(place, wanted, containers or (), out)
    shown = [row for row in rows if show_all or not _is_minor(row.image)]
    if not shown:
        _explain_nothing(place, filters or (), hidden=len(rows), out=out)
    if template is not None and is_template(template, json=out.is_json):
        out.lines(formatted(template, image_records(shown, no_trunc=no_trunc)))
        return
    found = [row.image.identifier for row in shown]
    ids = dict.fromkeys(found if no_trunc else map(short_id, found))
    out.result(
        shown,
        text=lambda rows: image_lines(rows, digests=digests, no_trunc=no_trunc),
        ids=lambda _: ids,
        view=documents.LISTED,
    )
    hidden = len(rows) - len(shown)
    if shown and hidden and console.is_terminal(sys.stdout):
        artifacts = sum(row.image.kind == "artifact" for row in rows)
        kinds = [(artifacts, "more artifact"), (hidden - artifacts, "single platform")]
        told = " and ".join(counted(*kind) for kind in kinds if kind[0])
        out.summary([f"{told}: -a lists {'it' if hidden == 1 else 'them'} too"])


def _is_minor(image: "ListedImage") -> bool:
    """Tell whether an image is listed with -a only: it belongs to another one."""
    return image.kind == "artifact" or image.is_part


def _explain_nothing(
    place: "Place | None", filters: Sequence[str], *, hidden: int, out: Output
) -> None:
    """Say on stderr what was looked for when the list is empty, and what else may be meant."""
    from ocitool.images.hints import file_hint
    from ocitool.images.locations import PlaceKind
    from ocitool.oci.quoting import quoted

    if hidden:
        out.remark([f"only artifacts were found: -a lists {'it' if hidden == 1 else 'them'} too"])
        return
    wanted = [f"fits --filter {filter_}" for filter_ in filters]
    is_stored = place is None or place.kind is PlaceKind.STORE
    if is_stored and place is not None:
        wanted.insert(0, f"is called {quoted(place.name or '')}")
    if wanted and not (is_stored and not os.path.exists(out.options.store)):
        where = "" if is_stored or place is None else f" {place.text}"
        out.remark([f"no image {' and '.join(wanted)}; `ocitool images{where}` lists all"])
    if place is not None and (hint := file_hint(place)) is not None:
        out.remark([hint])


def _rows(
    place: "Place | None", wanted: "ImageFilters", containers: Sequence[str], out: Output
) -> list[ImageRow]:
    """Return the images of the store or of another place, as the filters choose."""
    from ocitool.images.locations import PlaceKind

    if place is None or place.kind is PlaceKind.STORE:
        name = place.name if place is not None else None
        return _of_store(name, wanted, containers, out)
    return [ImageRow(image=image) for image in _of_place(place, wanted, out)]


def _of_store(
    pattern: str | None, filters: "ImageFilters", words: Sequence[str], out: Output
) -> list[ImageRow]:
    from ocitool.images.listing import created_in, list_store, select
    from ocitool.images.lookup import find_image

    try:
        store = out.options.open_store()
    except NotFound as error:
        out.remark([f"{error.message}; {error.hint}"])
        return []
    with store as layout:
        listed = list_store(layout, out.observer)
        holders: Mapping[Digest, tuple[ContainerUse, ...]] = {}
        if words or any(image.is_dangling for image in listed):
            holders = _holders(layout, words, out.observer)
        found = select(
            listed,
            filters,
            lambda name: created_in(listed, str(find_image(layout, name).root.descriptor.digest)),
        )
    return [
        ImageRow(image=image, holders=holders.get(image.digest, ()) if image.digest else ())
        for image in found
        if pattern is None or image.is_called([pattern])
    ]


def _of_place(place: "Place", filters: "ImageFilters", out: Output) -> "list[ListedImage]":
    """Return the images of a layout, an archive or an engine; NotFound when it holds none."""
    from ocitool.images.listing import created_in, list_engine, list_source, select
    from ocitool.images.locations import ENGINES, PlaceKind
    from ocitool.images.opening import engine_of, open_source

    if place.kind is PlaceKind.REGISTRY:
        raise UsageError(
            f"{place.text!r} is in a registry, and `images` does not list registries",
            hint=f"use: ocitool registry tags {place.name}, or ocitool inspect {place.text}",
        )
    if place.kind in ENGINES:
        with engine_of(place) as engine:
            listed = list_engine(engine)
        if place.name is not None:
            listed = [one for one in listed if one.is_called([place.name])]
    else:
        options = out.options
        with open_source(
            place, store=options.store_for(place), stdin=0, scratch=options.temporary
        ) as opened:
            listed = list_source(opened.source, opened.roots)
    if not listed:
        raise NotFound(f"{place.text} holds no image")
    return select(listed, filters, lambda name: created_in(listed, name))


def _holders(
    layout: "Layout", words: Sequence[str], observer: "Observer"
) -> "Mapping[Digest, tuple[ContainerUse, ...]]":
    """Return the users of each image.

    A provider that cannot answer is an error only if it was named.
    """
    from ocitool.containers.providers import known_uses
    from ocitool.containers.uses import containers_by_image

    answers = known_uses(words, layout=layout)
    for problem in answers.problems:
        observer.remark(problem)
    return containers_by_image(layout, answers.uses)
