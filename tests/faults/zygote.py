"""A process that has loaded ocitool and forks for each command: 20 ms instead of 300.

The child is the command line itself, `ocitool.cli.main.run`, under a `Plan`. It tells what it
does over a connection of its own, so a test can stop it, let it go on, or kill it.
"""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.faults.watched import Change, Plan, Watch
from tests.support.forked import warm_up

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0
_USED = r"ocitool\.(bundles|containers|editing|garbage|image|operations|places|programs)\b"
"""The modules that commands of these tests use, besides those of the most usual commands."""


@dataclass(slots=True, kw_only=True)
class Ended:
    """How a command ended: `code` is None when it was killed. `failed` are injected errors.

    `skipped` is how many changes were left out as planned.
    """

    code: int | None
    out: str = ""
    err: str = ""
    changes: list[Change] = field(default_factory=list)
    failed: list[Change] = field(default_factory=list)
    skipped: int = 0


class Running:
    """A command that runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ended = Ended(code=None)
        self._over = False
        self.pid: int = connection.recv()

    def kill(self) -> None:
        """End it at this moment, as `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def until(self, *events: str) -> tuple[str, Any] | None:
        """Let it run up to one of these events and return it; None when it has ended."""
        while not self._over:
            if not self._connection.poll(PATIENCE):
                self.kill()
                raise AssertionError(f"the command did not end within {PATIENCE} s")
            try:
                event, value = self._connection.recv()
            except (EOFError, ConnectionResetError):
                self._over = True
                self._connection.close()
                break
            if event == "change":
                self._ended.changes.append(value)
            elif event == "failed":
                self._ended.failed.append(value)
            elif event == "skipped":
                self._ended.skipped += 1
            elif event == "ended":
                self._ended.code, self._ended.out, self._ended.err = value
            if event in events:
                return event, value
        return None

    def go_on(self) -> None:
        """Let it go on after a pause."""
        with contextlib.suppress(BrokenPipeError):
            self._connection.send(None)

    def end(self) -> Ended:
        """Wait for its end."""
        while self.until("paused") is not None:
            self.go_on()
        # The connection is closed before the lock file is; a moment later both are.
        deadline = time.monotonic() + 5
        while os.path.exists(f"/proc/{self.pid}/cwd") and time.monotonic() < deadline:
            time.sleep(0.0005)
        return self._ended


class Zygote:
    """The parent of all commands."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote", str(theirs.fileno())],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("OCITOOL_")},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(PATIENCE)

    def start(
        self, arguments: Sequence[str | Path], plan: Plan | None = None, *, cwd: Path = ROOT
    ) -> Running:
        """Start one command."""
        ours, theirs = socket.socketpair()
        request: Mapping[str, object] = {"arguments": [*map(str, arguments)], "cwd": str(cwd)}
        with theirs:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [theirs.fileno()])
        connection = Connection(ours.detach())
        connection.send(plan)
        return Running(connection)

    def run(
        self, arguments: Sequence[str | Path], plan: Plan | None = None, *, cwd: Path = ROOT
    ) -> Ended:
        """Run one command to its end."""
        return self.start(arguments, plan, cwd=cwd).end()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    """Keep a parent of commands for the block."""
    parent = Zygote()
    try:
        yield parent
    finally:
        parent.close()


def _serve(listener: socket.socket) -> None:
    warm_up(_USED)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, ancillary, _, _ = listener.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if not message:
            return
        fds = array.array("i", ancillary[0][2])
        if os.fork() == 0:
            listener.close()
            _child(json.loads(message), Connection(fds[0]))
        os.close(fds[0])


def _child(request: dict[str, Any], connection: Connection) -> None:
    code, out, err = 99, os.memfd_create("out"), os.memfd_create("err")
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.send(os.getpid())
        plan: Plan | None = connection.recv()
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(request["cwd"])
        if plan is not None:
            Watch(plan, connection.send, connection.recv).install()
        from ocitool.cli.main import run

        code = run(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        texts = [os.pread(fd, 1 << 20, 0).decode(errors="replace") for fd in (out, err)]
        connection.send(("ended", (code, *texts)))
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
