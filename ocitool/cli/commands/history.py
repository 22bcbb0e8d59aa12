"""ocitool history: the steps that made an image, joined with its layers."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_at
from ocitool.cli.options.shared import NoTruncation, OnePlatform, one_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, counted, size, table
from ocitool.cli.render.formatted import Format, formatted, is_template
from ocitool.cli.render.template import Record
from ocitool.cli.render.texts import one_line

if TYPE_CHECKING:
    from ocitool.operations.inspect import ImageReport, LayerReport, StepReport
    from ocitool.places.registry import RegistryOptions


@with_options(out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool history SRC", "ocitool history SRC")
def history(
    source: ImageSource,
    *,
    platform: OnePlatform = None,
    template: Format = None,
    no_trunc: NoTruncation = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """List the build steps of an image, oldest first, with the layer and size of each."""
    from ocitool.cli import documents
    from ocitool.cli.commands.inspect import ask_engine, read_report
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import one_root

    place = parse_place(source)
    wanted = one_platform(platform)
    report = ask_engine(place, wanted)
    if report is None:
        with opened_at(place, out.options, registry, out.bar) as opened:
            report = read_report(opened, one_root(opened), wanted, out.bar)
    rows = _rows(report)
    if template is not None and is_template(template, json=out.is_json):
        out.lines(formatted(template, _records(rows, no_trunc=no_trunc)))
        return
    out.result(
        rows,
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
    """Return the table; on a terminal with a line that sums it up, in a pipe with nothing cut."""
    width = console.terminal_width()
    now = dt.datetime.now(dt.UTC)
    header = ("#", "LAYER", "CREATED", "STORED", "UNPACKED", "INSTRUCTION")
    cells = [_cells(row, now, shorten=width is not None and not no_trunc) for row in rows]
    if width is not None:
        cells.append(_total(rows))
    width = None if no_trunc else width
    return table(header, cells, right=(0, 3, 4), shrink=(5,), width=width)


def _cells(row: _Row, now: dt.datetime, *, shorten: bool) -> tuple[str, ...]:
    step, layer = row.step, row.layer
    text = step.instruction if step is not None else "(missing from the history)"
    return (
        str(layer.number) if layer is not None else "-",
        layer.digest.short if layer is not None else "-",
        age(step.created, now) if step is not None else "-",
        size(layer.size) if layer is not None else "-",
        size(layer.tar_size) if layer is not None else "-",
        one_line(text, shorten=shorten),
    )


def _total(rows: list[_Row]) -> tuple[str, ...]:
    layers = [row.layer for row in rows if row.layer is not None]
    stored = {layer.digest: layer.size for layer in layers}
    sizes = [layer.tar_size for layer in layers if layer.tar_size is not None]
    unpacked = sum(sizes) if len(sizes) == len(layers) else None
    steps = counted(sum(row.step is not None for row in rows), "step")
    text = f"{steps}, {counted(len(layers), 'layer')}"
    return ("", "total", "", size(sum(stored.values())), size(unpacked), text)


def _records(rows: list[_Row], *, no_trunc: bool) -> Iterator[Record]:
    """Yield what a template can print, docker's fields among them."""
    now = dt.datetime.now(dt.UTC)
    for row in rows:
        number, digest, created, stored, unpacked, text = _cells(row, now, shorten=False)
        yield Record(
            ID=str(row.layer.digest) if no_trunc and row.layer is not None else digest,
            Number=number,
            Created=created,
            CreatedSince=created,
            CreatedAt=(row.step.created if row.step is not None else None) or "",
            CreatedBy=row.step.created_by if row.step is not None else "",
            Instruction=text,
            Size=stored if unpacked == "-" else unpacked,
            Stored=stored,
            Unpacked=unpacked,
            Comment=row.step.comment if row.step is not None else "",
        )
