"""ocitool images: what the store holds."""

import datetime as dt
import fnmatch
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.options.shared import Json, NoTruncation, Quiet, settings
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, fits, size, table
from ocitool.errors import IntegrityError, NotFound, Refused, UsageError

if TYPE_CHECKING:
    from ocitool.containers import ContainerUse
    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.summaries import ImageSummary
    from ocitool.oci import Digest
    from ocitool.places.layout import Layout
    from ocitool.places.layout.pins import Pin
    from ocitool.places.layout.reflog import FormerName

_NONE = "<none>"
_DROPPED = (6, 3)
"""The columns that go where there is little room."""


class _Row(Struct, frozen=True, kw_only=True):
    """An image of the store: its entry, its summary, its past and who holds it.

    `alone` are the bytes that no other image has.
    """

    root: "Root"
    summary: "ImageSummary"
    former: "FormerName | None"
    unpacked: int | None
    alone: int
    holders: "tuple[ContainerUse, ...]" = ()
    pin: "Pin | None" = None

    @property
    def identifier(self) -> str:
        """The image ID, or the digest of an index, which has no image ID of its own."""
        single = self.summary.kind == "image" and len(self.summary.image_ids) == 1
        return self.summary.image_ids[0] if single else str(self.root.descriptor.digest)

    @property
    def dangling(self) -> bool:
        """Whether the image has no name of any kind."""
        return not self.root.names and self.root.label is None and self.summary.kind != "artifact"


def images(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A repository, name or pattern.")
    ] = None,
    *,
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Artifacts too, such as signatures.")
    ] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Show digests.")] = False,
    no_trunc: NoTruncation = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="dangling=true, label=KEY[=VALUE], reference=PATTERN, before=NAME, since=NAME",
        ),
    ] = None,
    containers: Annotated[
        list[str] | None,
        typer.Option(metavar="WHO", help="Whose containers to look for, as in gc."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """List the images of the store; <none> is an image that has no name any more."""

    options = settings(context)
    try:
        store = options.open_store()
    except NotFound:
        rows = []
    else:
        with store as layout:
            rows = _rows(layout, containers or (), options.observer())
            rows = _filtered(layout, rows, name, filters or [])
    if not show_all:
        rows = [row for row in rows if row.summary.kind != "artifact"]
    if json:
        console.out_json([_as_json(row) for row in rows])
    elif quiet or options.quiet:
        identifiers = dict.fromkeys(row.identifier for row in rows)
        for identifier in identifiers:
            console.out(identifier if no_trunc else _short(identifier))
    else:
        _show(rows, digests=digests, no_trunc=no_trunc)


def _rows(layout: "Layout", words: Sequence[str], observer: "Observer") -> list[_Row]:
    from ocitool.images.summaries import image_summaries
    from ocitool.operations.disk_usage import unique_sizes

    roots = layout.roots()
    known = image_summaries(layout, roots)
    former = layout.former_names()
    unpacked = _unpacked_sizes(layout)
    alone = unique_sizes(roots, known)
    nameless = any(not root.names and root.label is None for root in roots)
    holders = _holders(layout, words, observer) if nameless or words else {}
    pins = _pins(layout, observer)
    rows = [
        _Row(
            root=root,
            summary=known[root.descriptor.digest],
            former=None if root.names else former.get(str(root.descriptor.digest)),
            unpacked=unpacked(known[root.descriptor.digest]),
            alone=alone[root.descriptor.digest],
            holders=holders.get(root.descriptor.digest, ()),
            pin=pins.get(root.descriptor.digest),
        )
        for root in roots
    ]
    return sorted(rows, key=lambda row: _moment(row.summary.created), reverse=True)


def _pins(layout: "Layout", observer: "Observer") -> "Mapping[Digest, Pin]":
    """Return the pins that hold, by image; a damaged list is only told: nothing is deleted here."""
    now = dt.datetime.now(dt.UTC)
    try:
        return {pin.digest: pin for pin in layout.pins() if pin.holds(now)}
    except IntegrityError as error:
        observer.remark(error.message)
        return {}


def _holders(
    layout: "Layout", words: Sequence[str], observer: "Observer"
) -> "Mapping[Digest, tuple[ContainerUse, ...]]":
    """Return who uses which image; who is not asked for by name and cannot answer is only told."""
    from ocitool.containers import containers_by_image, providers

    uses = []
    for provider in providers(words, layout=layout):
        try:
            uses += provider.uses()
        except Refused as error:
            if words:
                raise
            observer.remark(error.message)
    return containers_by_image(layout, uses)


def _moment(created: str | None) -> float:
    """Return a time as seconds since the epoch; what is none comes before all others."""
    from ocitool.oci import parse_time

    moment = parse_time(created) if created else None
    return moment.timestamp() if moment is not None else float("-inf")


def _unpacked_sizes(layout: "Layout") -> Callable[["ImageSummary"], int | None]:
    """Return a function that sums what is remembered of an image's layers."""
    cache = layout.cache("layers")

    def unpacked(summary: "ImageSummary") -> int | None:
        total = 0
        for digest in summary.layers:
            fact = cache.get(digest)
            tar_size = fact.get("tar_size") if isinstance(fact, dict) else None
            if not isinstance(tar_size, int):
                return None
            total += tar_size
        return total

    return unpacked


def _filtered(
    layout: "Layout", rows: Sequence[_Row], name: str | None, filters: Sequence[str]
) -> list[_Row]:
    tests = [_test(layout, rows, text) for text in filters]
    if name is not None:
        tests.append(lambda row: _matches_name(row, name))
    return [row for row in rows if all(test(row) for test in tests)]


def _test(layout: "Layout", rows: Sequence[_Row], text: str) -> Callable[[_Row], bool]:
    key, separator, value = text.partition("=")
    if key == "dangling" and value in ("true", "false", "1", "0"):
        return lambda row: row.dangling is (value in ("true", "1"))
    if key == "label" and separator:
        wanted, has_value, content = value.partition("=")
        return lambda row: _has_label(row.summary.labels, wanted, content if has_value else None)
    if key == "reference" and separator:
        return lambda row: _matches_name(row, value)
    if key in ("before", "since") and separator:
        limit = _created(layout, rows, value)
        if key == "before":
            return lambda row: _moment(row.summary.created) < limit
        return lambda row: _moment(row.summary.created) > limit
    raise UsageError(
        f"--filter {text!r} is unknown",
        hint="use dangling=true|false, label=KEY[=VALUE], reference=PATTERN, before= or since=NAME",
    )


def _has_label(labels: Mapping[str, str], key: str, value: str | None) -> bool:
    return key in labels and (value is None or labels[key] == value)


def _created(layout: "Layout", rows: Sequence[_Row], text: str) -> float:
    from ocitool.images.lookup import find_image

    digest = find_image(layout, text).root.descriptor.digest
    return next(
        _moment(row.summary.created) for row in rows if row.root.descriptor.digest == digest
    )


def _matches_name(row: _Row, pattern: str) -> bool:
    from ocitool.oci import Reference

    for name in row.root.names:
        reference = Reference.parse(name)
        candidates = (
            reference.familiar,
            reference.familiar_repository,
            reference.name,
            reference.repository,
        )
        if any(fnmatch.fnmatchcase(candidate, pattern) for candidate in candidates):
            return True
    return row.root.label is not None and fnmatch.fnmatchcase(row.root.label, pattern)


def _show(rows: Sequence[_Row], *, digests: bool, no_trunc: bool) -> None:
    header = ["REPOSITORY", "TAG", "IMAGE ID", "PLATFORM", "CREATED", "SIZE", "UNPACKED"]
    if digests:
        header = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    more = any(row.dangling or row.holders or row.pin for row in rows)
    if more:
        header += ["ALONE", "HELD BY"]
    now = dt.datetime.now(dt.UTC)
    lines = [
        [*cells, *([size(row.alone), _held_by(row)] if more else [])]
        for row in rows
        for cells in _cells(row, now, digests=digests, trunc=no_trunc)
    ]
    right = (5, 6) if digests else (5, 6, 7)
    width = None if no_trunc or digests else console.width()
    if more and width is not None and not fits(header, lines, width, drop=_DROPPED):
        _show_below(rows, header[:-2], now, width)
        return
    for line in table(header, lines, right=right, drop=_DROPPED, shrink=(0, 1), width=width):
        console.out(line)


def _show_below(rows: Sequence[_Row], header: list[str], now: dt.datetime, width: int) -> None:
    """Show what an image was called, and who holds it, below it, for there is no room beside it."""
    cells = [_cells(row, now, digests=False, trunc=False) for row in rows]
    for row, lines in zip(rows, cells, strict=True):
        if row.dangling:
            lines[0][0] = _NONE
    every = [line for lines in cells for line in lines]
    shown = iter(table(header, every, right=(5, 6), drop=_DROPPED, shrink=(0, 1), width=width))
    console.out(next(shown))
    for row, lines in zip(rows, cells, strict=True):
        for line in itertools.islice(shown, len(lines)):
            console.out(line)
        if row.dangling and row.former is not None:
            console.out(f"  {_called_before(row.former, now)}; {size(row.alone)} alone")
        held = _held_by(row)
        if held:
            console.out(f"  held by {held}")


def _called_before(former: "FormerName", now: dt.datetime) -> str:
    from ocitool.cli.render import texts

    lost = f", {age(former.lost, now)}" if former.lost else ""
    return f"was {texts.familiar(former.name)}{lost}"


def _held_by(row: _Row) -> str:
    from ocitool.containers import describe_uses

    parts = [console.safe(describe_uses(row.holders))] if row.holders else []
    if row.pin is not None:
        parts.append("a pin")
    return ", ".join(parts)


def _cells(row: _Row, now: dt.datetime, *, digests: bool, trunc: bool) -> list[list[str]]:
    identifier = row.identifier if trunc else _short(row.identifier)
    created, stored = age(row.summary.created, now), size(row.summary.size)
    if digests:
        rest = [str(row.root.descriptor.digest), identifier, created, stored]
    else:
        rest = [identifier, _platforms(row.summary), created, stored, size(row.unpacked)]
    return [[*pair, *rest] for pair in _names(row, now)]


def _names(row: _Row, now: dt.datetime) -> list[list[str]]:
    from ocitool.cli.render import texts

    if row.root.names:
        return [list(pair) for pair in texts.table_name(row.root.names)]
    if row.root.label is not None:
        return [[_NONE, console.safe(row.root.label)]]
    if row.summary.kind == "artifact":
        return [[console.safe(row.summary.artifact_type or "artifact"), _NONE]]
    if row.former is not None:
        return [[f"{_NONE} {_called_before(row.former, now)}", _NONE]]
    return [[_NONE, _NONE]]


def _platforms(summary: "ImageSummary") -> str:
    if summary.problem:
        return "damaged"
    if len(summary.platforms) > 2:
        return f"{len(summary.platforms)} platforms"
    return console.safe(", ".join(summary.platforms)) or "-"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def _as_json(row: _Row) -> dict[str, object]:
    from ocitool.cli.render.gc import container_json

    summary = row.summary
    return {
        "names": list(row.root.names),
        "label": row.root.label,
        "digest": str(row.root.descriptor.digest),
        "media_type": row.root.descriptor.media_type,
        "kind": summary.kind,
        "image_ids": list(summary.image_ids),
        "platforms": list(summary.platforms),
        "created": summary.created,
        "size": summary.size,
        "unpacked": row.unpacked,
        "labels": dict(summary.labels),
        "subject": summary.subject,
        "missing": summary.missing,
        "former_name": row.former.name if row.former else None,
        "former_name_lost": row.former.lost if row.former else None,
        "unique": row.alone,
        "containers": [container_json(use) for use in row.holders],
        "pin": row.pin.to_json() if row.pin is not None else None,
        "problem": summary.problem,
    }
