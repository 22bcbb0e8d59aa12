"""Every change that a process makes to a folder, seen as it happens: to record, fail or stop it.

The functions of `os` that change a disk are replaced by ones that look at the plan first. That
ocitool changes the disk through these alone is asserted against strace, in test_syscall_sweep.
"""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, or one attempt to lock. Paths are absolute.

    `kind` is the function's name, but `create` for a file that `open` made and `tmpfile` for one
    without a name. `file` tells apart what was opened; `target` is the new name of a rename or
    link; `offset` is None where the data went to the end.
    """

    kind: str
    path: str
    target: str = ""
    file: int = -1
    data: bytes = b""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The lines of one call in the source, and the kind of change that it makes."""

    kind: str
    file: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.first}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall happen to a process below `root`. Changes are numbered from 1.

    It dies before change `kill_at`. From `fail_at` on `times` changes fail with `error`. Before
    each number of `pause_at` it waits to be told to go on. What is called from `skipped` is not
    done at all. `record` reports each change when it was made, `report_locks` locks too.
    """

    root: str
    kill_at: int = 0
    fail_at: int = 0
    error: int = 0
    times: int = 1
    pause_at: tuple[int, ...] = ()
    pause_at_locks: bool = False
    record: bool = False
    report_locks: bool = False
    skipped: tuple[Site, ...] = ()


Tell = Callable[[tuple[str, Any]], None]


class Watch:
    """Replaces functions of `os` and `fcntl` for good, in a process of its own."""

    def __init__(self, plan: Plan, tell: Tell, wait: Callable[[], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._wait = wait
        self._lock = threading.RLock()
        self._number = 0
        self._files: dict[int, tuple[int, str, bool]] = {}
        self._serial = 0

    def install(self) -> None:
        """Begin to watch."""
        for name in ("open", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "fchmod"):
            setattr(os, name, self._spy(name, getattr(os, name)))
        for name in ("rename", "replace", "link", "unlink", "remove", "mkdir", "rmdir", "utime"):
            setattr(os, name, self._spy(name, getattr(os, name)))
        os.posix_fallocate = self._spy("fallocate", os.posix_fallocate)
        fcntl.flock = self._spy("flock", fcntl.flock)

    def _spy(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        describe: Callable[..., Change | None] = getattr(self, f"_on_{name}")

        def spy(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                change = describe(*arguments, **options)
                if change is not None and not self._within(change):
                    change = None
                if change is not None and self._is_skipped(change):
                    self._tell(("skipped", change))
                    return None
                if change is not None:
                    self._before(change)
                try:
                    result = real(*arguments, **options)
                except BlockingIOError:
                    if change is not None and arguments[1] & fcntl.LOCK_EX:
                        self._tell(("blocked", change.path))
                    raise
                return self._after(name, change, arguments, result)

        return spy

    def _within(self, change: Change) -> bool:
        root = self._plan.root
        return any(f"{path}/".startswith(f"{root}/") for path in (change.path, change.target))

    def _is_skipped(self, change: Change) -> bool:
        sites = [site for site in self._plan.skipped if site.kind == change.kind]
        frame: FrameType | None = sys._getframe(2) if sites else None
        while frame is not None:
            for site in sites:
                named = frame.f_code.co_filename.endswith(site.file)
                if named and site.first <= frame.f_lineno <= site.last:
                    return True
            frame = frame.f_back
        return False

    def _before(self, change: Change) -> None:
        plan = self._plan
        if change.kind == "flock" and not plan.pause_at_locks:
            return
        self._number += 1
        if self._number == plan.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._number in plan.pause_at:
            self._tell(("paused", (self._number, change)))
            self._wait()
        if plan.fail_at and plan.fail_at <= self._number < plan.fail_at + plan.times:
            self._tell(("failed", change))
            raise OSError(plan.error, os.strerror(plan.error))

    def _after(self, name: str, change: Change | None, arguments: Any, result: Any) -> Any:
        if name == "open":
            self._files.pop(result, None)
        if change is not None:
            if name == "open":
                self._files[result] = (change.file, change.path, bool(arguments[1] & os.O_APPEND))
            if change.kind in ("write", "pwrite"):
                change = Change(
                    kind="write",
                    path=change.path,
                    file=change.file,
                    data=bytes(memoryview(arguments[1])[:result]),
                    offset=change.offset,
                )
            if self._plan.record and (change.kind != "flock" or self._plan.report_locks):
                self._tell(("change", change))
        return result

    def _on_open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> Change | None:
        full = _below(os.fspath(path), dir_fd)
        self._serial += 1
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            return Change(kind="tmpfile", path=full, file=self._serial)
        if flags & os.O_CREAT:
            kind = "open" if os.path.lexists(full) else "create"
            return Change(kind=kind, path=full, file=self._serial)
        return None

    def _on_write(self, descriptor: int, data: Any, offset: int | None = -1) -> Change | None:
        if descriptor not in self._files:
            return None
        serial, path, appends = self._files[descriptor]
        if offset == -1:
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            offset = None if appends else end
        return Change(kind="write", path=path, file=serial, offset=offset)

    def _on_pwrite(self, descriptor: int, data: Any, offset: int) -> Change | None:
        return self._on_write(descriptor, data, offset)

    def _on_fsync(self, descriptor: int) -> Change:
        if descriptor in self._files:
            serial, path, _ = self._files[descriptor]
            return Change(kind="fsync", path=path, file=serial)
        return Change(kind="fsync", path=_path_of(descriptor))

    _on_fdatasync = _on_fsync

    def _on_ftruncate(self, descriptor: int, size: int) -> Change:
        return Change(kind="ftruncate", path=_path_of(descriptor))

    def _on_fallocate(self, descriptor: int, offset: int, size: int) -> Change:
        serial, path, _ = self._files[descriptor]
        return Change(kind="fallocate", path=path, file=serial, offset=offset, data=bytes(size))

    def _on_fchmod(self, descriptor: int, mode: int) -> Change:
        return Change(kind="fchmod", path=_path_of(descriptor))

    def _on_flock(self, descriptor: int, operation: int) -> Change:
        return Change(kind="flock", path=_path_of(descriptor))

    def _on_rename(
        self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: Any = None
    ) -> Change:
        return Change(
            kind="rename", path=_below(source, src_dir_fd), target=_below(target, dst_dir_fd)
        )

    _on_replace = _on_rename

    def _on_link(self, source: Any, target: Any, *, dst_dir_fd: Any = None, **__: Any) -> Change:
        prefix, _, descriptor = str(source).rpartition("/")
        assert prefix == "/proc/self/fd", "only files without a name are linked"
        serial, path, _ = self._files.get(int(descriptor), (-1, "", False))
        return Change(kind="link", path=path, target=_below(target, dst_dir_fd), file=serial)

    def _on_unlink(self, path: Any, *, dir_fd: int | None = None) -> Change:
        return Change(kind="unlink", path=_below(path, dir_fd))

    _on_remove = _on_unlink

    def _on_mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> Change:
        return Change(kind="mkdir", path=_below(path, dir_fd))

    def _on_rmdir(self, path: Any, *, dir_fd: int | None = None) -> Change:
        return Change(kind="rmdir", path=_below(path, dir_fd))

    def _on_utime(self, path: Any, *_: Any, dir_fd: int | None = None, **__: Any) -> Change:
        place = _path_of(path) if isinstance(path, int) else _below(path, dir_fd)
        return Change(kind="utime", path=place)


def _path_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _below(name: Any, folder: int | None) -> str:
    text = os.fspath(name)
    base = os.getcwd() if folder is None else _path_of(folder)
    return os.path.normpath(os.path.join(base, text))
