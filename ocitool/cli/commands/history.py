"""ocitool history: the steps that made an image, joined with its layers."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_at
from ocitool.cli.options.shared import NoTruncation, OnePlatform, one_platform
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, size, table

if TYPE_CHECKING:
    from ocitool.operations.inspect import ImageReport, LayerReport, StepReport
    from ocitool.places.registry import RegistryOptions


@with_options(out=OUTPUT, registry=REGISTRY)
def history(
    source: Annotated[str, typer.Argument(metavar="SRC", help="NAME, ID, oci:DIR:TAG, ./FILE, …")],
    *,
    platform: OnePlatform = None,
    no_trunc: NoTruncation = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """List the build steps of an image, oldest first, with the layer and size of each."""
    from ocitool.cli import documents
    from ocitool.cli.commands.inspect import read_report
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import one_root

    place = parse_place(source)
    with opened_at(place, out.options, registry, out.bar) as opened:
        report = read_report(opened, one_root(opened), one_platform(platform), out.bar)
    out.result(
        _rows(report),
        text=lambda rows: _lines(rows, no_trunc=no_trunc),
        ids=lambda rows: [str(row.layer.digest) for row in rows if row.layer is not None],
        view=documents.HISTORY,
    )


class _Row(Struct, frozen=True):
    """A step and the layer that it made; None where one of them is not known."""

    step: "StepReport | None"
    layer: "LayerReport | None"


def _rows(report: "ImageReport") -> list[_Row]:
    """Return the steps with their layers, then the layers whose step is not known."""
    layers = {layer.number: layer for layer in report.layers}
    rows = [_Row(step, layers.pop(step.layer or 0, None)) for step in report.steps]
    return rows + [_Row(None, layer) for layer in layers.values()]


def _lines(rows: list[_Row], *, no_trunc: bool) -> list[str]:
    now = dt.datetime.now(dt.UTC)
    width = None if no_trunc else console.width()
    header = ("LAYER", "CREATED", "STORED", "UNPACKED", "INSTRUCTION")
    return table(header, [_cells(row, now) for row in rows], right=(2, 3), shrink=(4,), width=width)


def _cells(row: _Row, now: dt.datetime) -> tuple[str, ...]:
    step, layer = row.step, row.layer
    text = step.instruction if step is not None else "(missing from the history)"
    return (
        layer.digest.short if layer is not None else "-",
        age(step.created, now) if step is not None else "-",
        size(layer.size) if layer is not None else "-",
        size(layer.tar_size) if layer is not None else "-",
        console.safe(" ".join(text.split())),
    )
