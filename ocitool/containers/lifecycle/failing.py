"""Why a container could not be started: what its runtime said, and what to do next."""

import os
import re
from enum import StrEnum

from ocitool.containers.lifecycle.runtime import Runtime, other_runtime
from ocitool.containers.lifecycle.state import ERR, LOG
from ocitool.containers.records import Container
from ocitool.errors import OcitoolError
from ocitool.fsops import Directory
from ocitool.oci.quoting import quoted

_TAIL_BYTES = 4096
# What runc says: time="…" level=error msg="runc run failed: …"
_MESSAGE = re.compile(r'msg="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
# runc names the program after "exec:"; crun says "executable file `x` not found in $PATH: …" and
# "open executable: …".
_OF_THE_PROGRAM = re.compile(r"\bexec(: |utable)")
_ABSENT = ("not found in $PATH", "no such file or directory")
_DENIED = ("permission denied", "is a directory", "exec format error")


class Cause(StrEnum):
    """What kept a container from being started, as docker tells it apart.

    The program is not in the image, it is there and cannot be invoked, or the runtime failed.
    """

    ABSENT = "absent"
    DENIED = "denied"
    RUNTIME = "runtime"


class NotStarted(OcitoolError):
    """An OCI runtime could not start a container, and its process did not run."""

    def __init__(self, message: str, *, cause: Cause, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


def not_started(
    run: Directory, runtime: Runtime, container: Container, *, printed_from: int | None
) -> NotStarted:
    """Return the error for a container that its runtime could not start.

    `printed_from` is where the runtime's own output begins in the file of a detached one; None if
    the user has seen it.
    """
    said = _last_line(run, LOG, 0)
    if not said and printed_from is not None:
        said = _last_line(run, ERR, printed_from)
    cause = _cause(said)
    why = f": {quoted(said)}" if said and printed_from is not None else ""
    return NotStarted(
        f"{runtime.name} could not start container {container.name}{why}",
        cause=cause,
        hint=_hint(cause, runtime, container),
    )


def _cause(said: str) -> Cause:
    found = said.lower()
    if _OF_THE_PROGRAM.search(found):
        if any(text.lower() in found for text in _ABSENT):
            return Cause.ABSENT
        if any(text in found for text in _DENIED):
            return Cause.DENIED
    return Cause.RUNTIME


def _hint(cause: Cause, runtime: Runtime, container: Container) -> str:
    if cause is Cause.RUNTIME:
        other = other_runtime(runtime, container)
        way = f"try another with --runtime {other}" if other else "install another"
        return f"{runtime.name} itself failed: {way}, or make the container with other options"
    return "make another container with a command that the image has and that may be run"


def _last_line(run: Directory, name: str, began: int) -> str:
    """Return what the runtime wrote last into a file from a position on."""
    size = run.size_of(name) or 0
    if size <= began:
        return ""
    descriptor, _ = run.open_file(name)
    try:
        data = os.pread(descriptor, _TAIL_BYTES, max(began, size - _TAIL_BYTES))
    finally:
        os.close(descriptor)
    text = "".join(data.decode("utf-8", "replace").strip().splitlines()[-1:])
    found = _MESSAGE.search(text)
    return _ESCAPED.sub(r"\1", found[1]) if found else text
