"""The command line run in forked children of one small process, with a deadline and a meter.

Starting an interpreter for every command would take minutes. Here a server imports the command line
once, and every run is a fork of it: its own memory, its own exit code, killed when it takes too
long. `Forks` is the client; `python -m tests.hostile.forks` is the server.
"""

import base64
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tests.support.forked import warm_up

if TYPE_CHECKING:
    from resource import struct_rusage

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command did.

    `code` is negative when a signal ended it, `seconds` is the time of the processor and `peak` the
    resident memory in bytes, both of which a busy machine does not change.
    """

    arguments: tuple[str, ...]
    code: int
    out: bytes
    err: bytes
    seconds: float
    peak: int

    def __str__(self) -> str:
        tail = (self.out[-600:] + self.err[-1200:]).decode(errors="replace")
        return f"{self.arguments} ended with {self.code} after {self.seconds:.1f} s: {tail}"


class Forks:
    """A server of forks, for one test process."""

    def __init__(self) -> None:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("OCITOOL_") and key not in ("NO_COLOR", "COLUMNS", "TMPDIR")
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.forks"],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.communicate()

    def run(
        self,
        *arguments: str,
        cwd: Path,
        variables: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        terminal: bool = False,
        seconds: float = 20,
    ) -> Ran:
        """Run one command. With `terminal` it has one, and all it prints is in `out`.

        It is killed after `seconds` of the processor, or six times as many on the clock.
        """
        request = {
            "arguments": [os.fsencode(argument).hex() for argument in arguments],
            "cwd": str(cwd),
            "variables": {**(variables or {})},
            "stdin": None if stdin is None else str(stdin),
            "terminal": terminal,
            "seconds": seconds,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return Ran(
            arguments=arguments,
            code=answer["code"],
            out=base64.b64decode(answer["out"]),
            err=base64.b64decode(answer["err"]),
            seconds=answer["seconds"],
            peak=answer["peak"],
        )


def _serve() -> None:
    # What only the server needs for itself is not to be found in a child's standard streams.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    warm_up("ocitool.inside.facts")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for line in requests:
        request = json.loads(line)
        answer = _on_terminal(request) if request["terminal"] else _in_pipes(request)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _in_pipes(request: Mapping[str, object]) -> dict[str, object]:
    out, err = os.memfd_create("out"), os.memfd_create("err")
    child = os.fork()
    if not child:
        os.dup2(out, 1)
        os.dup2(err, 2)
        _become(request)
    _, status, usage = os.wait4(child, 0)
    return _answer(status, usage, _content(out), _content(err))


def _on_terminal(request: Mapping[str, object]) -> dict[str, object]:
    child, terminal = pty.fork()
    if not child:
        _become(request)
    parts = []
    try:
        while part := os.read(terminal, 1 << 16):
            parts.append(part)
    except OSError:
        pass  # The other end is closed.
    _, status, usage = os.wait4(child, 0)
    os.close(terminal)
    return _answer(status, usage, b"".join(parts), b"")


def _answer(status: int, usage: "struct_rusage", out: bytes, err: bytes) -> dict[str, object]:
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": base64.b64encode(out).decode(),
        "err": base64.b64encode(err).decode(),
        "seconds": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
    }


def _content(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb") as stream:
        return stream.read()


def _become(request: Mapping[str, object]) -> None:
    """Be the command until its end; never returns."""
    code = 70
    try:
        # The kernel ends what takes too long, whatever hangs.
        limit = float(str(request["seconds"]))
        for number, timer, seconds in (
            (signal.SIGPROF, signal.ITIMER_PROF, limit),
            (signal.SIGALRM, signal.ITIMER_REAL, 6 * limit),
        ):
            signal.signal(number, signal.SIG_DFL)
            signal.setitimer(timer, seconds)
        os.chdir(str(request["cwd"]))
        variables = request["variables"]
        assert isinstance(variables, dict)
        os.environ.update(variables)
        if request["stdin"] is not None:
            os.dup2(os.open(str(request["stdin"]), os.O_RDONLY), 0)
        # As an interpreter opens them; stderr line by line, for threads share it.
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding="utf-8", closefd=False)  # noqa: SIM115
        arguments = request["arguments"]
        assert isinstance(arguments, list)
        from ocitool.cli.main import run

        code = run([os.fsdecode(bytes.fromhex(argument)) for argument in arguments])
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
