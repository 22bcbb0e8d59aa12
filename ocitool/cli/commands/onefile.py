"""ocitool zipapp: ocitool itself as one file."""

from typing import Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render.columns import size
from ocitool.cli.render.console import safe

Destination = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
]
Pythons = Annotated[
    list[str] | None,
    typer.Option(
        "--python",
        metavar="V",
        help="Also for this version, such as 3.13 (downloads with pip); may be repeated.",
    ),
]


@with_options(out=OUTPUT)
def zipapp(*, output: Destination = "ocitool.pyz", pythons: Pythons = None, out: Output) -> None:
    """Write ocitool and all it needs as one file, for machines without pip or a network.

    The file runs there with the same version of Python, or one of those named, on the same kind of
    machine: `python3 ocitool.pyz`. Its first run unpacks it into the user's cache folder.
    """
    from ocitool.operations.onefile import write_zipapp

    out.result(
        write_zipapp(output, pythons or ()),
        text=lambda one: [
            f"wrote {safe(one.path)}: {size(one.size)}, for {', '.join(one.pythons)}"
        ],
        ids=lambda one: [safe(one.path)],
    )
