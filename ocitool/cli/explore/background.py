"""Work that takes long, on a thread, while the screen answers its keys."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

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

    def end(self) -> None:
        """Stop what is under way and wait a moment for it, before what it reads is closed."""
        self.stop()
        if self._thread is not None:
            self._thread.join(_MOMENT)

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
