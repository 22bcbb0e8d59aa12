"""ocitool container diff: what a container changed in the files of its image."""

from typing import Annotated

import typer

from ocitool.cli.completing import container_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render.console import safe

ContainerName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name or ID of a container.", autocompletion=container_names
    ),
]


@with_options(out=OUTPUT)
def diff(name: ContainerName, *, out: Output) -> None:
    """List what a container changed: A for added, C for changed, D for deleted.

    The letters are docker's: a folder is changed if its mode or owner is, or something in it. What
    runtimes make is left out: mount points, /dev, /proc, /sys, and /etc/hosts and the like. With
    -q the paths are printed alone.
    """
    from ocitool.cli import container_documents
    from ocitool.containers.records import find_container
    from ocitool.containers.writable.opening import container_changes

    with out.options.open_store() as layout:
        container = find_container(layout, name)
        with out.working("comparing files"):
            changes = container_changes(layout, container)
    out.result(
        changes,
        text=lambda found: (f"{one.letter} /{safe(one.path)}" for one in found),
        ids=lambda found: (f"/{safe(one.path)}" for one in found),
        view=container_documents.CHANGED_PATH,
    )
