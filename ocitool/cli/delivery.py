"""Where a tar goes: to standard output if it may, or to a file."""

import contextlib
import sys
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def written_to(output: str) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes to stdout, or to a file that appears when the block has ended well."""
    from ocitool.fsops import OutputFile

    if output == "-":
        yield console.out_bytes
        return
    file = OutputFile(output)
    try:
        yield file.write
        file.publish()
    finally:
        file.close()
