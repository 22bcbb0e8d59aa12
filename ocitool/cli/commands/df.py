"""ocitool df: how much space the images of the store take, and what uses them."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import size, table

if TYPE_CHECKING:
    from ocitool.operations.disk_usage import ImageUsage, Usage


@with_options(out=JSON_OUTPUT)
def df(
    *,
    containers: Annotated[
        list[str] | None,
        typer.Option(metavar="PROVIDER", help="Containers to consider, as for `gc`."),
    ] = None,
    out: Output,
) -> None:
    """Show disk usage: shared and unique bytes of images, their users, and what gc would free."""
    from ocitool.cli import documents
    from ocitool.containers.providers import known_uses
    from ocitool.operations.disk_usage import usage

    with out.options.open_store() as layout:
        known = known_uses(containers or (), layout=layout, observer=layout.observer)
        problem = "; ".join(known.problems) or None
        found = usage(layout, known.uses, time.time(), problem=problem)
    out.result(found, text=_lines, view=documents.DISK_USAGE)
    if found.problem is not None and out.is_text:
        console.note(f"gc would stop: {found.problem}")


def _lines(found: "Usage") -> Iterator[str]:
    rows = [_row(image) for image in found.images]
    header = ["IMAGE", "DIGEST", "UNIQUE", "SHARED", "HELD BY"]
    yield from table(header, rows, right=(2, 3), shrink=(0, 4), width=console.terminal_width())
    totals = _totals(found)
    width = max(map(len, totals)) + 1
    for name, count in totals.items():
        yield f"{name + ':':<{width}} {'unknown' if count is None else size(count):>9}"


def _totals(found: "Usage") -> dict[str, int | None]:
    return {
        "stored": found.stored,
        "shared": found.shared,
        "gc frees": found.garbage,
        "gc -a frees": found.unheld,
        "in trash": found.waiting,
        "left behind": found.leftovers,
        "written by containers": found.written,
        "unpacked for containers": found.trees,
    }


def _row(image: "ImageUsage") -> list[str]:
    from ocitool.cli.render import texts

    root = image.root
    names = ", ".join(texts.familiar(name) for name in root.names)
    former = f"<none> was {texts.familiar(image.former)}" if image.former else "<none>"
    return [
        names or console.safe(root.label or former),
        root.descriptor.digest.short,
        size(image.unique),
        size(image.shared),
        _holders(image),
    ]


def _holders(image: "ImageUsage") -> str:
    from ocitool.containers.uses import describe_uses

    parts = [console.safe(describe_uses(image.holders))] if image.holders else []
    if image.pin is not None:
        parts.append("a pin" + (f" ({console.safe(image.pin.reason)})" if image.pin.reason else ""))
    if image.subject is not None:
        parts.append(f"image {image.subject.partition(':')[2][:12]}, to which it is attached")
    elif image.root.names or image.root.label:
        parts.append("its name")
    return ", ".join(parts) or "nothing"
