"""ocitool container: containers of images of the store, as bundles for an OCI runtime."""

import datetime as dt
import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.shared import (
    Json,
    OnePlatform,
    Quiet,
    one_platform,
    settings,
    usual_platform,
)
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.containers import Container, Created

_ID_LENGTH = 12

container = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@container.command("create")
def create(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="NAME", help="An image of the store.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND…]", help="To run instead; after -- if it has options."),
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="What to call the container.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", metavar="DIR", help="A new folder for the bundle.")
    ] = None,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help='Share nothing: for runtimes that lay no overlay at "/", such as crun 1.8.',
        ),
    ] = False,
    platform: OnePlatform = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a container from an image; its image stays, whatever happens to names.

    The last line printed is the bundle: `runc run --bundle DIR N` starts it. Containers of one
    image share what was unpacked where the kernel lets them.
    """
    from ocitool.containers import CreateOptions, create_container
    from ocitool.images.lookup import find_image

    options = settings(context)
    if bundle == "":
        raise UsageError("--bundle is empty", hint="name a new folder")
    wish = CreateOptions(
        name=name,
        bundle=bundle,
        command=tuple(command or ()),
        platform=one_platform(platform),
        usual=usual_platform(),
        alone=copy,
    )
    with options.open_store() as layout:
        made = create_container(layout, find_image(layout, image.removeprefix("store:")), wish)
    if json:
        console.out_json({**_as_json(made.container, "created"), **_unpacked_json(made)})
    elif quiet or options.quiet:
        console.out(made.container.id)
    else:
        for line in _remarks(made):
            console.note(line)
        console.out(safe(made.container.bundle))


@container.command("ls")
def list_containers(context: typer.Context, *, quiet: Quiet = False, json: Json = False) -> None:
    """List the containers of the store and the images that they keep."""
    from ocitool.containers import containers, running_bundles

    options = settings(context)
    with options.open_store() as layout:
        found = containers(layout)
    active = running_bundles(one.bundle for one in found)
    states = {one.id: _state(one, active) for one in found}
    if json:
        console.out_json([_as_json(one, states[one.id]) for one in found])
    elif quiet or options.quiet:
        for one in found:
            console.out(one.id)
    else:
        _show(found, states)


@container.command("rm")
def remove(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME…", help="Names or IDs of containers.")
    ],
    *,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Remove containers and what they wrote. Their images stay; `gc` may remove them then."""
    from ocitool.containers import remove_container

    options = settings(context)
    with options.open_store() as layout:
        done = [remove_container(layout, name) for name in dict.fromkeys(names)]
    for one in done:
        if one.left is not None:
            console.note(f"left alone: {safe(one.left)} is not the bundle of {one.container.name}")
    if json:
        console.out_json({"removed": [_as_json(one.container, "removed") for one in done]})
    elif not (quiet or options.quiet):
        for one in done:
            console.out(f"Removed: {one.container.name}")


def _as_json(one: "Container", state: str) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "state": state,
        "image": one.image,
        "digest": one.digest,
        "manifest": one.manifest,
        "config": one.config,
        "created": one.created,
        "bundle": one.bundle,
        "shared_tree": one.tree,
    }


def _unpacked_json(made: "Created") -> dict[str, object]:
    done = made.extracted
    if done is None:
        return {"rootless": made.rootless, "unpacked": None}
    unpacked = {
        "entries": done.entries,
        "bytes": done.size,
        "special_left_out": done.special,
        "attributes_left_out": done.attributes,
    }
    return {"rootless": made.rootless, "unpacked": unpacked}


def _remarks(made: "Created") -> list[str]:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import counted, size

    one, done = made.container, made.extracted
    kind = "rootless container" if made.rootless else "container"
    how = (
        f"{counted(done.entries, 'member')}, {size(done.size)} unpacked"
        if done is not None
        else "shares what was unpacked before"
    )
    lines = [f"{kind} {one.name} of {texts.familiar(one.image)}: {how}"]
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


def _show(found: "list[Container]", states: dict[str, str]) -> None:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import age, fits, table

    now = dt.datetime.now(dt.UTC)
    rows = [
        (
            one.id[:_ID_LENGTH],
            one.name,
            texts.familiar(one.image),
            one.digest.partition(":")[2][:_ID_LENGTH],
            states[one.id],
            age(one.created, now),
            safe(one.bundle),
        )
        for one in found
    ]
    header = ("CONTAINER ID", "NAME", "IMAGE", "DIGEST", "STATE", "CREATED", "BUNDLE")
    width = console.terminal_width()
    if width is None or fits(header, rows, width):
        for line in table(header, rows):
            console.out(line)
        return
    # A path is there to be copied, so it is whole and has a line of its own.
    lines = table(header[:-1], [row[:-1] for row in rows], drop=(3, 5), shrink=(2, 1), width=width)
    console.out(lines[0])
    for line, row in zip(lines[1:], rows, strict=True):
        console.out(line)
        console.out(f"  {row[-1]}")
