"""ocitool explore: an image on the whole screen."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.inside import kept_tars
from ocitool.cli.options.registry import REGISTRY, connected_to, source_at
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.options.tables import table_cache
from ocitool.cli.output import PLAIN_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from ocitool.cli.explore.look import Look
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.inside.kept import KeptTars
    from ocitool.oci import Platform
    from ocitool.places.registry import RegistryOptions


@with_options(out=PLAIN_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool explore SRC", "ocitool explore SRC")
def explore(
    source: ImageSource,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]",
            help="An image to compare it with: d shows what differs.",
            autocompletion=store_names,
        ),
    ] = None,
    *,
    platform: OnePlatform = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Look around in an image on the whole screen: layers, what is hidden, and all files.

    The layers are there at once, and the files when the layers have been read. Keys: a, c and r
    show what the chosen layer added, changed and removed, w what is hidden, / searches, v shows a
    file and e extracts it, Tab goes on to the next part. Needs the package textual.
    """
    from ocitool.images.locations import parse_place

    places = [parse_place(text) for text in (source, second) if text is not None]
    _check(places)
    from ocitool.cli.explore.app import Explorer
    from ocitool.cli.explore.signals import signals_end

    with _opened(places, out, registry) as opened, kept_tars(opened[0], out) as kept:
        screen = Explorer(_look(opened, one_platform(platform), kept))
        with signals_end(screen):
            screen.run()
            screen.close()
    out.lines(f"wrote {console.safe(path)}" for path in screen.written)
    if screen.interrupted:
        raise KeyboardInterrupt
    if screen.failure is not None:
        raise screen.failure


@contextlib.contextmanager
def _opened(
    places: "Sequence[Place]", out: Output, registry: "RegistryOptions"
) -> "Iterator[list[Opened]]":
    """Yield all places, open for reading; a registry tells nothing, for that would be on top."""
    from ocitool.events import SILENT
    from ocitool.images.locations import PlaceKind

    is_remote = any(place.kind is PlaceKind.REGISTRY for place in places)
    observer = SILENT if is_remote else out.bar
    with contextlib.ExitStack() as stack:
        connected = stack.enter_context(connected_to(registry, observer, *places))
        yield [
            stack.enter_context(source_at(place, out.options, connected, observer))
            for place in places
        ]


def _look(opened: "Sequence[Opened]", wanted: "Platform | None", kept: "KeptTars | None") -> "Look":
    from ocitool.cli.explore.look import Look
    from ocitool.images.opening import one_root
    from ocitool.inside.comparing import Image

    first, *others = (
        Image(source=one.source, root=one_root(one), cache=table_cache(one)) for one in opened
    )
    return Look(
        first,
        title=opened[0].place.text,
        platform=wanted or usual_platform(),
        required=wanted is not None,
        second=others[0] if others else None,
        kept=kept,
    )


def _check(places: "Sequence[Place]") -> None:
    """Fail where there can be no screen."""
    if any(place.path == "-" for place in places):
        raise UsageError(
            "explore reads keys from stdin, so an image cannot come from there",
            hint="write the image to a file first",
        )
    if importlib.util.find_spec("textual") is None:
        raise OcitoolError(
            "explore needs the package textual, which is not installed beside ocitool",
            hint=f"{sys.executable} -m pip install 'textual>=8,<9', with pipx: pipx inject ocitool "
            "textual; `ocitool size` prints the same numbers without it",
        )
    is_dumb = os.environ.get("TERM") == "dumb"
    if is_dumb or not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stdout)):
        raise UsageError("explore needs a terminal", hint="`ocitool size` prints the same numbers")
