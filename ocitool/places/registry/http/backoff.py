"""How long a busy host is left alone: one wait, shared by all threads that talk to the host."""

import datetime as dt
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable, Mapping

import httpx

from ocitool.places.registry.options import RegistryOptions

_GO_DURATION = re.compile(r"retry-after:\s*((?:[0-9.]+(?:ns|us|µs|μs|ms|s|m|h))+)", re.IGNORECASE)
_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_WINDOW = re.compile(r"w=(\d{1,9})(?!\d)")
_MOST = 64
_WORTH_TELLING, _NEWS = 2.0, 1.0
_SHORTEST = 0.05


def wanted_wait(headers: httpx.Headers, body: str, now: float) -> float | None:
    """Return how many seconds a registry asks to wait: a number, a date, or a Go duration.

    `now` is the time of day in seconds since the epoch (RFC 9110, section 10.2.3).
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = http_date(text)
    if moment is not None:
        return max(0.0, moment - now)
    found = _GO_DURATION.search(body)
    return _go_duration(found.group(1)) if found else None


def spent_window(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of the window whose quota is used up, as Docker Hub tells them.

    None where some of it is left, or no window is told.
    """
    remaining = headers.get("ratelimit-remaining", "")
    found = _WINDOW.search(remaining) or _WINDOW.search(headers.get("ratelimit-limit", ""))
    is_spent = remaining.partition(";")[0].strip() == "0"
    return float(found.group(1)) if is_spent and found else None


def quota_left(headers: Mapping[str, str]) -> str | None:
    """Return what is left of a quota, such as "99 of 100 pulls in 6 hours", or None."""
    left, _, window = headers.get("ratelimit-remaining", "").partition(";")
    limit = headers.get("ratelimit-limit", "").partition(";")[0].strip()
    found = _WINDOW.search(window)
    if found is None or not (left.strip().isdigit() and limit.isdigit()):
        return None
    return f"{left.strip()} of {limit} pulls in {int(found.group(1)) / 3600:g} hours"


def http_date(text: str) -> float | None:
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
    `sleep` returns True when the work was stopped meanwhile; `tell` is told of waits that somebody
    might wonder at. `has_answered` tells whether the host ever answered, `quota` what it said last
    of what is left. `longest` is how many seconds are waited at most.
    """

    def __init__(
        self,
        options: RegistryOptions,
        sleep: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.longest = options.retry_max_wait
        self._interval = 1 / options.rate if options.rate is not None else 0.0
        self._next_turn = 0.0
        self.quota: str | None = None
        self._tell = tell
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
                now = self._clock()
                wait = max(self._not_before, self._next_turn) - now
                if wait <= 0 and self._busy < self._most_at_once:
                    self._busy += 1
                    self._next_turn = max(now, self._next_turn) + self._interval
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

    def back_off(
        self, attempt: int, wanted: float | None, *, throttled: bool, why: str = "", tries: str = ""
    ) -> float:
        """Leave the host alone for what it wants, else for 1, 2, 4 … s; return the seconds.

        `why` it is left alone, such as "answered 429", and which of how many `tries` comes next,
        such as "try 2 of 6", are told where it takes longer.
        """
        if wanted is None:
            wait = 2.0**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - spreads requests
        else:
            wait = max(_SHORTEST, wanted)
        wait = min(wait, self.longest)
        with self._changed:
            until = self._clock() + wait
            # What other threads meet meanwhile is no news.
            is_news = until > self._not_before + _NEWS
            self._not_before = max(self._not_before, until)
            if throttled:
                # The thread that met it has left already.
                self._most_at_once = max(1, min(self._most_at_once, self._busy + 1) // 2)
        if is_news and why and wait > _WORTH_TELLING:
            self._tell(f"{why}: again in {wait:.0f} s{f' ({tries})' if tries else ''}")
        return wait
