"""ocitool reflog: what each name pointed to, and when."""

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.shared import NoTruncation
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render.columns import age, table, when

if TYPE_CHECKING:
    from ocitool.operations.restore import Meaning

_NUMBER = re.compile(r"@\{[0-9]+\}\Z")
_STATES = {
    "named": "",
    "nameless": "here, as <none>",
    "trash": "in the trash",
    "gone": "gone",
    "none": "",
}


@with_options(out=JSON_OUTPUT)
def reflog(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="List only this name.", autocompletion=store_names),
    ] = None,
    *,
    no_trunc: NoTruncation = False,
    out: Output,
) -> None:
    """List what each name pointed to, and when; `restore` takes NAME@{n} as it is shown here."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.operations.restore import name_history

    with out.options.open_store() as layout:
        # NAME@{n}, as this command prints it, is accepted too.
        name = _NUMBER.sub("", name) if name is not None else None
        found = name_history(layout, texts.full(name) if name is not None else None)
    out.result(found, text=lambda found: _lines(found, whole=no_trunc), view=documents.REFLOG)


def _lines(found: "Iterable[Meaning]", *, whole: bool) -> Iterator[str]:
    from ocitool.cli.render import texts

    now = dt.datetime.now(dt.UTC)
    rows = [
        [
            f"{texts.familiar(one.name)}@{{{one.number}}}",
            _digest(one.digest, whole=whole),
            when(one.time) if whole else age(one.time or None, now),
            _STATES[one.state],
        ]
        for one in found
    ]
    yield from table(["NAME", "DIGEST", "SINCE", ""], rows)


def _digest(digest: str | None, *, whole: bool) -> str:
    if digest is None:
        return "no image"
    return digest if whole else digest.partition(":")[2][:12]
