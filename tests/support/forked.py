"""Commands as children of a process that has loaded ocitool: 20 ms instead of 250.

Each runs in a process of its own, with its own arguments, environment, folder and pipes; only the
start of the interpreter is shared.
"""

import array
import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import pty
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from fixtures.picture import read_terminal

ROOT = Path(__file__).resolve().parent.parent.parent
_LAUNCHER = Path(__file__).with_name("fork_launcher.py")
_ALL = r"(?!ocitool\.cli\.explore\.)"
"""All modules but those of a screen, which load as much as all others together."""
_USUAL = (
    "load {image}",
    "load --json {image}",
    "images",
    "images --all --json",
    "inspect {image}",
    "inspect --json {image}",
    "history {image}",
    "size --json {image}",
    "files ls -R {image}",
    "verify {image}",
    "verify --json",
    "save fmt/app:1.0 -o {folder}/saved.tar",
    "copy fmt/app:1.0 oci:{folder}/layout",
    "tag fmt/app:1.0 a:1",
    "rm a:1",
    "gc -f --containers none",
)
_AT_START = ("LC_", "LANG", "PYTHON", "COVERAGE")
"""Variables that the interpreter reads as it starts, by their beginnings."""


def can_fork(variables: Mapping[str, str]) -> bool:
    """Tell whether a command may share its start: not where that is what its variables change."""
    if any(name.startswith("COVERAGE") for name in os.environ):
        return False
    return not any(name.startswith(_AT_START) for name in variables)


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes,
    uid: int | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    """Run one command to its end, as subprocess.run does. With `uid` it takes that user for its."""
    pipes = [os.pipe() for _ in range(3)]
    (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
    streams = (theirs_in, theirs_out, theirs_err)
    with _start(arguments, cwd, env, streams, uid=uid) as connection:
        feeder = threading.Thread(target=_feed, args=(ours_in, stdin))
        output: list[bytes] = []
        reader = threading.Thread(target=lambda: output.append(_drain(ours_out)))
        feeder.start()
        reader.start()
        errors = _drain(ours_err)
        reader.join()
        feeder.join()
        code = int(connection.recv(16))
    return subprocess.CompletedProcess(["ocitool", *arguments], code, output[0], errors)


def on_a_terminal(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> str:
    """Run one command on a terminal; return what it shows there, with its escape codes."""
    ours, theirs = pty.openpty()
    with (
        open(os.devnull) as nothing,
        _start(arguments, cwd, env, (os.dup(nothing.fileno()), theirs, os.dup(theirs))) as ended,
    ):
        shown = read_terminal(ours)
        ended.recv(16)
    os.close(ours)
    return shown


def launcher(path: Path) -> tuple[int, ...]:
    """Write a program that does what `ocitool` does; scripts inherit the descriptors returned."""
    shared = (_server().fileno(),) if can_fork({}) else ()
    words = ["-IS", f'"{_LAUNCHER}"', *map(str, shared)] if shared else ["-m", "ocitool"]
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(words)} "$@"\n')
    path.chmod(0o755)
    return shared


def _start(
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    streams: Sequence[int],
    *,
    uid: int | None = None,
) -> socket.socket:
    """Start one command with these streams, which are closed here; the socket tells its end."""
    mask = os.umask(0o022)
    os.umask(mask)
    request = {
        "arguments": [*arguments],
        "cwd": str(cwd),
        "env": dict(env),
        "umask": mask,
        "uid": uid,
    }
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_server(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
    for descriptor in streams:
        os.close(descriptor)
    return ours


def _feed(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(data)


def _drain(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(listener: socket.socket) -> None:
    warm_up(_ALL)
    running: dict[int, tuple[int, int]] = {}
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    while True:
        for descriptor, _ in ready.poll():
            if descriptor in running:
                ready.unregister(descriptor)
                _tell_end(descriptor, *running.pop(descriptor))
                continue
            message, ancillary, _, _ = listener.recvmsg(1 << 20, socket.CMSG_SPACE(16))
            if not message:
                return
            fds = array.array("i", ancillary[0][2])
            child = os.fork()
            if child == 0:
                for other in (listener.detach(), fds[3], *(one[1] for one in running.values())):
                    os.close(other)
                _command(json.loads(message), fds[:3])
            for given in fds[:3]:
                os.close(given)
            ended = os.pidfd_open(child)
            running[ended] = child, fds[3]
            ready.register(ended, select.POLLIN)


def warm_up(modules: str) -> None:
    """Run the usual commands in this process, so that forks of it find made what is made once.

    `modules` is a pattern for the modules of ocitool that are imported besides: with fewer of them
    forks are made faster.
    """
    import ocitool

    # Who installs ocitool does not have it; jsonschema, which oras imports, compiles its grammars
    # for two seconds where it is there.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    for module in pkgutil.walk_packages(ocitool.__path__, "ocitool."):
        if re.match(modules, module.name) and not module.name.endswith(("_main", "__main__")):
            importlib.import_module(module.name)
    from ocitool.cli.app import application
    from ocitool.cli.catalogue import COMMANDS, GROUPS
    from ocitool.cli.main import run

    for name in (None, *COMMANDS, *GROUPS):
        application(name)
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        tempfile.TemporaryDirectory() as folder,
    ):
        image = str(ROOT / "fixtures" / "docker20-app-single.tar")
        for line in _USUAL:
            words = line.format(image=image, folder=folder).split()
            assert run(["--store", f"{folder}/store", *words]) == 0, line
    # What is there now stays: no child need look through it, which would copy its pages.
    gc.collect()
    gc.freeze()


def _tell_end(ended: int, child: int, connection: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):
        os.write(connection, str(code).encode())
    os.close(connection)
    os.close(ended)


def _command(request: Mapping[str, Any], fds: Sequence[int]) -> None:
    try:
        for number, descriptor in enumerate(fds):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.umask(request["umask"])
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        if request["uid"] is not None:
            os.getuid = lambda: request["uid"]
        sys.argv = ["ocitool", *request["arguments"]]
        from ocitool.__main__ import main

        main()
    finally:
        os._exit(99)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
