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
    from contextlib import AbstractContextManager

    from ocitool.cli.output import Output
    from ocitool.images.opening import Opened
    from ocitool.inside.hashes import Hashes
    from ocitool.inside.image import Inside
    from ocitool.inside.kept import KeptTars
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
    keep: bool = False,
) -> "Iterator[Inside]":
    """Open an image and yield its merged tree; say which platform was taken from an index.

    Without `scan` no layer is read, with `ranges` only parts of those in registries that allow it.
    With `keep` a layer that was decompressed is not read again for its content; what is downloaded
    never is.
    """
    from ocitool.inside.hashes import Hashes
    from ocitool.inside.image import look_inside

    with _opened(source, out, registry) as opened, kept_tars(opened, out, always=keep) as kept:
        inside = look_inside(
            opened.source,
            opened.root,
            platform=looking.platform or usual_platform(),
            required=looking.platform is not None,
            hashes=hashes or Hashes.NONE,
            cache=table_cache(opened),
            observer=out.bar,
            layers=_wanted(looking, scan=scan),
            ranges=ranges,
            up_to=looking.up_to,
            keep=kept,
        )
        _tell_platform(inside, looking, out)
        yield inside


@contextlib.contextmanager
def looking_for(
    source: str, path: str, looking: Looking, out: "Output", registry: "RegistryOptions"
) -> "Iterator[tuple[Inside, str]]":
    """Open an image for one path in it; yield what to look it up in, and under which path.

    Layers that are not needed to be sure of it are not read.
    """
    from ocitool.inside.needed import look_for

    if looking.layer is not None:
        with looking_into(source, looking, out, registry, ranges=True) as inside:
            yield inside, path
        return
    with _opened(source, out, registry) as opened, kept_tars(opened, out) as kept:
        inside, path = look_for(
            opened.source,
            opened.root,
            path,
            platform=looking.platform or usual_platform(),
            required=looking.platform is not None,
            cache=table_cache(opened),
            observer=out.bar,
            up_to=looking.up_to,
            ranges=True,
            keep=kept,
        )
        _tell_platform(inside, looking, out)
        yield inside, path


def _opened(
    source: str, out: "Output", registry: "RegistryOptions"
) -> "AbstractContextManager[Opened]":
    from ocitool.images.locations import parse_place

    return opened_at(parse_place(source), out.options, registry, out.bar)


@contextlib.contextmanager
def kept_tars(
    opened: "Opened", out: "Output", *, always: bool = False
) -> "Iterator[KeptTars | None]":
    """Yield what keeps the tars of layers that come from a registry, or `always`."""
    from ocitool.images.locations import PlaceKind
    from ocitool.inside.kept import KeptTars

    if not always and opened.place.kind is not PlaceKind.REGISTRY:
        yield None
        return
    with KeptTars(out.options.temporary) as kept:
        yield kept


def _tell_platform(inside: "Inside", looking: Looking, out: "Output") -> None:
    """Say which platform was taken if there was a choice and nothing chose."""
    count = len(inside.chosen.images)
    if looking.platform is None and count > 1:
        platform = inside.chosen.image.platform
        out.remark([f"this is {platform}, one of {count} platforms; --platform takes another"])


def _wanted(looking: Looking, *, scan: bool) -> list[int] | None:
    """Return the numbers of the layers to read; None for all of them."""
    if not scan:
        return []
    return None if looking.layer is None else [looking.layer]
