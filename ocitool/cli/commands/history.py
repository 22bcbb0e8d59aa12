"""ocitool history: the steps that made an image, joined with its layers."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import connected_to, source_at, with_reach
from ocitool.cli.options.shared import (
    Json,
    NoTruncation,
    OnePlatform,
    Quiet,
    one_platform,
    settings,
    usual_platform,
)
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, size, table

if TYPE_CHECKING:
    from ocitool.operations.inspect import ImageReport, LayerReport, StepReport
    from ocitool.places.registry import RegistryOptions


@with_reach
def history(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="NAME, ID, oci:DIR:TAG, ./FILE, …")],
    *,
    platform: OnePlatform = None,
    no_trunc: NoTruncation = False,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """List the steps that made an image, the first first, with the layer and size of each."""
    from ocitool.images.locations import PlaceKind, one_root, parse_place
    from ocitool.operations import inspect as inspection

    options = settings(context)
    wanted = one_platform(platform)
    observer = options.observer(quiet=quiet or not console.is_terminal(sys.stderr))
    place = parse_place(source)
    with (
        connected_to(reach, observer, place) as connected,
        source_at(place, options, connected) as opened,
    ):
        report = inspection.inspect(
            opened.source,
            one_root(opened),
            platform=wanted or usual_platform(),
            required=wanted is not None,
            measure=place.kind is not PlaceKind.REGISTRY,
            cache=opened.cache("layers"),
            observer=observer,
        )
    rows = _rows(report)
    if json:
        console.out_json([_as_json(step, layer) for step, layer in rows])
    elif quiet or options.quiet:
        for _, layer in rows:
            if layer is not None:
                console.out(str(layer.digest))
    else:
        _show(rows, no_trunc=no_trunc)


_Rows = list[tuple["StepReport | None", "LayerReport | None"]]


def _rows(report: "ImageReport") -> _Rows:
    """Return the steps with their layers, then layers that no step is known to have made."""
    layers = {layer.number: layer for layer in report.layers}
    rows: _Rows = [(step, layers.pop(step.layer or 0, None)) for step in report.steps]
    return rows + [(None, layer) for layer in layers.values()]


def _show(rows: _Rows, *, no_trunc: bool) -> None:
    now = dt.datetime.now(dt.UTC)
    lines = [_cells(step, layer, now) for step, layer in rows]
    width = None if no_trunc else console.width()
    header = ("LAYER", "CREATED", "STORED", "UNPACKED", "INSTRUCTION")
    for line in table(header, lines, right=(2, 3), shrink=(4,), width=width):
        console.out(line)


def _cells(
    step: "StepReport | None", layer: "LayerReport | None", now: dt.datetime
) -> tuple[str, ...]:
    text = step.instruction if step is not None else "(missing from the history)"
    return (
        layer.digest.short if layer is not None else "-",
        age(step.created, now) if step is not None else "-",
        size(layer.size) if layer is not None else "-",
        size(layer.tar_size) if layer is not None else "-",
        console.safe(" ".join(text.split())),
    )


def _as_json(step: "StepReport | None", layer: "LayerReport | None") -> dict[str, object]:
    return {
        "instruction": step.instruction if step else None,
        "created_by": step.created_by if step else None,
        "created": step.created if step else None,
        "comment": step.comment if step else None,
        "layer": str(layer.digest) if layer else None,
        "diff_id": str(layer.diff_id) if layer and layer.diff_id else None,
        "size": layer.size if layer else None,
        "unpacked": layer.tar_size if layer else None,
        "file_bytes": layer.file_bytes if layer else None,
    }
