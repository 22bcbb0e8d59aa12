"""ocitool container logs: what a container in the background printed."""

from typing import Annotated

import typer

from ocitool.cli.commands.container_diff import ContainerName
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import PLAIN_OUTPUT, Output
from ocitool.cli.render import console


@with_options(out=PLAIN_OUTPUT)
def logs(
    name: ContainerName,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the container has ended.")
    ] = False,
    out: Output,
) -> None:
    """Print what a container has printed in the background, byte by byte.

    Its two outputs are those of this command: what it printed as errors is on standard error.
    """
    from ocitool.containers.lifecycle.logs import container_logs

    with out.options.open_store() as layout:
        for piece in container_logs(layout, name, follow=follow):
            if piece.is_error:
                console.note_bytes(piece.data)
            else:
                console.out_bytes(piece.data)
