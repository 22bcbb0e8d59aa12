"""Bodies that arrive too slowly ever to end: recognised by the bytes of a period."""

import time
from collections.abc import Callable

import httpx

from ocitool.oci import Limits


class StallWatch:
    """Counts the bytes of one body, and tells a trickle from a slow network. Not thread-safe.

    `clock` counts seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._began = clock()
        self._bytes = 0

    def saw(self, count: int, request: httpx.Request) -> None:
        """Note some bytes; httpx.ReadTimeout when a whole period brought too few."""
        self._bytes += count
        now = self._clock()
        passed = now - self._began
        if passed < self._limits.stall_seconds:
            return
        if self._bytes < self._limits.stall_bytes * passed:
            raise httpx.ReadTimeout(
                f"fewer than {self._limits.stall_bytes} bytes a second arrived", request=request
            )
        self._began, self._bytes = now, 0


def watch(response: httpx.Response, limits: Limits) -> StallWatch:
    """Begin to wait for a body, for a shorter time than is waited for an answer."""
    timeouts = response.request.extensions.get("timeout")
    if isinstance(timeouts, dict):
        timeouts["read"] = float(limits.stall_seconds)
    return StallWatch(limits)
