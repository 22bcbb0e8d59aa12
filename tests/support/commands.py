"""The command line in a process of its own."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import ocitool

ROOT = Path(ocitool.__file__).parent.parent


def command(store: Path, *arguments: str) -> list[str]:
    """Return the words that run one command on a store."""
    return [sys.executable, "-m", "ocitool", "--store", str(store), *arguments]


def started(store: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command; its output is piped."""
    return subprocess.Popen(
        command(store, *arguments),
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("OCITOOL_")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(store: Path, *arguments: str, code: int | None = 0) -> str:
    """Run a command to its end and return what it printed; `code` None accepts any exit code."""
    process = started(store, *arguments)
    output, errors = process.communicate(timeout=120)
    if code is not None:
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{output}{errors}"
    return output


def finished(processes: "Sequence[subprocess.Popen[str]]") -> list[str]:
    """Wait for processes and return what they printed; all must have succeeded."""
    results = [process.communicate(timeout=180) for process in processes]
    for process, (output, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, f"{process.returncode}: {output}{errors}"
    return [output for output, _ in results]


def wait_until_it_reads(process: "subprocess.Popen[bytes]", data: bytes = b"x") -> None:
    """Write to the standard input of a process, and wait until it has taken that."""
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()
    end = time.monotonic() + 30
    while struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"    "))[0]:
        assert time.monotonic() < end
        time.sleep(0.01)
