"""ocitool images: what the store or another place holds."""

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.shared import NoTruncation
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, fits, size, table
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.containers import ContainerUse
    from ocitool.events import Observer
    from ocitool.images.filters import ImageFilters
    from ocitool.images.listing import ListedImage
    from ocitool.images.locations import Place
    from ocitool.oci import Digest
    from ocitool.places.layout import Layout
    from ocitool.places.layout.reflog import FormerName

_NONE = "<none>"
_DROPPED = (6, 3)
"""The columns to leave out on a narrow terminal."""

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


class _Row(Struct, frozen=True, kw_only=True):
    """An image, and the containers that use it."""

    image: "ListedImage"
    holders: "tuple[ContainerUse, ...]" = ()


@with_options(out=OUTPUT)
def images(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|PLACE]",
            help="A name or pattern of the store, or a place: ./FILE, oci:DIR, docker-daemon:, …",
        ),
    ] = None,
    *,
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Also list artifacts, such as signatures.")
    ] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Show digests.")] = False,
    no_trunc: NoTruncation = False,
    filters: Filters = None,
    containers: Containers = None,
    out: Output,
) -> None:
    """List the images of the store or another place; <none> is an image that lost its name."""
    from ocitool.cli import documents
    from ocitool.images.filters import LIST_KEYS, parse_filters
    from ocitool.images.locations import PlaceKind, parse_place

    wanted = parse_filters(filters or (), LIST_KEYS)
    place = parse_place(name) if name is not None else None
    if place is None or place.kind is PlaceKind.STORE:
        rows = _of_store(place.name if place is not None else None, wanted, containers or (), out)
    else:
        rows = [_Row(image=image) for image in _of_place(place, wanted, out)]
    out.result(
        [row for row in rows if show_all or row.image.kind != "artifact"],
        text=lambda rows: _lines(rows, digests=digests, no_trunc=no_trunc),
        ids=lambda rows: dict.fromkeys(
            row.image.identifier if no_trunc else _short(row.image.identifier) for row in rows
        ),
        view=documents.LISTED,
    )


def _of_store(
    pattern: str | None, filters: "ImageFilters", words: Sequence[str], out: Output
) -> list[_Row]:
    from ocitool.images.filters import matches_name
    from ocitool.images.listing import created_in, list_store, select
    from ocitool.images.lookup import find_image

    try:
        store = out.options.open_store()
    except NotFound:
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
        _Row(image=image, holders=holders.get(image.digest, ()) if image.digest else ())
        for image in found
        if pattern is None or matches_name(image.names, image.label, [pattern])
    ]


def _of_place(place: "Place", filters: "ImageFilters", out: Output) -> "list[ListedImage]":
    """Return the images of a layout, an archive or an engine; NotFound when it holds none."""
    from ocitool.images.filters import matches_name
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
            listed = [one for one in listed if matches_name(one.names, None, [place.name])]
    else:
        options = out.options
        with open_source(place, store=options.store, stdin=0, scratch=options.temporary) as opened:
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
    from ocitool.containers import containers_by_image, known_uses

    answers = known_uses(words, layout=layout)
    for problem in answers.problems:
        observer.remark(problem)
    return containers_by_image(layout, answers.uses)


def _lines(rows: Sequence[_Row], *, digests: bool, no_trunc: bool) -> Iterator[str]:
    header = ["REPOSITORY", "TAG", "IMAGE ID", "PLATFORM", "CREATED", "SIZE", "UNPACKED"]
    if digests:
        header = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    more = any(row.image.is_dangling or row.holders or row.image.pin for row in rows)
    if more:
        header += ["ALONE", "HELD BY"]
    now = dt.datetime.now(dt.UTC)
    lines = [
        [*cells, *([size(row.image.unique), _held_by(row)] if more else [])]
        for row in rows
        for cells in _cells(row, now, digests=digests, trunc=no_trunc)
    ]
    right = (5, 6) if digests else (5, 6, 7)
    width = None if no_trunc or digests else console.width()
    if more and width is not None and not fits(header, lines, width, drop=_DROPPED):
        yield from _lines_below(rows, header[:-2], now, width)
        return
    yield from table(header, lines, right=right, drop=_DROPPED, shrink=(0, 1), width=width)


def _lines_below(
    rows: Sequence[_Row], header: list[str], now: dt.datetime, width: int
) -> Iterator[str]:
    """Yield each image, with its former name and its users on lines of their own below it."""
    cells = [_cells(row, now, digests=False, trunc=False) for row in rows]
    for row, lines in zip(rows, cells, strict=True):
        if row.image.is_dangling:
            lines[0][0] = _NONE
    every = [line for lines in cells for line in lines]
    shown = iter(table(header, every, right=(5, 6), drop=_DROPPED, shrink=(0, 1), width=width))
    yield next(shown)
    for row, lines in zip(rows, cells, strict=True):
        yield from itertools.islice(shown, len(lines))
        if row.image.is_dangling and row.image.former is not None:
            yield (f"  {_called_before(row.image.former, now)}; {size(row.image.unique)} alone")
        held = _held_by(row)
        if held:
            yield (f"  held by {held}")


def _called_before(former: "FormerName", now: dt.datetime) -> str:
    from ocitool.cli.render import texts

    lost = f", {age(former.lost, now)}" if former.lost else ""
    return f"was {texts.familiar(former.name)}{lost}"


def _held_by(row: _Row) -> str:
    from ocitool.containers import describe_uses

    parts = [console.safe(describe_uses(row.holders))] if row.holders else []
    if row.image.pin is not None:
        parts.append("a pin")
    return ", ".join(parts)


def _cells(row: _Row, now: dt.datetime, *, digests: bool, trunc: bool) -> list[list[str]]:
    identifier = row.image.identifier if trunc else _short(row.image.identifier)
    created, stored = age(row.image.created, now), size(row.image.size)
    if digests:
        rest = [str(row.image.digest or "-"), identifier, created, stored]
    else:
        rest = [identifier, _platforms(row.image), created, stored, size(row.image.unpacked)]
    return [[*pair, *rest] for pair in _names(row, now)]


def _names(row: _Row, now: dt.datetime) -> list[list[str]]:
    from ocitool.cli.render import texts

    if row.image.names:
        return [list(pair) for pair in texts.table_name(row.image.names)]
    if row.image.label is not None:
        return [[_NONE, console.safe(row.image.label)]]
    if row.image.kind == "artifact":
        return [[console.safe(row.image.artifact_type or "artifact"), _NONE]]
    if row.image.former is not None:
        return [[f"{_NONE} {_called_before(row.image.former, now)}", _NONE]]
    return [[_NONE, _NONE]]


def _platforms(image: "ListedImage") -> str:
    if image.problem:
        return "damaged"
    if len(image.platforms) > 2:
        return f"{len(image.platforms)} platforms"
    return console.safe(", ".join(image.platforms)) or "-"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]
