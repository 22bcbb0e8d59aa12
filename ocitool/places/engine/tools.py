"""Asking a container runtime through the command that belongs to it, such as `ctr`."""

from ocitool.errors import NotFound, Unavailable
from ocitool.oci.quoting import quoted
from ocitool.programs import run_program

_SECONDS = 60
_SHOWN = 300


def ask_tool(tool: str, *arguments: str, seconds: float = _SECONDS) -> str:
    """Run a command to its end, which may take so many seconds, and return what it printed.

    NotFound when it says that something is not there, Unavailable when it is not installed, fails
    otherwise or does not end.
    """
    done = run_program([tool, *arguments], seconds=seconds)
    if done.code == 0:
        return done.out.decode("utf-8", "replace")
    text = done.err.decode("utf-8", "replace").strip()
    kind = NotFound if "not found" in text else Unavailable
    raise kind(f"{tool} failed: {quoted(text[-_SHOWN:])}")
