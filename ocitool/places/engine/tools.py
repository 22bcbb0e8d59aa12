"""Asking a container runtime through the command that belongs to it, such as `ctr`."""

import subprocess

from ocitool.errors import NotFound, Unavailable
from ocitool.oci.quoting import quoted

_SECONDS = 60
_SHOWN = 300


def ask_tool(tool: str, *arguments: str, seconds: float = _SECONDS) -> str:
    """Run a command to its end, which may take so many seconds, and return what it printed.

    NotFound when it says that something is not there, Unavailable when it is not installed, fails
    otherwise or does not end.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours, and no shell reads them
            [tool, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{tool} is not installed") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{tool} did not answer: {error}") from error
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    text = done.stderr.decode("utf-8", "replace").strip()
    kind = NotFound if "not found" in text else Unavailable
    raise kind(f"{tool} failed: {quoted(text[-_SHOWN:])}")
