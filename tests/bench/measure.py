"""Run a command and say how long it took and how much memory it had at its peak."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context


class CommandFailed(Exception):
    """A measured command ended with an error; the message holds its last output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one run took: seconds on the clock, seconds of CPU, bytes of memory at the peak."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(slots=True, kw_only=True)
class Series:
    """Runs of one command."""

    runs: list[Usage] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def minimum(self) -> float:
        """The shortest run, in seconds."""
        return min(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median of the CPU seconds."""
        return statistics.median(run.cpu_seconds for run in self.runs)

    @property
    def peak(self) -> int:
        """The highest memory of all runs, in bytes."""
        return max(run.peak_bytes for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A command to measure and what puts the folder into the same state before each run."""

    command: Sequence[str]
    prepare: Callable[[], None] = lambda: None


def run(command: Sequence[str]) -> Usage:
    """Run a command once; the children it waits for count too. CommandFailed on an error."""
    # This process must stay small: the kernel counts the memory of the parent at the fork as a
    # peak of the child.
    # Installed programs have their bytecode; one that runs from a checkout shall have it too.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        output = process.stdout.read() if process.stdout is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = output.decode(errors="replace")[-2000:]
        raise CommandFailed(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return Usage(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
    )


def built_elsewhere(build: Callable[..., None], *arguments: object) -> None:
    """Build something in another process: what this one holds would count for the commands."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(build, *arguments).result()


def alternate(works: Sequence[Work], rounds: int) -> list[Series]:
    """Measure commands in turns, so that what else the machine does hits all of them alike."""
    series = [Series() for _ in works]
    for _ in range(rounds):
        for work, runs in zip(works, series, strict=True):
            work.prepare()
            # What an earlier run left in the page cache must not be written during this one.
            os.sync()
            runs.runs.append(run(work.command))
    return series
