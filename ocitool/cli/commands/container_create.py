"""ocitool container create and run: a container from an image of the store."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.container_start import (
    Detach,
    Process,
    RuntimeName,
    check_output,
    dockers_codes,
    start_made,
)
from ocitool.cli.completing import store_names
from ocitool.cli.options.containers.create import CREATE
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.containers.creating import Created
    from ocitool.containers.lifecycle.starting import StartOptions
    from ocitool.containers.options import CreateOptions

_Image = Annotated[
    str, typer.Argument(metavar="NAME", help="An image of the store.", autocompletion=store_names)
]
_Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COMMAND…]",
        help="Command to run instead of the image's; options behind NAME are its own.",
    ),
]


@with_options(options=CREATE, out=OUTPUT)
def create(
    image: _Image,
    command: _Command = None,
    *,
    options: "CreateOptions",
    out: Output,
) -> None:
    """Create a container from an image; the image is kept while the container exists.

    The last line printed is the bundle: `ocitool container start` or `runc run --bundle DIR N`
    starts it. Containers of one image share the unpacked files where the kernel supports it.
    """
    from ocitool.cli import documents

    made = _make(image, command, options, out)
    if out.is_text:
        for line in [_first_line(made), *_remarks(made)]:
            console.note(line)
    out.result(
        made,
        text=lambda created: [safe(created.container.bundle)],
        ids=lambda created: [created.container.id],
        view=documents.CREATED.beside(state="created"),
    )


@with_options(options=CREATE, out=OUTPUT)
def run(
    image: _Image,
    command: _Command = None,
    *,
    options: "CreateOptions",
    detach: Detach = False,
    runtime: RuntimeName = None,
    out: Output,
) -> None:
    """Create a container from an image and start it: both in one command.

    Its output is the output of this command, and its exit code is the exit code. With -d it runs in
    the background, and its name is printed.
    """
    from ocitool.containers.lifecycle.starting import StartOptions

    check_output(out, detach=detach)
    with dockers_codes(detach=detach) as process:
        made = _make(image, command, options, out)
        if not out.is_json:
            out.remark(_remarks(made))
        _start(made, StartOptions(detach=detach, runtime=runtime), out, process)


def _start(made: "Created", options: "StartOptions", out: Output, process: Process) -> None:
    """Start a container that was just made; one that stays although it did not start is told."""
    one = made.container
    try:
        start_made(one.id, options, out, process)
    except OcitoolError:
        if not (process.ran or one.settings.remove):
            text = f"container {one.name} was made, and stays"
            console.note(f"{text}: `ocitool container rm {one.name}` removes it")
        raise


def _make(
    image: str, command: list[str] | None, options: "CreateOptions", out: Output
) -> "Created":
    from msgspec.structs import replace

    from ocitool.containers.creating import create_container
    from ocitool.images.lookup import find_image

    words = tuple(command or ())
    # The parser leaves what stands behind NAME as it is, a -- before the command too.
    wanted = replace(options, command=words[words[:1] == ("--",) :])
    with out.options.open_store() as layout:
        found = find_image(layout, image.removeprefix("store:"))
        return create_container(layout, found, wanted)


def _first_line(made: "Created") -> str:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import counted, size

    one, done = made.container, made.extracted
    kind = "rootless container" if made.rootless else "container"
    how = (
        f"{counted(done.entries, 'member')}, {size(done.size)} unpacked"
        if done is not None
        else "shares files that were unpacked before"
    )
    return f"{kind} {one.name} of {texts.familiar(one.image)}: {how}"


def _remarks(made: "Created") -> list[str]:
    from ocitool.cli.render.columns import counted

    done, lines = made.extracted, list(made.remarks)
    if done is not None and done.special:
        lines.append(f"left out: {counted(done.special, 'special file')}")
    if done is not None and done.attributes:
        lines.append(f"left out: {counted(done.attributes, 'extended attribute')}")
    machine, platform = usual_platform(), made.platform.normalized()
    if platform.architecture and machine.rank(platform) is None:
        lines.append(f"the image is for {platform}, and this machine is {machine}")
    return lines
