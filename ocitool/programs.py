"""Other programs, such as `ssh` and `ctr`: run to their end, shown to the user, or left behind."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

from msgspec import Struct

from ocitool.errors import Unavailable
from ocitool.fsops import scratch_file

_SHOWN = 400


class NotInstalled(Unavailable):
    """The program is not installed, or cannot be run."""


class Finished(Struct, frozen=True, kw_only=True):
    """A program that has ended: its exit code, and what it wrote to its two outputs."""

    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        """What it wrote for people, which is untrusted text: its error output, else its output."""
        return (self.err.strip() or self.out.strip()).decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """The end of that on one line, for the message of an error."""
        return " ".join(self.said.split())[-_SHOWN:]


def run_program(
    command: Sequence[str],
    *,
    pieces: Iterable[bytes] | None = None,
    stdin: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    shows_errors: bool = False,
    limit: int = 256 << 20,
    seconds: float | None = None,
) -> Finished:
    """Run a program to its end. NotInstalled when it cannot be started.

    Unavailable, and the program is killed, when it has not ended after so many `seconds`.
    `pieces` are written to its input; when they raise, the program is killed before it can take
    what it has for the whole. Without them it reads `stdin`, or nothing. Of each output the first
    `limit` bytes are returned. With `shows_errors` its error output is ours.
    """
    # Files, not pipes: a process that it leaves behind, such as the shared connection of ssh, may
    # hold them open for long.
    with open(scratch_file(None), "rb") as out, open(scratch_file(None), "rb") as err:
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell reads the words
                command,
                stdin=(stdin or subprocess.DEVNULL) if pieces is None else subprocess.PIPE,
                stdout=out,
                stderr=None if shows_errors else err,
                env=environment,
            )
        except FileNotFoundError as error:
            raise NotInstalled(f"{command[0]} is not installed") from error
        except OSError as error:
            raise NotInstalled(f"{command[0]} cannot be run: {error.strerror}") from error
        with _killed_on_failure(process):
            if pieces is not None and process.stdin is not None:
                _feed(process.stdin, pieces)
            code = _wait(process, command[0], seconds)
        out.seek(0)
        err.seek(0)
        return Finished(code=code, out=out.read(limit), err=err.read(limit))


def _wait(process: "subprocess.Popen[bytes]", program: str, seconds: float | None) -> int:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{program} did not answer within {seconds:g} s") from error


def run_in_front(command: Sequence[str], *, reads_stdin: bool) -> int:
    """Run a program with our own output, and with our input if `reads_stdin`; return its exit code.

    128 and its number for a signal that ended it. Signals to us are passed on to it, except an
    interrupt from the terminal, which it gets itself. NotInstalled when it cannot be started.
    """
    try:
        stdin = None if reads_stdin else subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=stdin)  # noqa: S603 - no shell reads the words
    except OSError as error:
        raise NotInstalled(f"{command[0]} cannot be run: {error.strerror}") from error
    with _signals_passed_to(process):
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _signals_passed_to(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    # Only the main thread may change what signals do.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    passed = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    before = {number: signal.getsignal(number) for number in passed}
    at_terminal = any(map(os.isatty, (0, 1, 2)))
    for number in passed:
        itself = number == signal.SIGINT and at_terminal
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _ignore if itself else lambda n, _: process.send_signal(n))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _ignore(_number: int, _frame: object) -> None:
    # A function, because what is ignored by us would be ignored by programs that we start.
    pass


def leave_behind(script: str, *, stdout: int) -> "subprocess.Popen[bytes]":
    """Start a script of sh(1) that goes on when we have ended; return its process.

    It has a session of its own, so no terminal ends it, and no input. `stdout` is the descriptor of
    its output. NotInstalled when it cannot be started.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the caller quotes what is in the script
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise NotInstalled(f"/bin/sh cannot be run: {error.strerror}") from error
    # Only its parent can learn that it has ended, and until then it stays in the process table.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _feed(pipe: IO[bytes], pieces: Iterable[bytes]) -> None:
    """Write all pieces, unless the program ends before: what it said tells why."""
    try:
        for piece in pieces:
            pipe.write(piece)
        pipe.close()
    except BrokenPipeError:
        # Closing tries once more to write what is left.
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@contextlib.contextmanager
def _killed_on_failure(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        # This closes its input, which would look like the end to a program that still runs.
        with contextlib.suppress(BrokenPipeError):
            process.__exit__(None, None, None)
