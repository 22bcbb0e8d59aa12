"""What a signal from outside does to a screen: it ends it, as the key for that would."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ocitool.cli.explore.app import Explorer

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_end(screen: Explorer) -> Iterator[None]:
    """Let signals end the screen in the block, and come through when that has ended.

    An exception of a handler would hit any task of the event loop and stay in it: the screen would
    stand still, and the terminal would not be restored.
    """
    caught: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        # The screen looks for itself whether it was interrupted, a few times a second.
        screen.interrupted = True

    found = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: old for number, old in found.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)
        if caught:
            signal.raise_signal(caught[0])
