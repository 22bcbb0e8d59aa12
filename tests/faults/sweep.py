"""The real command under strace, which kills it before a system call or lets the call fail."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.scenes import Stage
from tests.support.command import ROOT

CALLS = (
    *("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2"),
    *("link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("ftruncate", "fallocate", "fchmod", "fchmodat", "utimensat"),
)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE)
_LINE = re.compile(r"^(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Strike:
    """The `number`th call of that name in one thread, and the error; 0 kills."""

    call: str
    number: int
    error: int = 0


@dataclass(frozen=True, slots=True)
class Struck:
    """How the command ended, and whether it got as far as the call."""

    code: int
    hit: bool
    err: str


def require_strace() -> None:
    """Skip the test where there is no strace, or it may not trace; fail if it must be there."""
    reason = None
    if shutil.which("strace") is None:
        reason = "there is no strace"
    elif subprocess.run(["strace", "-qq", "true"], capture_output=True, check=False).returncode:
        reason = "tracing is not permitted here"
    if reason is not None:
        if os.environ.get("OCITOOL_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def struck(stage: Stage, strike: Strike) -> Struck:
    """Run the stage's command and strike it."""
    how = f"error={errno.errorcode[strike.error]}" if strike.error else "signal=SIGKILL"
    log = stage.folder.with_name(f"{stage.folder.name}.log")
    options = [
        *("-e", f"trace=?{strike.call}"),
        *("-e", f"inject=?{strike.call}:{how}:when={strike.number}"),
    ]
    done = _traced(stage, log, options)
    text = log.read_text(errors="replace")
    log.unlink()
    hit = "(INJECTED)" in text if strike.error else "killed by SIGKILL" in text
    return Struck(done.returncode, hit, done.stderr)


def strikes(stage: Stage) -> Iterator[Strike]:
    """Yield every call that the stage's command makes, thread by thread."""
    log = stage.folder.with_name(f"{stage.folder.name}.log")
    done = _traced(stage, log, ["-e", f"trace={','.join('?' + call for call in CALLS)}"])
    assert done.returncode == 0, done.stderr
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        if found := _LINE.match(line):
            counts[found[2], found[1]] += 1
    for call in CALLS:
        most = max((n for (name, _), n in counts.items() if name == call), default=0)
        for number in range(1, most + 1):
            yield Strike(call, number)


def calls_below(stage: Stage) -> Counter[str]:
    """Return how many calls change what is below the stage's folder, by our name for each."""
    log = stage.folder.with_name(f"{stage.folder.name}.log")
    names = ",".join(f"?{call}" for call in (*CALLS, "openat", "open", "creat"))
    done = _traced(stage, log, ["-y", "-s", "4096", "-e", f"trace={names}"])
    assert done.returncode == 0, done.stderr
    counts: Counter[str] = Counter()
    for line in _whole_lines(log.read_text(errors="replace")):
        found = _LINE.match(line)
        call = found[2] if found else ""
        # What a message says is no path that is written to.
        where = line.partition(">")[0] if call in _BY_DESCRIPTOR else line
        if not call or str(stage.folder) not in where or " = -1 " in line:
            continue
        if call.startswith(("open", "creat")):
            if "O_CREAT" in line or "O_TMPFILE" in line:
                counts["open"] += 1
        else:
            counts[_SAME.get(call, call)] += 1
    return counts


_BY_DESCRIPTOR = {"write", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "fchmod"}
_SAME = {
    "pwrite64": "write",
    "renameat": "rename",
    "renameat2": "rename",
    "linkat": "link",
    "unlinkat": "unlink",
    "mkdirat": "mkdir",
    "utimensat": "utime",
    "fdatasync": "fsync",
    "fchmodat": "fchmod",
}


def _whole_lines(text: str) -> Iterator[str]:
    """Join calls that another thread interrupted in the log."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        pid = line.partition(" ")[0]
        if "<unfinished ...>" in line:
            begun[pid] = line.partition("<unfinished ...>")[0]
        elif "resumed>" in line:
            yield begun.pop(pid, "") + line.partition("resumed>")[2]
        else:
            yield line


def _traced(stage: Stage, log: Path, options: list[str]) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OCITOOL_")}
    return subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", str(log), *options),
            *(sys.executable, "-m", "ocitool", *stage.command),
        ],
        cwd=ROOT,
        # Byte code that is written at the first start would be struck too.
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
