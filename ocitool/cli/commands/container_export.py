"""ocitool container export: the files of a container as one tar."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.commands.container_diff import ContainerName
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.containers.records import Container


class _Exported(Struct, frozen=True, kw_only=True):
    """What was written. `left_out` counts sockets, which have no place in a tar."""

    container: "Container"
    destination: str
    bytes_written: int
    left_out: int


@with_options(out=OUTPUT)
def export(
    name: ContainerName,
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE|-", help="Write to this file or to stdout."),
    ] = "-",
    out: Output,
) -> None:
    """Write all files of a container as one tar: those of its image, and what it changed.

    Volumes and other mounts are not in it; their mount points are empty. The tar is sorted by
    path, and equal files give equal bytes.
    """
    from ocitool.cli.delivery import check_destination, written_to
    from ocitool.concurrency import prefetched
    from ocitool.containers.records import find_container
    from ocitool.containers.writable.merged import container_tar, members_of
    from ocitool.containers.writable.opening import open_writable

    if not output:
        raise UsageError("-o is empty")
    check_destination(output, out)
    with out.options.open_store() as layout:
        container = find_container(layout, name)
        with open_writable(layout, container) as writable:
            members, written = members_of(writable), 0
            with written_to(output) as write:
                for piece in prefetched(container_tar(writable, members)):
                    write(piece)
                    written += len(piece)
    _report(
        _Exported(
            container=container,
            destination=output,
            bytes_written=written,
            left_out=members.left_out,
        ),
        out,
    )


def _report(done: _Exported, out: Output) -> None:
    from ocitool.cli import container_documents
    from ocitool.cli.render.columns import counted, size
    from ocitool.cli.render.summary import duration

    if done.destination != "-":
        out.result(
            done,
            text=lambda done: [f"Exported: {console.safe(done.destination)}"],
            ids=lambda done: [console.safe(done.destination)],
            view=container_documents.EXPORTED,
        )
    if done.left_out:
        out.remark([f"left out: {counted(done.left_out, 'socket')}"])
    what = "the tar" if done.destination == "-" else done.destination
    out.summary([f"wrote {what}  {size(done.bytes_written)}, {duration(out.seconds)}"])
