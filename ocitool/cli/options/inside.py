"""Which layers of which image a command looks into, and opening it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.registry import opened_at
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.cli.options.tables import table_cache
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.cli.output import Output
    from ocitool.inside.hashes import Hashes
    from ocitool.inside.image import Inside
    from ocitool.oci import Platform
    from ocitool.places.registry import RegistryOptions

Layer = Annotated[
    int | None,
    typer.Option("--layer", min=1, metavar="N", help="Look at layer N alone; the lowest is 1."),
]
UpTo = Annotated[
    int | None,
    typer.Option("--up-to", min=1, metavar="N", help="Look at the image as layer N left it."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """The image and the layers that are looked at; by default all of them, merged."""

    platform: "Platform | None"
    layer: int | None
    up_to: int | None


def _looking(
    _: typer.Context, *, platform: str | None, layer: int | None, up_to: int | None
) -> Looking:
    if layer is not None and up_to is not None:
        raise UsageError("--layer and --up-to exclude each other")
    return Looking(platform=one_platform(platform), layer=layer, up_to=up_to)


LOOKING = Group(
    {"platform": (OnePlatform, None), "layer": (Layer, None), "up_to": (UpTo, None)}, _looking
)


@contextlib.contextmanager
def looking_into(
    source: str,
    looking: Looking,
    out: "Output",
    registry: "RegistryOptions",
    hashes: "Hashes | None" = None,
    *,
    scan: bool = True,
    ranges: bool = False,
) -> "Iterator[Inside]":
    """Open an image and yield its merged tree; say which platform was taken from an index.

    Without `scan` no layer is read, with `ranges` only parts of those in registries that allow it.
    """
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import one_root
    from ocitool.inside.hashes import Hashes
    from ocitool.inside.image import look_inside

    with opened_at(parse_place(source), out.options, registry, out.bar) as opened:
        inside = look_inside(
            opened.source,
            one_root(opened),
            platform=looking.platform or usual_platform(),
            required=looking.platform is not None,
            hashes=hashes or Hashes.NONE,
            cache=table_cache(opened),
            observer=out.bar,
            layers=_wanted(looking, scan=scan),
            ranges=ranges,
            up_to=looking.up_to,
        )
        if looking.platform is None and len(inside.chosen.images) > 1:
            count = len(inside.chosen.images)
            platform = inside.chosen.image.platform
            out.remark([f"this is {platform}, one of {count} platforms; --platform takes another"])
        yield inside


def _wanted(looking: Looking, *, scan: bool) -> list[int] | None:
    """Return the numbers of the layers to read; None for all of them."""
    if not scan:
        return []
    return None if looking.layer is None else [looking.layer]
