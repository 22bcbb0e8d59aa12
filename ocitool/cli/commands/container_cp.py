"""ocitool container cp: files into a container and out of it, as docker copies them."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group, with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.containers.copying import Copied, CopyOptions
    from ocitool.containers.records import Container
    from ocitool.places.layout import Layout

_PIPE = "-"
Source = Annotated[
    str, typer.Argument(metavar="SRC|-", help="NAME:PATH, a path of this machine, or a tar.")
]
Destination = Annotated[
    str, typer.Argument(metavar="DEST|-", help="A path of this machine, NAME:PATH, or a tar.")
]


def _copy_options(_: typer.Context, *, archive: bool, follow: bool) -> "CopyOptions":
    from ocitool.containers.copying import CopyOptions

    return CopyOptions(archive=archive, follow=follow)


COPY = Group(
    {
        "archive": (
            Annotated[
                bool,
                typer.Option(
                    "--archive", "-a", help="Keep owners, and out of a container devices too."
                ),
            ],
            False,
        ),
        "follow": (
            Annotated[
                bool,
                typer.Option("--follow-link", "-L", help="Copy what SRC leads to if it is a link."),
            ],
            False,
        ),
    },
    _copy_options,
)


@with_options(copy=COPY, out=OUTPUT)
def cp(
    source: Source,
    destination: Destination,
    *,
    copy: "CopyOptions",
    out: Output,
) -> None:
    """Copy files between a container and this machine; - is a tar on a pipe.

    As with docker: in a folder that is there SRC gets its own name, a folder that is not there is
    made from what is in SRC, SRC/. takes what is in it alone, and files are overwritten. Paths are
    resolved inside the container, links too. Files come in as root's and go out as this user's,
    without set-user-ID bits, unless -a is given.
    """
    from ocitool.cli import container_documents
    from ocitool.containers.records import find_container

    (from_name, from_path), (to_name, to_path) = _split(source), _split(destination)
    if (from_name is None) == (to_name is None):
        raise UsageError(
            "one of SRC and DEST is a path of a container, the other one is not",
            hint="ocitool container cp NAME:PATH DEST, or SRC NAME:PATH",
        )
    with out.options.open_store() as layout:
        if from_name is not None:
            container = find_container(layout, from_name)
            copied = _out(layout, container, from_path, destination, copy, out)
        else:
            container = find_container(layout, to_name or "")
            copied = _in(layout, container, source, to_path, copy)
    if copied is None:
        return
    out.result(
        copied,
        text=lambda copied: [f"Copied: {console.safe(copied.destination)}"],
        ids=lambda copied: [console.safe(copied.destination)],
        view=container_documents.COPIED,
    )
    out.remark(_remarks(copied))


def _split(text: str) -> tuple[str | None, str]:
    """Return the container and the path in it; a path of this machine names no container."""
    name, colon, path = text.partition(":")
    if text == _PIPE or not colon or name.startswith((".", "/")) or "/" in name or not name:
        return None, text
    if not path:
        raise UsageError(f"{text!r} names no path", hint=f"write {name}:/PATH")
    return name, path


def _out(
    layout: "Layout",
    container: "Container",
    path: str,
    destination: str,
    copy: "CopyOptions",
    out: Output,
) -> "Copied | None":
    from ocitool.cli.delivery import check_destination
    from ocitool.containers.copying import copy_out, tar_out

    if destination != _PIPE:
        return copy_out(layout, container, path, destination, copy)
    check_destination(destination, out)
    for piece in tar_out(layout, container, path, copy):
        console.out_bytes(piece)
    return None


def _in(
    layout: "Layout", container: "Container", source: str, path: str, copy: "CopyOptions"
) -> "Copied":
    from ocitool.containers.copying import copy_in, tar_in

    if source != _PIPE:
        return copy_in(layout, container, path=source, destination=path, options=copy)
    if console.is_terminal(sys.stdin):
        raise UsageError("a tar is not read from a terminal", hint="pipe one in")
    return tar_in(layout, container, sys.stdin.buffer, path, copy)


def _remarks(copied: "Copied") -> Iterator[str]:
    from ocitool.cli.render.columns import counted, size

    done = copied.extracted
    yield f"{counted(done.entries, 'member')}, {size(done.size)}"
    if copied.sockets:
        yield f"left out: {counted(copied.sockets, 'socket')}"
    if done.special:
        yield f"left out: {counted(done.special, 'special file')}; -a keeps them"
    if done.attributes:
        yield f"left out: {counted(done.attributes, 'extended attribute')}; -a keeps them"
