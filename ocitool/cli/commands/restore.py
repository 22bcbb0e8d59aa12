"""ocitool restore: make a name point to an earlier image again."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import former_entries
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.places.layout import NameChange

_REFERENCE = re.compile(r"(?P<name>.+)@\{(?P<number>[0-9]{1,9})\}")


@with_options(out=JSON_OUTPUT)
def restore(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="NAME@{n}",
            help="An entry of `reflog`; 1 is the value before the last change.",
            autocompletion=former_entries,
        ),
    ],
    *,
    out: Output,
) -> None:
    """Make a name point to what it pointed to n changes ago."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.operations import restore as restoring

    found = _REFERENCE.fullmatch(reference)
    if found is None:
        name = reference.partition("@")[0]
        raise UsageError(
            f"{reference!r} is not of the form NAME@{{1}}",
            hint=f"write '{name}@{{1}}'; `ocitool reflog {name}` lists what it meant before",
        )
    name = texts.full(found["name"])
    with out.options.open_store() as layout:
        changes = restoring.restore(layout, name, int(found["number"]))
    out.result(
        changes,
        text=lambda changes: _lines(changes, name),
        view=documents.CHANGE.under("changed"),
    )


def _lines(changes: "Sequence[NameChange]", name: str) -> Iterator[str]:
    from ocitool.cli.render import texts

    if not changes:
        yield f"{texts.familiar(name)} already names that image"
    for change in changes:
        before = f", from {change.old}" if change.old is not None else ""
        yield f"{texts.familiar(change.name)} is {change.new} again{before}"
