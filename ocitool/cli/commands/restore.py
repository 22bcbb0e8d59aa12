"""ocitool restore: a name means again what it meant before."""

import re
from typing import Annotated

import typer

from ocitool.cli.options.shared import Json, settings
from ocitool.cli.render import console
from ocitool.errors import UsageError

_REFERENCE = re.compile(r"(?P<name>.+)@\{(?P<number>[0-9]{1,9})\}")


def restore(
    context: typer.Context,
    reference: Annotated[
        str, typer.Argument(metavar="NAME@{n}", help="A line of `reflog`; n is 1 for the last.")
    ],
    *,
    json: Json = False,
) -> None:
    """Make a name point to what it pointed to n changes ago."""
    from ocitool.cli.render import texts
    from ocitool.operations import restore as restoring

    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise UsageError(
            f"{reference!r} is not like NAME@{{1}}", hint="`ocitool reflog NAME` lists them"
        )
    options = settings(context)
    name = texts.full(found["name"])
    with options.open_store() as layout:
        changes = restoring.restore(layout, name, int(found["number"]))
    if json:
        console.out_json({"changed": [texts.change_json(change) for change in changes]})
        return
    for change in changes:
        came = f", from {change.old}" if change.old is not None else ""
        console.out(f"{texts.familiar(change.name)} is {change.new} again{came}")
    if not changes:
        console.out(f"{texts.familiar(name)} is that image already")
