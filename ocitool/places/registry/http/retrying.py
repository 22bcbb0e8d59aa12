"""When to try again, and how long to wait first; one wait is shared by all who use a host."""

import datetime as dt
import email.utils
import errno
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpx

from ocitool.places.registry.options import RegistryOptions

RETRIED_STATUS = frozenset({408, 429, 499, 500, 502, 503, 504, *range(520, 531)})
"""Answers that say nothing about the request itself (nginx and Cloudflare have their own)."""
_RETRIED_ERRORS = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
_GO_DURATION = re.compile(r"retry-after:\s*((?:[0-9.]+(?:ns|us|µs|μs|ms|s|m|h))+)", re.IGNORECASE)
_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_NOBODY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_MOST = 64
_SHORTEST = 0.05


def is_retried_error(error: Exception) -> bool:
    """Tell whether a failure of the network may pass: no refused certificate, no wrong name."""
    return (
        isinstance(error, _RETRIED_ERRORS)
        and not is_about_tls(error)
        and not any(_is_unknown_name(cause) for cause in _causes(error))
    )


def is_about_tls(error: BaseException) -> bool:
    """Tell whether a connection failed for what was said in its TLS, and not for its end."""
    return any(
        isinstance(cause, ssl.SSLError) and not isinstance(cause, _BROKEN_OFF)
        for cause in _causes(error)
    )


def is_nobody_there(error: BaseException) -> bool:
    """Tell whether the network said at once that nothing listens at an address."""
    return any(isinstance(cause, OSError) and cause.errno in _NOBODY for cause in _causes(error))


def _is_unknown_name(error: BaseException) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


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


class Patience:
    """How long one host is left alone, for all threads together. Thread-safe.

    After a failure everybody waits, not only who met it: ten threads that each wait for
    themselves come back as ten requests at once. A 429 also halves how many are sent at a time.
    `sleep` returns True when the work was stopped meanwhile. `has_answered` tells whether anything
    ever came from the host.
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
        self._slots = _MOST
        self._busy = 0
        self._changed = threading.Condition()
        self.has_answered = False

    def enter(self) -> None:
        """Wait until a request may be sent."""
        while True:
            with self._changed:
                wait = self._not_before - self._clock()
                if wait <= 0 and self._busy < self._slots:
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

    def went_well(self) -> None:
        """Let one more request go at a time again."""
        with self._changed:
            self._slots = min(_MOST, self._slots + 1)

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
                # Whoever met it has left already.
                self._slots = max(1, min(self._slots, self._busy + 1) // 2)
        return wait
