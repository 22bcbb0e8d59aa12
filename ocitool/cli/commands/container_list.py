"""ocitool container ls and rm: which containers there are, and removing them."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import typer
from msgspec import Struct

from ocitool.cli.commands.container_inspect import Size
from ocitool.cli.completing import container_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output, nothing
from ocitool.cli.render import console
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.cli.attempts import Failure
    from ocitool.containers.lifecycle.state import State
    from ocitool.containers.records import Container
    from ocitool.containers.removing import Removed

_ID_LENGTH = 12
Done = TypeVar("Done")

ContainerNames = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME…", help="Names or IDs of containers.", autocompletion=container_names
    ),
]


class _Listed(Struct, frozen=True):
    """A container and its state.

    `written` are the bytes of its writable layer, `total` those with the files of its image.
    """

    container: "Container"
    state: "State"
    written: int | None = None
    total: int | None = None


class SomeOf(Struct, Generic[Done], frozen=True, kw_only=True):
    """What was done with several containers, and those with which it failed."""

    done: Sequence[Done]
    failed: "Sequence[Failure]"


@with_options(out=OUTPUT)
def list_containers(
    *,
    total: Size = False,
    _all: Annotated[
        bool, typer.Option("--all", "-a", help="Taken for docker's sake: all are listed anyway.")
    ] = False,
    out: Output,
) -> None:
    """List the containers of the store and the images that they keep.

    The state is created, running, or exited with the exit code. WRITTEN is what a container itself
    takes on the disk; with -s TOTAL adds the files of its image, which containers share.
    """
    from ocitool.cli import documents
    from ocitool.containers.lifecycle.state import container_states
    from ocitool.containers.records import read_records
    from ocitool.containers.usage import root_bytes, written_bytes

    with out.options.open_store() as layout:
        found = read_records(layout)
        totals = [root_bytes(layout, one) if total else None for one in found.containers]
    states = container_states(found.containers)
    for path in found.damaged:
        console.note(f"not listed, because its record is damaged: {safe(path)}")
    out.result(
        [
            _Listed(one, states[one.id], written_bytes(one), total)
            for one, total in zip(found.containers, totals, strict=True)
        ],
        text=lambda rows: _table(rows, with_total=total),
        ids=lambda rows: [row.container.id for row in rows],
        view=documents.LISTED_CONTAINER,
    )


@with_options(out=OUTPUT)
def remove(
    names: ContainerNames,
    *,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Kill a container that is running first.")
    ] = False,
    out: Output,
) -> None:
    """Remove containers and what they wrote. Their images stay until `gc` removes them."""
    from ocitool.cli import documents
    from ocitool.cli.attempts import Attempts
    from ocitool.containers.removing import remove_container

    removed: list[Removed] = []
    unique = list(dict.fromkeys(names))
    attempts = Attempts(out, len(unique))
    with out.options.open_store() as layout:
        for name in unique:
            with attempts.one(name):
                removed.append(remove_container(layout, name, force=force))
    for one in removed:
        if one.left is not None:
            console.note(f"left alone: {safe(one.left)} is not the bundle of {one.container.name}")
    out.result(
        SomeOf(done=removed, failed=attempts.failed),
        text=lambda some: [f"Removed: {row.container.name}" for row in some.done],
        ids=nothing,
        view=documents.REMOVED_CONTAINERS,
    )
    attempts.finish()


def _table(found: Sequence[_Listed], *, with_total: bool) -> Iterator[str]:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import age, fits, size, table

    now = dt.datetime.now(dt.UTC)
    rows = [
        (
            one.container.id[:_ID_LENGTH],
            one.container.name,
            texts.familiar(one.container.image),
            one.container.digest.partition(":")[2][:_ID_LENGTH],
            one.state.text,
            age(one.container.created, now),
            size(one.written),
            *([size(one.total)] if with_total else []),
            safe(one.container.bundle),
        )
        for one in found
    ]
    sizes = ("WRITTEN", "TOTAL") if with_total else ("WRITTEN",)
    header = ("CONTAINER ID", "NAME", "IMAGE", "DIGEST", "STATE", "CREATED", *sizes, "BUNDLE")
    right = range(6, 6 + len(sizes))
    width = console.terminal_width()
    if width is None or fits(header, rows, width):
        yield from table(header, rows, right=right)
        return
    # Users copy the path, so it is never shortened and has a line of its own.
    lines = table(
        header[:-1],
        [row[:-1] for row in rows],
        right=right,
        drop=(3, 5),
        shrink=(2, 1),
        width=width,
    )
    yield lines[0]
    for line, row in zip(lines[1:], rows, strict=True):
        yield line
        yield f"  {row[-1]}"
