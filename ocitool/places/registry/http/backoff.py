"""How long a busy host is left alone: one wait, shared by all threads that talk to the host."""

import datetime as dt
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable

import httpx

from ocitool.places.registry.options import RegistryOptions

_GO_DURATION = re.compile(r"retry-after:\s*((?:[0-9.]+(?:ns|us|µs|μs|ms|s|m|h))+)", re.IGNORECASE)
_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_MOST = 64
_SHORTEST = 0.05


def wanted_wait(headers: httpx.Headers, body: str, now: float) -> float | None:
    """Return how many seconds a registry asks to wait: a number, a date, or a Go duration.

    `now` is the time of day in seconds since the epoch (RFC 9110, section 10.2.3).
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = _moment(text)
    if moment is not None:
        return max(0.0, moment - now)
    found = _GO_DURATION.search(body)
    return _go_duration(found.group(1)) if found else None


def _moment(text: str) -> float | None:
    """Return the seconds since the epoch of an HTTP date, or None."""
    try:
        found = email.utils.parsedate_to_datetime(text)
        # "-0000" leaves the zone open; HTTP knows only one.
        found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        return found.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _go_duration(text: str) -> float | None:
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    except ValueError:
        return None


class HostBackoff:
    """How long one host is left alone, for all threads together. Thread-safe.

    After a failure all threads wait, not only the one that met it: ten threads that wait on their
    own come back as ten requests at once. A 429 also halves how many are sent at a time.
    `sleep` returns True when the work was stopped meanwhile. `has_answered` tells whether the host
    ever answered.
    """

    def __init__(
        self,
        options: RegistryOptions,
        sleep: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest = options.retry_max_wait
        self._sleep = sleep
        self._clock = clock
        self._not_before = 0.0
        self._most_at_once = _MOST
        self._busy = 0
        self._changed = threading.Condition()
        self.has_answered = False

    def enter(self) -> None:
        """Wait until a request may be sent."""
        while True:
            with self._changed:
                wait = self._not_before - self._clock()
                if wait <= 0 and self._busy < self._most_at_once:
                    self._busy += 1
                    return
                if wait <= 0:
                    self._changed.wait(1)
                    continue
            if self._sleep(wait):
                with self._changed:
                    self._busy += 1
                return

    def leave(self) -> None:
        """Say that an answer has come, or that none will."""
        with self._changed:
            self._busy -= 1
            self._changed.notify()

    def note_success(self) -> None:
        """Let one more request go at a time again."""
        with self._changed:
            self._most_at_once = min(_MOST, self._most_at_once + 1)

    def back_off(self, attempt: int, wanted: float | None, *, throttled: bool) -> float:
        """Leave the host alone for what it wants, else for 1, 2, 4 … s; return the seconds."""
        if wanted is None:
            wait = 2.0**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - spreads requests
        else:
            wait = max(_SHORTEST, wanted)
        wait = min(wait, self._longest)
        with self._changed:
            self._not_before = max(self._not_before, self._clock() + wait)
            if throttled:
                # The thread that met it has left already.
                self._most_at_once = max(1, min(self._most_at_once, self._busy + 1) // 2)
        return wait
