"""Progress on stderr: a bar on a terminal, lines in a log, nothing when asked.

Short work shows nothing: the bar appears, and its library is loaded, after half a second.
"""

import sys
import threading
import time
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import size
from ocitool.events import Observer, Outcome
from ocitool.oci import Descriptor

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE = 0.5
_HEARTBEAT = 10.0


def progress(mode: str, *, quiet: bool, verbose: bool = False) -> "Messages":
    """Return the observer for a mode of `--progress`."""
    if quiet or mode == "none":
        return Messages(quiet=quiet, verbose=verbose)
    if mode == "bar" or (mode == "auto" and console.is_terminal(sys.stderr)):
        return Bar(verbose=verbose)
    return Plain(verbose=verbose)


class Messages(Observer):
    """Prints remarks and warnings, and no progress."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose

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


class Plain(Messages):
    """One line per finished blob, and a sign of life every ten seconds, whatever is waited for."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._label, self._total, self._done = "", 0, 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self, label: str, total: int) -> None:
        """Start the heartbeat."""
        self.end()
        with self._lock:
            self._label, self._total, self._done = label, total, 0
            self._last = time.monotonic()
        self._ended = threading.Event()
        # By the clock, not by the bytes: a stalled connection brings none.
        threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()

    def _beat(self, ended: threading.Event) -> None:
        pause = _HEARTBEAT
        while not ended.wait(pause):
            with self._lock:
                pause = self._last + _HEARTBEAT - time.monotonic()
                if pause > 0:
                    continue
                self._last, pause = time.monotonic(), _HEARTBEAT
                if not ended.is_set():
                    console.note(f"{self._label}: {size(self._done)} of {size(self._total)}")

    def advance(self, count: int) -> None:
        """Note what the heartbeat will say."""
        with self._lock:
            self._done += count

    def end(self) -> None:
        """Stop the heartbeat."""
        self._ended.set()

    def finish(self, descriptor: Descriptor, outcome: Outcome) -> None:
        """Print a line for the blob."""
        with self._lock:
            self._last = time.monotonic()
            console.note(f"{outcome}: {descriptor.digest} {size(descriptor.size)}")


class Bar(Messages):
    """A bar with speed and time left, for work that takes longer than half a second."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._progress: Progress | None = None
        self._task: int = 0
        self._label, self._total, self._done = "", 0, 0
        self._began = 0.0
        self._lock = threading.Lock()

    def begin(self, label: str, total: int) -> None:
        """Start to count."""
        self._label, self._total, self._done = label, total, 0
        self._began = time.monotonic()

    def advance(self, count: int) -> None:
        """Move the bar."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress.update(self._task, completed=self._done)  # type: ignore[arg-type]
            elif time.monotonic() - self._began > _PATIENCE:
                self._start()

    def end(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
                self._progress = None

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        terminal = Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
        )
        self._task = self._progress.add_task(self._label, total=self._total, completed=self._done)
        self._progress.start()

    def remark(self, text: str) -> None:
        """Print above the bar."""
        self.end()
        super().remark(text)

    def warn(self, text: str) -> None:
        """Print above the bar."""
        self.end()
        super().warn(text)

    def trace(self, text: str) -> None:
        """Print above the bar."""
        if self._verbose:
            self.end()
        super().trace(text)
