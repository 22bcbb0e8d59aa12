"""ocitool help: the help page of a command."""

from typing import Annotated, Any

import typer

from ocitool.cli.render import console
from ocitool.errors import UsageError

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[COMMAND…]", help="A command, such as `load` or `registry tags`."),
]


def help(context: typer.Context, words: Words = None) -> None:  # noqa: A001
    """Show the help page of a command, or the list of all commands."""
    here: Any = context.find_root()
    for word in words or ():
        if not hasattr(here.command, "resolve_command"):
            raise UsageError(
                f"{here.command_path} has no commands such as {word!r}",
                hint=f"`{here.command_path} -h` shows its options and arguments",
            )
        name, command, _ = here.command.resolve_command(here, [word])
        here = typer.Context(command, info_name=name, parent=here)
    console.out(here.get_help())
