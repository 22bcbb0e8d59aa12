"""ocitool container stop and wait: ending containers, and learning how they ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.container_list import ContainerNames, SomeOf
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console

if TYPE_CHECKING:
    from ocitool.containers.lifecycle.stopping import Stopped

Seconds = Annotated[
    float | None,
    typer.Option(
        "--time",
        "--timeout",
        "-t",
        metavar="SECONDS",
        help="How long to wait before it is killed; -1: for ever. Default: 10.",
    ),
]
Signal = Annotated[
    str | None,
    typer.Option(
        "--signal", "-s", metavar="SIGNAL", help="Signal to send. Default: the container's."
    ),
]


@with_options(out=OUTPUT)
def stop(
    names: ContainerNames,
    *,
    time: Seconds = None,
    signal: Signal = None,
    out: Output,
) -> None:
    """Stop containers: by the signal of their image, and by SIGKILL when that does not end them.

    A container that does not run is left alone.
    """
    from ocitool.cli import documents
    from ocitool.cli.attempts import Attempts
    from ocitool.containers.lifecycle.stopping import stop_container

    stopped: list[Stopped] = []
    unique = list(dict.fromkeys(names))
    attempts = Attempts(out, len(unique))
    with out.options.open_store() as layout:
        for name in unique:
            with attempts.one(name):
                one = stop_container(layout, name, timeout=time, signalled=signal)
                stopped.append(one)
                if out.is_text:
                    _tell(one)
    out.result(
        SomeOf(done=stopped, failed=attempts.failed),
        text=lambda some: [row.container.name for row in some.done],
        ids=lambda some: [row.container.id for row in some.done],
        view=documents.STOPPED_CONTAINERS,
    )
    attempts.finish()


def _tell(one: "Stopped") -> None:
    if not one.was_running:
        console.note(f"{one.container.name} was not running")
    elif one.killed:
        console.note(f"{one.container.name} had to be killed")


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
