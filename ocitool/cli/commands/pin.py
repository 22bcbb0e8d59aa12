"""ocitool pin and unpin: images that are kept whatever happens to their names."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.quantities import parse_moment
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import table, when
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.places.layout.pins import Pin


@with_options(out=JSON_OUTPUT)
def pin(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="Names or image IDs.", autocompletion=store_names),
    ] = None,
    *,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="When the pin ends: a date, an RFC 3339 time, or a duration such as 30d.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="R", help="Reason to show in lists.")
    ] = None,
    out: Output,
) -> None:
    """Protect images from garbage collection, by digest; without NAME list the pins."""
    from ocitool.cli import documents
    from ocitool.images.lookup import find_images
    from ocitool.operations import pin as pinning

    now = dt.datetime.now(dt.UTC)
    if not names and (until or reason):
        raise UsageError("--until and --reason need the name of an image")
    with out.options.open_store() as layout:
        if not names:
            out.result(layout.pins(), text=lambda pins: _lines(pins, now), view=documents.PIN)
            return
        end = parse_moment(until, "--until", now) if until is not None else None
        found = find_images(layout, (name.removeprefix("store:") for name in names))
        roots = [one.root for one in found]
        pins = pinning.pin(layout, roots, now=now, until=end, reason=reason)
    out.result(pins, text=_pinned, view=documents.PIN)


def _pinned(pins: "Sequence[Pin]") -> list[str]:
    return [
        f"Pinned: {_called(one)}" + (f" until {one.until}" if one.until else "") for one in pins
    ]


@with_options(out=JSON_OUTPUT)
def unpin(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Names or image IDs.", autocompletion=store_names),
    ],
    *,
    out: Output,
) -> None:
    """Remove the pins of images."""
    from ocitool.cli import documents
    from ocitool.images.lookup import find_images
    from ocitool.operations import pin as pinning

    with out.options.open_store() as layout:
        found = find_images(layout, (name.removeprefix("store:") for name in names))
        pins = pinning.unpin(layout, [one.root.descriptor.digest for one in found])
    out.result(
        pins,
        text=lambda pins: [f"Unpinned: {_called(one)}" for one in pins],
        view=documents.PIN,
    )


def _called(one: "Pin") -> str:
    from ocitool.cli.render import texts

    return texts.familiar(one.name)


def _lines(pins: "Sequence[Pin]", now: dt.datetime) -> Iterator[str]:
    rows = [
        [
            _called(one),
            one.digest.short,
            when(one.since),
            (when(one.until) if one.until else "for ever") if one.holds(now) else "expired",
            console.safe(one.reason or ""),
        ]
        for one in pins
    ]
    yield from table(["PINNED AS", "DIGEST", "SINCE", "UNTIL", "REASON"], rows)
