"""What a piece of code does to the disk, and disks that are small, full or read-only."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(slots=True)
class Trace:
    """The calls that matter to a crash, in their order: "fsync PATH" and "rename FROM TO"."""

    calls: list[str] = field(default_factory=list)

    def position(self, text: str) -> int:
        """Return where the first call that contains `text` stands; it must be there."""
        return next(n for n, call in enumerate(self.calls) if text in call)

    def positions(self, text: str) -> list[int]:
        """Return where all calls that contain `text` stand."""
        return [n for n, call in enumerate(self.calls) if text in call]


@contextlib.contextmanager
def traced(patch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """Record fsync, rename, link and unlink while they do their work."""
    trace = Trace()

    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def below(name: str, folder: int | None) -> str:
        return name if folder is None else f"{path_of(folder)}/{name}"

    fsync, rename, unlink = os.fsync, os.rename, os.unlink

    def spy_fsync(descriptor: int) -> None:
        trace.calls.append(f"fsync {path_of(descriptor)}")
        fsync(descriptor)

    def spy_rename(source: str, target: str, **folders: Any) -> None:
        old = below(source, folders.get("src_dir_fd"))
        new = below(target, folders.get("dst_dir_fd"))
        trace.calls.append(f"rename {old} {new}")
        rename(source, target, **folders)

    def spy_unlink(path: str, **folders: Any) -> None:
        trace.calls.append(f"unlink {below(path, folders.get('dir_fd'))}")
        unlink(path, **folders)

    with patch.context() as inner:
        inner.setattr(os, "fsync", spy_fsync)
        inner.setattr(os, "rename", spy_rename)
        inner.setattr(os, "unlink", spy_unlink)
        yield trace


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "64k") -> Iterator[Path]:
    """Mount a small file system of its own at `folder`; skips the test where that is forbidden."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    with _mounted(mount, folder):
        yield folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, even for root; skips the test where that is forbidden."""
    with _mounted(["mount", "--bind", "-o", "ro", str(folder), str(folder)], folder):
        yield


@contextlib.contextmanager
def _mounted(command: list[str], folder: Path) -> Iterator[None]:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Fail, instead of hanging, when the block takes longer. Main thread only."""
    import signal

    def fail(*_: object) -> None:
        # No OSError, which the code under test would take for one of the disk.
        raise AssertionError(f"{what} blocked for {seconds} s")

    before: Callable[..., object] | int | None = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def open_descriptors() -> set[str]:
    """Return what the descriptors of this process lead to, to see what was left open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return found
