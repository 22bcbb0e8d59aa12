"""The end of a command that could not read all layers of an image."""

from collections.abc import Iterable

import typer

from ocitool.cli.render import console
from ocitool.inside.problems import BROKEN

_UNPROVEN = 3


def end_for(layers: Iterable[tuple[str, str]], *, gated: bool = False) -> None:
    """Raise if there are layers that were not read, each given as its kind and a message.

    That is the error of a missing or damaged layer. One that cannot be read by its nature is no
    failure, but where it is `gated` whether the image has something, the command ends with the
    code for no: nobody knows.
    """
    found = list(layers)
    for kind, text in found:
        if kind in BROKEN:
            raise BROKEN[kind](text)
    if found and gated:
        console.note(found[0][1])
        raise typer.Exit(_UNPROVEN)
