"""Progress on stderr: a bar on a terminal, lines in a log, nothing when asked.

Short work shows nothing at all: a bar, and the library that draws it, wait half a second. What is
shown does not depend on bytes that move: a thread looks at the clock, so that a stalled registry,
a slow engine and another process are seen as what is waited for.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import size
from ocitool.events import Observer, Outcome
from ocitool.oci import Descriptor

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE = 0.5
_HEARTBEAT = 10.0
_LARGE = 10_000_000
"""Bytes from which a finished blob has a line of its own in a log."""
_FRAME = 0.1
_COPIES = ("pushing", "pulling", "loading", "saving")
"""Commands that copy blobs, as they call themselves while they do."""
_NEARLY = 0.9
_SLOW = 2.0
"""Seconds without a byte after which a bar shows what is waited for instead."""


def progress(mode: str, *, quiet: bool, verbose: bool = False) -> "Messages":
    """Return the observer for a mode of `--progress`."""
    if quiet or mode == "none":
        return Messages(quiet=quiet, verbose=verbose)
    # Where nothing can be drawn, lines show the work.
    draws = console.is_terminal(sys.stderr) and not console.is_dumb()
    if mode == "bar" or (mode == "auto" and draws):
        return Bar(verbose=verbose)
    return Plain(verbose=verbose)


class Messages(Observer):
    """Prints remarks and warnings, and no progress. `moved` tells that bytes were moved."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.moved = False
        self._quiet = quiet
        self._verbose = verbose

    def advance(self, count: int) -> None:
        """Note that bytes were moved."""
        self.moved = self.moved or count > 0

    def remark(self, text: str) -> None:
        """Print something worth knowing."""
        if not self._quiet:
            console.note(text)

    def wait(self, text: str) -> None:
        """Print what this process waits for."""
        self.remark(text)

    def warn(self, text: str) -> None:
        """Print something that may not be what the user expects."""
        console.note(f"warning: {text}")

    def trace(self, text: str) -> None:
        """Print a detail, for a user who asked for details."""
        if self._verbose:
            console.note(text)


class _Work:
    """Work that is under way. `total` is 0 if it is not known; `seen` was done at the last look."""

    __slots__ = ("began", "done", "label", "moved", "seen", "total")

    def __init__(self, label: str, total: int = 0) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self.seen = 0
        self.began = self.moved = time.monotonic()


class Watching(Messages):
    """Knows what is being done, and looks at it from time to time in a thread of its own."""

    def __init__(self, every: float, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._every = every
        self._lock = threading.RLock()
        self._work: _Work | None = None
        self._busy: list[_Work] = []
        self._watcher: threading.Thread | None = None

    def begin(self, label: str, total: int) -> None:
        """Note what is being done."""
        with self._lock:
            # Blobs are copied by a push and a pull; a user knows what they asked for.
            whole = self._busy[0].label if self._busy else ""
            self._work = _Work(whole if whole in _COPIES and label == "copying" else label, total)
            self._watch()

    def advance(self, count: int) -> None:
        """Count bytes."""
        super().advance(count)
        with self._lock:
            if self._work is not None:
                self._work.done += count

    def end(self) -> None:
        """Note that the work has ended."""
        with self._lock:
            self._work = None
            self.idle()

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show what the block does or waits for, if that takes long."""
        work = _Work(text)
        with self._lock:
            self._busy.append(work)
            self._watch()
        try:
            yield
        finally:
            with self._lock:
                self._busy.remove(work)
                self.idle()

    def look(self, now: float) -> None:
        """Show what is being done at this moment; called with the lock held."""

    def idle(self) -> None:
        """Note that something has ended, and perhaps everything; called with the lock held."""

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._run, name="progress", daemon=True)
            self._watcher.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._every)
            with self._lock:
                if self._work is not None or self._busy:
                    self.look(time.monotonic())


class Plain(Watching):
    """A line for each large blob, and a sign of life every ten seconds."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(min(_HEARTBEAT, 1.0) / 4, verbose=verbose)
        self._heartbeat = _HEARTBEAT
        self._printed = time.monotonic()

    def remark(self, text: str) -> None:
        """Print something worth knowing; the heartbeat has time again."""
        self._printed = time.monotonic()
        super().remark(text)

    def finish(self, descriptor: Descriptor, outcome: Outcome) -> None:
        """Print a line for a large blob."""
        if descriptor.size >= _LARGE:
            self.remark(f"{outcome}: {descriptor.digest.short} {size(descriptor.size)}")

    def look(self, now: float) -> None:
        """Print a heartbeat when nothing was printed for a while."""
        if now - self._printed >= self._heartbeat:
            self.remark("; ".join(self._lines(now)))

    def _lines(self, now: float) -> Iterator[str]:
        work, stands_still = self._work, True
        if work is not None:
            if work.done != work.seen:
                work.seen, work.moved = work.done, now
            stands_still = now - work.moved >= self._heartbeat
            of_all = f" of {size(work.total)}" if work.total else ""
            stalled = f", nothing for {now - work.moved:.0f} s" if stands_still else ""
            yield f"{work.label}: {size(work.done)}{of_all}{stalled}"
        waits = [one for one in self._busy if now - one.began >= self._heartbeat * _NEARLY]
        if waits and stands_still and (work is None or waits[-1] is not self._busy[0]):
            yield f"{waits[-1].label}: {now - waits[-1].began:.0f} s"


class Bar(Watching):
    """A bar with speed and time left, once the work takes longer than a moment."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(_FRAME, verbose=verbose)
        self._progress: Progress | None = None
        self._task: int = 0
        self._shown: _Work | None = None
        console.before_line(self.hide)

    def look(self, now: float) -> None:
        """Show a bar for the work, or for what is waited for, and move it."""
        work = self._longest(now)
        if work is None:
            return
        if work is not self._shown:
            self.hide()
            self._start(work)
        if self._progress is not None:
            self._progress.update(
                self._task,  # type: ignore[arg-type]
                completed=work.done,
                description=self._described(work, now),
            )

    def idle(self) -> None:
        """Take the bar away when its work has ended."""
        if self._shown is not None and self._shown not in (self._work, *self._busy):
            self.hide()

    def hide(self) -> None:
        """Take the bar away until the next look: something else is written."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
            self._progress = self._shown = None

    def _longest(self, now: float) -> _Work | None:
        """Return what to show: the work, or if that has just begun, what the command does."""
        found = (self._work, *self._busy[:1])
        return next((w for w in found if w is not None and now - w.began >= _PATIENCE), None)

    def _described(self, work: _Work, now: float) -> str:
        """Return what to show beside a bar: the work, or what stalls it."""
        if work.done != work.seen:
            work.seen, work.moved = work.done, now
        slow = [one for one in self._busy if now - one.began >= _SLOW]
        stalled = now - work.moved >= _SLOW and len(slow) > 1
        return console.safe(slow[-1].label if stalled else work.label)

    def _start(self, work: _Work) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        terminal = Console(stderr=True, markup=False, emoji=False, highlight=False)
        counted = (DownloadColumn(), TransferSpeedColumn()) if work is self._work else ()
        time_column = TimeRemainingColumn() if work.total else TimeElapsedColumn()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counted,
            time_column,
            console=terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._shown = work
        self._task = self._progress.add_task(
            console.safe(work.label), total=work.total or None, completed=work.done
        )
        self._progress.start()
