"""Working on several blobs at once, and stopping all of them at the first failure.

Threads are enough: hashing, compression, file and socket I/O all release the interpreter lock.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Protocol, runtime_checkable

DEFAULT_JOBS = 8
"""More than a small machine has cores, so that with a task for each layer none is left for last."""

_PATIENCE = 0.5
"""Seconds in which a task that is not blocked hears that another one has failed."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


class Stopped(Exception):
    """Raised inside a task when another task has failed or the user interrupted."""


class Stop:
    """A flag that running tasks check between two chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask all tasks to stop."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if the tasks were asked to stop."""
        if self._event.is_set():
            raise Stopped


NEVER = Stop()
"""The flag of work that nothing stops."""


def nothing() -> None:
    """Do nothing: for work that needs no abort and no resume."""


def run_all(
    tasks: Iterable[Callable[[Stop], None]],
    jobs: int,
    *,
    abort: Callable[[], None] = nothing,
    resume: Callable[[], None] = nothing,
) -> None:
    """Run the tasks on up to `jobs` threads; re-raise the first failure when all have ended.

    `abort` wakes tasks that are blocked elsewhere; it is called when the user interrupts, and when
    a task has failed and others do not hear of it soon. After the latter `resume` makes what was
    aborted fit for other work.
    """
    stop = Stop()
    pending = list(tasks)
    if len(pending) == 1:
        pending[0](stop)
        return
    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(pending)))) as pool:
        futures: list[Future[None]] = []
        try:
            futures.extend(pool.submit(task, stop) for task in pending)
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            stop.set()
            # Wait here and not in the pool's exit, so that an interrupt still reaches `abort`.
            deaf = wait([future for future in futures if not future.cancel()], _PATIENCE).not_done
            if deaf:
                abort()
                wait(deaf)
                resume()
        except BaseException:
            abort()
            raise
        finally:
            stop.set()
            for future in futures:
                future.cancel()
    # The tasks that failed first, before any other was asked to stop.
    for future in done:
        future.result()


@runtime_checkable
class Abortable(Protocol):
    """A place whose running transfers can be aborted."""

    def abort(self) -> None:
        """Make all running transfers fail at once."""

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""


class Together:
    """Several places, of which those that can be broken off are so together."""

    def __init__(self, *places: object) -> None:
        self._places = [place for place in places if isinstance(place, Abortable)]

    def abort(self) -> None:
        """Make all transfers that are under way fail at once."""
        for place in self._places:
            place.abort()

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""
        for place in self._places:
            place.resume()


def run_abortable(tasks: Iterable[Callable[[Stop], None]], jobs: int, *places: object) -> None:
    """Run tasks at the same time; the first failure aborts what these places are transferring.

    See `run_all`.
    """
    both = Together(*places)
    run_all(tasks, jobs, abort=both.abort, resume=both.resume)


def prefetched(pieces: Iterator[bytes], most: int = 16) -> Iterator[bytes]:
    """Yield what an iterator yields; it runs on a thread of its own, up to `most` pieces ahead.

    What it raises is raised here. If this is closed before its end, so is the iterator.
    """
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    room = threading.Semaphore(most)
    stop = Stop()

    def work() -> None:
        try:
            for piece in pieces:
                room.acquire()
                stop.check()
                waiting.put(piece)
        finally:
            # The thread that runs a generator has to close it.
            getattr(pieces, "close", nothing)()
            waiting.put(None)

    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(work)
        try:
            while (piece := waiting.get()) is not None:
                room.release()
                yield piece
        finally:
            stop.set()
            room.release()
        future.result()
