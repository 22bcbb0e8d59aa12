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


@with_options(out=OUTPUT)
def zipapp(*, output: Destination = "ocitool.pyz", out: Output) -> None:
    """Write ocitool and all it needs as one file, for machines without pip or a network.

    The file runs there with the same version of Python on the same kind of machine:
    `python3 ocitool.pyz`. Its first run unpacks it into the user's cache folder.
    """
    from ocitool.operations.onefile import write_zipapp

    out.result(
        write_zipapp(output),
        text=lambda one: [f"wrote {safe(one.path)}: {size(one.size)}, for {one.python}"],
        ids=lambda one: [safe(one.path)],
    )
