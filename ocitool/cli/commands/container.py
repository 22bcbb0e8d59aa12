"""ocitool container: containers of images of the store, as bundles for an OCI runtime."""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.commands.container_commit import commit
from ocitool.cli.commands.container_cp import cp
from ocitool.cli.commands.container_diff import diff
from ocitool.cli.commands.container_export import export
from ocitool.cli.commands.container_inspect import Size, inspect
from ocitool.cli.completing import store_names
from ocitool.cli.options.containers.create import CREATE
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.output import OUTPUT, Output, nothing
from ocitool.cli.parsing import command_group
from ocitool.cli.render import console
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.containers.creating import Created
    from ocitool.containers.options import CreateOptions
    from ocitool.containers.records import Container

_ID_LENGTH = 12

container = command_group()
container.command("commit")(commit)
container.command("cp")(cp)
container.command("diff")(diff)
container.command("export")(export)
container.command("inspect")(inspect)


class _Listed(Struct, frozen=True):
    """A container and its state: created, running, removed or "bundle missing".

    `written` are the bytes of its writable layer, `total` those with the files of its image.
    """

    container: "Container"
    state: str
    written: int | None = None
    total: int | None = None


@container.command("create")
@with_options(create=CREATE, out=OUTPUT)
def create_command(
    image: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An image of the store.", autocompletion=store_names),
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND…]",
            help="Command to run instead of the image's; write -- before it if it has options.",
        ),
    ] = None,
    *,
    create: "CreateOptions",
    out: Output,
) -> None:
    """Create a container from an image; the image is kept while the container exists.

    The last line printed is the bundle: `runc run --bundle DIR N` starts it. Containers of one
    image share the unpacked files where the kernel supports it.
    """
    from msgspec.structs import replace

    from ocitool.cli import documents
    from ocitool.containers.creating import create_container
    from ocitool.images.lookup import find_image

    options = replace(create, command=tuple(command or ()))
    with out.options.open_store() as layout:
        found = find_image(layout, image.removeprefix("store:"))
        created = create_container(layout, found, options)
    if out.is_text:
        for line in _remarks(created):
            console.note(line)
    out.result(
        created,
        text=lambda created: [safe(created.container.bundle)],
        ids=lambda created: [created.container.id],
        view=documents.CREATED.beside(state="created"),
    )


@container.command("ls")
@with_options(out=OUTPUT)
def list_containers(*, total: Size = False, out: Output) -> None:
    """List the containers of the store and the images that they keep.

    WRITTEN is what a container itself takes on the disk; with -s TOTAL adds the files of its image,
    which containers share.
    """
    from ocitool.cli import documents
    from ocitool.containers.records import read_records
    from ocitool.containers.running import running_bundles
    from ocitool.containers.usage import root_bytes, written_bytes

    with out.options.open_store() as layout:
        found = read_records(layout)
        totals = [root_bytes(layout, one) if total else None for one in found.containers]
    running = running_bundles(one.bundle for one in found.containers)
    for path in found.damaged:
        console.note(f"not listed, because its record is damaged: {safe(path)}")
    out.result(
        [
            _Listed(one, _state(one, running), written_bytes(one), total)
            for one, total in zip(found.containers, totals, strict=True)
        ],
        text=lambda rows: _table(rows, with_total=total),
        ids=lambda rows: [row.container.id for row in rows],
        view=documents.LISTED_CONTAINER,
    )


@container.command("rm")
@with_options(out=OUTPUT)
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME…", help="Names or IDs of containers.")
    ],
    *,
    out: Output,
) -> None:
    """Remove containers and what they wrote. Their images stay until `gc` removes them."""
    from ocitool.cli import documents
    from ocitool.containers.removing import remove_container

    with out.options.open_store() as layout:
        removed = [remove_container(layout, name) for name in dict.fromkeys(names)]
    for one in removed:
        if one.left is not None:
            console.note(f"left alone: {safe(one.left)} is not the bundle of {one.container.name}")
    out.result(
        [_Listed(one.container, "removed") for one in removed],
        text=lambda rows: [f"Removed: {row.container.name}" for row in rows],
        ids=nothing,
        view=documents.CONTAINER.under("removed"),
    )


def _remarks(made: "Created") -> list[str]:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import counted, size

    one, done = made.container, made.extracted
    kind = "rootless container" if made.rootless else "container"
    how = (
        f"{counted(done.entries, 'member')}, {size(done.size)} unpacked"
        if done is not None
        else "shares files that were unpacked before"
    )
    lines = [f"{kind} {one.name} of {texts.familiar(one.image)}: {how}", *made.remarks]
    if done is not None and done.special:
        lines.append(f"left out: {counted(done.special, 'special file')}")
    if done is not None and done.attributes:
        lines.append(f"left out: {counted(done.attributes, 'extended attribute')}")
    machine, platform = usual_platform(), made.platform.normalized()
    if platform.architecture and machine.rank(platform) is None:
        lines.append(f"the image is for {platform}, and this machine is {machine}")
    return lines


def _state(one: "Container", active: set[str]) -> str:
    if one.bundle in active:
        return "running"
    return "created" if os.path.isdir(one.bundle) else "bundle missing"


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
            one.state,
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
