"""ocitool reflog: what each name pointed to, and when."""

import datetime as dt
import re
from typing import Annotated

import typer

from ocitool.cli.options.shared import Json, NoTruncation, settings
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, table, when

_NUMBER = re.compile(r"@\{[0-9]+\}\Z")
_STATES = {
    "named": "",
    "nameless": "here, as <none>",
    "trash": "in the trash",
    "gone": "gone",
    "none": "",
}


def reflog(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One name only.")] = None,
    *,
    no_trunc: NoTruncation = False,
    json: Json = False,
) -> None:
    """List what each name pointed to, and when; NAME@{n} is what `restore` takes."""
    from ocitool.cli.render import texts
    from ocitool.operations.restore import name_history

    options = settings(context)
    with options.open_store() as layout:
        # As its own lines spell it.
        name = _NUMBER.sub("", name) if name is not None else None
        found = name_history(layout, texts.full(name) if name is not None else None)
    if json:
        console.out_json(
            [
                {
                    "name": one.name,
                    "number": one.number,
                    "time": one.time or None,
                    "digest": one.digest,
                    "state": one.state,
                }
                for one in found
            ]
        )
        return
    now = dt.datetime.now(dt.UTC)
    rows = [
        [
            f"{texts.familiar(one.name)}@{{{one.number}}}",
            _digest(one.digest, whole=no_trunc),
            when(one.time) if no_trunc else age(one.time or None, now),
            _STATES[one.state],
        ]
        for one in found
    ]
    for line in table(["NAME", "DIGEST", "SINCE", ""], rows):
        console.out(line)


def _digest(digest: str | None, *, whole: bool) -> str:
    if digest is None:
        return "no image"
    return digest if whole else digest.partition(":")[2][:12]
