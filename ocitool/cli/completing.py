"""What a shell is offered for values: the words of an option, and names in the store."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from ocitool.cli.options.shared import default_store
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.places.layout import Layout

Complete = Callable[[typer.Context, str], list[str]]


def words(*values: str) -> Complete:
    """Return what completes one of some words, or a list of them with commas between."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{value}" for value in values if value.startswith(last)]

    return complete


def store_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of images in the store that begin like this, in docker's short form."""

    def find(layout: "Layout") -> Iterator[str]:
        for root in layout.roots():
            yield from map(familiar, root.names)

    from ocitool.oci.reference import familiar

    return _of_store(context, incomplete, find)


def container_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of containers of the store that begin like this."""

    def find(layout: "Layout") -> Iterator[str]:
        for container in read_records(layout).containers:
            yield container.name

    from ocitool.containers.records import read_records

    return _of_store(context, incomplete, find)


def former_entries(context: typer.Context, incomplete: str) -> list[str]:
    """Return what `restore` takes: NAME@{n} for each image that a name pointed to before."""

    def find(layout: "Layout") -> Iterator[str]:
        for one in name_history(layout, None):
            if one.number and one.digest is not None:
                yield f"{familiar(one.name)}@{{{one.number}}}"

    from ocitool.oci.reference import familiar
    from ocitool.operations.restore import name_history

    return _of_store(context, incomplete, find)


def _of_store(
    context: typer.Context, incomplete: str, find: "Callable[[Layout], Iterator[str]]"
) -> list[str]:
    from ocitool.places.layout import Layout

    try:
        with Layout.existing(_store(context)) as layout:
            return sorted(text for text in find(layout) if text.startswith(incomplete))
    except OcitoolError:
        # A line that is typed is no place for an error; the command itself will report it.
        return []


def _store(context: typer.Context) -> str:
    """Return the store that the command line means so far."""
    here: typer.Context | None = context
    while here is not None:
        source = here.get_parameter_source("store")
        if source is not None and source.name == "COMMANDLINE":
            return str(here.params["store"])
        here = here.parent  # type: ignore[assignment]
    return os.environ.get("OCITOOL_STORE") or default_store()
