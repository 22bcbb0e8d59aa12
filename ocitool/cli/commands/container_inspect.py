"""ocitool container inspect: all that is known of a container, in docker's words."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import container_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render.formatted import Format, formatted, is_template

if TYPE_CHECKING:
    from ocitool.containers.inspection import Inspection

Size = Annotated[
    bool, typer.Option("--size", "-s", help="Add the bytes of the writable layer and of all files.")
]


@with_options(out=JSON_OUTPUT)
def inspect(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="Names or IDs of containers.", autocompletion=container_names
        ),
    ],
    *,
    size: Size = False,
    template: Format = None,
    out: Output,
) -> None:
    """Show all that is known of containers, as a list of JSON objects with docker's names.

    --format '{{.State.Status}}' or '{{json .Mounts}}' picks from it. What needs a daemon, such as
    ports and networks, is not there.
    """
    from ocitool.cli import container_documents
    from ocitool.cli.render import console
    from ocitool.cli.render.template import Record
    from ocitool.containers.inspecting import inspect_container
    from ocitool.containers.records import find_container

    wants_template = is_template(template, json=out.is_json)
    with out.options.open_store() as layout:
        found: list[Inspection] = [
            inspect_container(layout, find_container(layout, name), sizes=size)
            for name in dict.fromkeys(names)
        ]
    documents = [container_documents.inspection(one) for one in found]
    if template is not None and wants_template:
        out.lines(formatted(template, map(Record, documents)))
    else:
        console.out_json(documents)
