"""ocitool container stop and wait: ending containers, and learning how they ended."""

from typing import Annotated

import typer

from ocitool.cli.commands.container_list import ContainerNames
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console


@with_options(out=OUTPUT)
def stop(
    names: ContainerNames,
    *,
    time: Annotated[
        float | None,
        typer.Option(
            "--time",
            "--timeout",
            "-t",
            metavar="SECONDS",
            help="How long to wait before it is killed; -1: for ever. Default: 10.",
        ),
    ] = None,
    signal: Annotated[
        str | None,
        typer.Option(
            "--signal", "-s", metavar="SIGNAL", help="Signal to send. Default: the container's."
        ),
    ] = None,
    out: Output,
) -> None:
    """Stop containers: by the signal of their image, and by SIGKILL when that does not end them.

    A container that does not run is left alone.
    """
    from ocitool.cli import documents
    from ocitool.containers.lifecycle.stopping import stop_container

    stopped = []
    with out.options.open_store() as layout:
        for name in dict.fromkeys(names):
            one = stop_container(layout, name, timeout=time, signalled=signal)
            stopped.append(one)
            if not one.was_running and out.is_text:
                console.note(f"{one.container.name} was not running")
            elif one.killed and out.is_text:
                console.note(f"{one.container.name} had to be killed")
    out.result(
        stopped,
        text=lambda rows: [row.container.name for row in rows],
        ids=lambda rows: [row.container.id for row in rows],
        view=documents.STOPPED_CONTAINER.under("stopped"),
    )


@with_options(out=OUTPUT)
def wait(names: ContainerNames, *, out: Output) -> None:
    """Wait until containers have ended, and print the exit code of each."""
    from ocitool.cli import documents
    from ocitool.containers.lifecycle.stopping import wait_for_container

    with out.options.open_store() as layout:
        ended = [wait_for_container(layout, name) for name in names]
    out.result(
        ended,
        text=lambda rows: [_code(one.state.exit_code) for one in rows],
        view=documents.ENDED_CONTAINER,
    )


def _code(code: int | None) -> str:
    """Return an exit code; "?" if nobody waited for it."""
    return "?" if code is None else str(code)
