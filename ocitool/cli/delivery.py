"""Whether a tar may be written to standard output."""

import sys
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.cli.output import Output


def check_destination(path: str, out: "Output") -> None:
    """Refuse to write a tar to a terminal, or a tar and JSON to the same stream."""
    if path != "-":
        return
    if console.is_terminal(sys.stdout):
        raise UsageError(
            "a tar is not written to a terminal", hint="use -o FILE, or pipe it into a command"
        )
    if out.is_json:
        raise UsageError("--json and the tar cannot both go to stdout", hint="use -o FILE")
