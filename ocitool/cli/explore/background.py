"""Work that takes long, on a thread, while the screen answers its keys."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from textual.message import Message
from textual.message_pump import MessagePump

from ocitool.concurrency import Stop, Stopped
from ocitool.errors import OcitoolError
from ocitool.events import Observer

Value = TypeVar("Value")
_MOMENT = 1.0


class Finished(Message):
    """Work is done. `tell` shows what came of it, if nobody wants something else by now."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self.tell = tell


class Task(Generic[Value]):
    """One kind of work; what is asked later takes the place of what is under way."""

    def __init__(self, pump: MessagePump, failed: Callable[[OcitoolError], None]) -> None:
        self._pump = pump
        self._failed = failed
        self._stop = Stop()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[Stop], Value], then: Callable[[Value], None]) -> None:
        """Do the work on a thread; call `then` with its result on that of the screen.

        A thread does not keep the program from ending.
        """
        self.stop()
        stop = self._stop = Stop()
        self._thread = threading.Thread(target=self._run, args=(work, then, stop), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Forget what is under way."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait until what is under way has ended, but no longer than that."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def _run(
        self, work: Callable[[Stop], Value], then: Callable[[Value], None], stop: Stop
    ) -> None:
        try:
            value = work(stop)
        except Stopped:
            return
        except OcitoolError as error:
            failure = error
            self._tell(lambda: self._failed(failure), stop)
            return
        self._tell(lambda: then(value), stop)

    def _tell(self, tell: Callable[[], None], stop: Stop) -> None:
        def unless_stopped() -> None:
            if stop is self._stop:
                tell()

        self._pump.post_message(Finished(unless_stopped))


def end_all(tasks: Iterable[Task[Any]]) -> None:
    """Stop all of them and wait a moment, before what they read is closed."""
    stopped = list(tasks)
    for task in stopped:
        task.stop()
    until = time.monotonic() + _MOMENT
    for task in stopped:
        task.wait(until - time.monotonic())


class Progress(Observer):
    """Counts what a scan has read; raises Stopped inside of it when the screen is closed."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.total = 0
        self.done = 0

    def begin(self, label: str, total: int) -> None:  # noqa: ARG002
        """Note how much there is to read."""
        self.total, self.done = total, 0

    def advance(self, count: int) -> None:
        """Note how much has been read."""
        self._stop.check()
        self.done += count
