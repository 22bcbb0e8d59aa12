"""A list of images: on a terminal for people, in a pipe for programs, or by a template."""

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.render import console
from ocitool.cli.render.columns import age, fits, size, table
from ocitool.cli.render.template import Record

if TYPE_CHECKING:
    from ocitool.containers.uses import ContainerUse
    from ocitool.images.listing import ListedImage
    from ocitool.places.layout.reflog import FormerName

_NONE = "<none>"
_HEADER = ["REPOSITORY", "TAG", "IMAGE ID", "PLATFORM", "CREATED", "SIZE", "UNPACKED"]
_MORE = ["UNIQUE", "HELD BY"]
_DROPPED = (6, 3)
"""The columns that are left out where there is little room."""
_RIGHT = (5, 6, 7)
_BELOW = "  "


class ImageRow(Struct, frozen=True, kw_only=True):
    """An image, and the containers that use it."""

    image: "ListedImage"
    holders: "tuple[ContainerUse, ...]" = ()


def image_lines(rows: Sequence[ImageRow], *, digests: bool, no_trunc: bool) -> Iterator[str]:
    """Yield a table. In a pipe it has the same columns every time, and nothing is cut."""
    width = console.terminal_width()
    now = dt.datetime.now(dt.UTC)
    if width is None:
        yield from _data(rows, now, digests=digests, no_trunc=no_trunc)
    elif digests:
        yield from _with_digests(rows, now, width, no_trunc=no_trunc)
    else:
        yield from _table(rows, now, None if no_trunc else width, no_trunc=no_trunc)


def _data(
    rows: Sequence[ImageRow], now: dt.datetime, *, digests: bool, no_trunc: bool
) -> Iterator[str]:
    header = [*_HEADER, *_MORE, "FORMER NAME"]
    if digests:
        header.insert(2, "DIGEST")
    lines = []
    for row in rows:
        former = row.image.former if row.image.is_dangling else None
        behind = [
            size(row.image.unique),
            held_by(row) or "-",
            _familiar(former.name) if former is not None else "-",
        ]
        for cells in _cells(row, now, no_trunc=no_trunc):
            if digests:
                cells.insert(2, str(row.image.digest or _NONE))
            lines.append([*cells, *behind])
    shift = 1 if digests else 0
    yield from table(header, lines, right=[column + shift for column in _RIGHT])


def _table(
    rows: Sequence[ImageRow], now: dt.datetime, width: int | None, *, no_trunc: bool
) -> Iterator[str]:
    for row, lines, rest in _by_image(rows, now, width, no_trunc=no_trunc):
        yield from lines
        if row is not None:
            yield from rest


def _with_digests(
    rows: Sequence[ImageRow], now: dt.datetime, width: int, *, no_trunc: bool
) -> Iterator[str]:
    """Yield each image, and below it its whole digest, which has no room beside the rest."""
    for row, lines, rest in _by_image(rows, now, None if no_trunc else width, no_trunc=no_trunc):
        yield from lines
        if row is not None:
            yield f"{_BELOW}{row.image.digest or _NONE}"
            yield from rest


def _by_image(
    rows: Sequence[ImageRow], now: dt.datetime, width: int | None, *, no_trunc: bool
) -> Iterator[tuple[ImageRow | None, list[str], list[str]]]:
    """Yield the header, with None, and then each image, with its lines of the table.

    Behind them are lines with its former name and its users, where they have no room in the table.
    """
    more = any(row.image.is_dangling or row.holders or row.image.pin for row in rows)
    header, cells = _wide(rows, now, more=more, no_trunc=no_trunc)
    every = [line for lines in cells for line in lines]
    is_narrow = more and width is not None and not fits(header, every, width, drop=_DROPPED)
    if is_narrow:
        header, cells = _HEADER, [_cells(row, now, no_trunc=no_trunc) for row in rows]
        every = [line for lines in cells for line in lines]
    shown = iter(table(header, every, right=_RIGHT, drop=_DROPPED, shrink=(0, 1), width=width))
    yield None, [next(shown)], []
    for row, lines in zip(rows, cells, strict=True):
        rest = [*_below(row, now)] if is_narrow else []
        yield row, list(itertools.islice(shown, len(lines))), rest


def _wide(
    rows: Sequence[ImageRow], now: dt.datetime, *, more: bool, no_trunc: bool
) -> tuple[list[str], list[list[list[str]]]]:
    """Return the header and the lines of each image; with `more` also what is unique and users."""
    cells = [
        [
            [_called(row, line[0], now), *line[1:], *behind]
            for behind in [[size(row.image.unique), held_by(row)] if more else []]
            for line in _cells(row, now, no_trunc=no_trunc)
        ]
        for row in rows
    ]
    return [*_HEADER, *(_MORE if more else [])], cells


def _below(row: ImageRow, now: dt.datetime) -> Iterator[str]:
    """Yield the former name and the users of an image, on lines below it."""
    if row.image.is_dangling and row.image.former is not None:
        called = _called_before(row.image.former, now)
        yield f"{_BELOW}{called}; {size(row.image.unique)} unique"
    if held := held_by(row):
        yield f"{_BELOW}held by {held}"


def image_records(rows: Sequence[ImageRow], *, no_trunc: bool) -> Iterator[Record]:
    """Yield what a template can print: a record for each name of an image, as in docker."""
    now = dt.datetime.now(dt.UTC)
    for row in rows:
        for cells in _cells(row, now, no_trunc=no_trunc):
            yield _record(row, cells)


def _record(row: ImageRow, cells: list[str]) -> Record:
    repository, tag, identifier, platform, created, stored, unpacked = cells
    image = row.image
    unique = size(image.unique)
    return Record(
        Repository=repository,
        Tag=tag,
        Digest=str(image.digest or _NONE),
        ID=identifier,
        Id=identifier,
        Names=[_familiar(name) for name in image.names],
        Platform=platform,
        Created=created,
        CreatedSince=created,
        CreatedAt=image.created or "",
        Size=stored,
        VirtualSize=stored,
        UniqueSize=unique,
        SharedSize=size(max(0, image.size - image.unique)),
        Unpacked=unpacked,
        Kind=image.kind,
        Labels=dict(image.labels),
        Containers=len(row.holders),
        HeldBy=held_by(row),
        FormerName=_familiar(image.former.name) if image.former is not None else "",
    )


def short_id(digest: str) -> str:
    """Return what is shown of an image ID."""
    return digest.partition(":")[2][:12]


def _called_before(former: "FormerName", now: dt.datetime) -> str:
    lost = f", {age(former.lost, now)}" if former.lost else ""
    return f"was {_familiar(former.name)}{lost}"


def _called(row: ImageRow, repository: str, now: dt.datetime) -> str:
    """Return the repository, or for an image without a name the one that it had."""
    if row.image.is_dangling and row.image.former is not None:
        return f"{repository} {_called_before(row.image.former, now)}"
    return repository


def held_by(row: ImageRow) -> str:
    """Return who uses an image."""
    from ocitool.containers.uses import describe_uses

    parts = [console.safe(describe_uses(row.holders))] if row.holders else []
    if row.image.pin is not None:
        parts.append("a pin")
    return ", ".join(parts)


def _cells(row: ImageRow, now: dt.datetime, *, no_trunc: bool) -> list[list[str]]:
    image = row.image
    rest = [
        image.identifier if no_trunc else short_id(image.identifier),
        _platforms(image),
        age(image.created, now),
        size(image.size),
        size(image.unpacked),
    ]
    return [[*pair, *rest] for pair in _names(image)]


def _names(image: "ListedImage") -> list[list[str]]:
    from ocitool.cli.render import texts
    from ocitool.oci.annotations import is_full

    if image.names or image.label is not None:
        names = [*image.names, *filter(is_full, image.other_names)]
        bare = [name for name in image.further_names if not is_full(name)]
        pairs = [list(pair) for pair in texts.table_name(names)]
        return pairs + [[_NONE, console.safe(text)] for text in bare]
    if image.kind == "artifact":
        return [[console.safe(image.artifact_type or "artifact"), _NONE]]
    return [[_NONE, _NONE]]


def _familiar(name: str) -> str:
    from ocitool.cli.render import texts

    return texts.familiar(name)


def _platforms(image: "ListedImage") -> str:
    if image.problem:
        return "damaged"
    if len(image.platforms) > 2:
        return f"{len(image.platforms)} platforms"
    return console.safe(", ".join(image.platforms)) or "-"
