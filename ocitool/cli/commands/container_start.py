"""ocitool container start: run a container, in front of the user or in the background."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.container_diff import ContainerName
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from ocitool.containers.lifecycle.starting import Started, StartOptions
    from ocitool.containers.records import Container
    from ocitool.places.layout import Layout

Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Run it in the background, its output in files.")
]
RuntimeName = Annotated[
    str | None,
    typer.Option("--runtime", metavar="PROGRAM", help="The OCI runtime. Default: runc, else crun."),
]


@with_options(out=OUTPUT)
def start(
    name: ContainerName,
    *,
    detach: Detach = False,
    attach: Annotated[
        bool, typer.Option("--attach", "-a", help="Show its output here, as without -d.")
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Give it the standard input.")
    ] = False,
    runtime: RuntimeName = None,
    out: Output,
) -> None:
    """Start a container that was created, or start it again with what it wrote.

    Its output is the output of this command, and its exit code is the exit code. With -d it runs in
    the background: `logs` shows its output, `wait` waits for its end, `stop` ends it.
    """
    from ocitool.containers.lifecycle.starting import StartOptions

    if detach and (attach or interactive):
        raise UsageError(
            f"-d and {'-a' if attach else '-i'} exclude each other",
            hint="-d leaves it in the background: `ocitool container logs -f` follows its output",
        )
    check_output(out, detach=detach)
    options = StartOptions(detach=detach, interactive=interactive, runtime=runtime)
    with dockers_codes(detach=detach) as process:
        start_made(name, options, out, process)


def check_output(out: Output, *, detach: bool) -> None:
    """Refuse a document on the standard output of a container."""
    if out.is_json and not detach:
        raise UsageError(
            "--json needs -d: without it the output is that of the container",
            hint="add -d, or leave out --json",
        )


class Process:
    """The process of a container; `ran` is True once it has."""

    ran = False


@contextlib.contextmanager
def dockers_codes(*, detach: bool) -> Iterator[Process]:
    """Give what fails in front, before the process ran, the exit codes of `docker run`.

    125: ocitool or the runtime; 126: the program cannot be invoked; 127: it is not there. Wrong
    usage stays wrong usage.
    """
    from ocitool.cli.failures import NotRun

    process = Process()
    try:
        yield process
    except UsageError:
        raise
    except OcitoolError as error:
        if detach or process.ran:
            raise
        raise NotRun(error, _code_of(error)) from error


def _code_of(error: OcitoolError) -> int:
    from ocitool.containers.lifecycle.failing import Cause, NotStarted

    cause = error.cause if isinstance(error, NotStarted) else Cause.RUNTIME
    return {Cause.RUNTIME: 125, Cause.DENIED: 126, Cause.ABSENT: 127}[cause]


def start_made(name: str, options: "StartOptions", out: Output, process: Process) -> None:
    """Start a container; ends with its exit code if it ran in front."""
    from msgspec.structs import replace

    from ocitool.cli import documents
    from ocitool.containers.lifecycle.starting import start_container
    from ocitool.containers.records import find_container
    from ocitool.containers.removing import remove_container

    with out.options.open_store() as layout:
        container = find_container(layout, name)
        removes = container.settings.remove
        if options.detach and removes:
            options = replace(options, afterwards=_removal(layout, container))
        try:
            started = start_container(layout, container.id, options)
            process.ran = True
            out.remark(_killed(started))
        finally:
            if removes and not options.detach:
                remove_container(layout, container.id)
    if not options.detach:
        raise typer.Exit(started.state.exit_code or 0)
    out.result(
        started,
        text=lambda one: [one.container.name],
        ids=lambda one: [one.container.id],
        view=documents.STARTED_CONTAINER,
    )


def _killed(started: "Started") -> list[str]:
    """Return a remark on one that was killed, as the kernel does when its memory is used up."""
    limit = started.killed_below
    if limit is None:
        return []
    # In the words of -m, whose units are powers of two.
    typed = str(limit) if limit % (1 << 20) else f"{limit >> 20}m"
    return [f"container {started.container.name} was killed (137), with a memory limit of {typed}"]


def _removal(layout: "Layout", container: "Container") -> tuple[str, ...]:
    """Return the command that removes a container, run by this very program."""
    # However ocitool was started, this finds the same one.
    program = f"import sys; sys.path[:] = {sys.path!r}; from ocitool.__main__ import main; main()"
    words = ("--store", os.path.abspath(layout.path), "container", "rm", "-q", container.id)
    return (sys.executable, "-c", program, *words)
