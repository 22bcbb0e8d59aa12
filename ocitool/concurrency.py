"""Several blobs at once, and all of them stopped at the first failure.

Threads serve here: hashing, compressing, file and socket I/O all run without the interpreter lock.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

DEFAULT_JOBS = 8
"""More than a small machine has cores: with a task per layer the last does not run alone."""


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


class Stopped(Exception):
    """Raised inside a task when another task has failed or the user interrupted."""


class Stop:
    """A flag that running tasks look at between two chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask all tasks to end."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped when the tasks were asked to end."""
        if self._event.is_set():
            raise Stopped


def run_all(
    tasks: Iterable[Callable[[Stop], None]],
    jobs: int,
    *,
    abort: Callable[[], None] | None = None,
) -> None:
    """Run the tasks on up to `jobs` threads; re-raise the first failure when all have ended.

    `abort` wakes tasks that wait on something else; it is called when the user interrupts.
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
            # Waited for here, and not by the pool, so that an interrupt still breaks them.
            wait([future for future in futures if not future.cancel()])
        except BaseException:
            if abort is not None:
                abort()
            raise
        finally:
            stop.set()
            for future in futures:
                future.cancel()
    # Those that failed first: nobody had been asked to stop yet.
    for future in done:
        future.result()
