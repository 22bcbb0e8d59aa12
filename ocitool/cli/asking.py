"""Ask before something is removed; the command ends unless the user answers yes on a terminal."""

import sys
from collections.abc import Iterable

import typer

from ocitool.cli.render import console

_NOT_DONE, _NO_TERMINAL = 1, 2


def ask_to_remove(plan: Iterable[str]) -> None:
    """Show on stderr what would be removed, and ask; typer.Exit unless the answer is yes."""
    for line in plan:
        console.ask(line)
    confirm("remove this?", "nothing was removed: there is no terminal to ask on", dry_run=True)


def confirm(question: str, without_terminal: str, *, dry_run: bool = False) -> None:
    """Ask; typer.Exit with code 1 unless the answer is yes, and 2 when there is no terminal."""
    if not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stderr)):
        console.note(f"ocitool: {without_terminal}")
        more = ", or --dry-run to see it only" if dry_run else ""
        console.note(f"  use -f to do this without a question{more}")
        raise typer.Exit(_NO_TERMINAL)
    console.note(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        console.note("nothing was removed")
        raise typer.Exit(_NOT_DONE)
