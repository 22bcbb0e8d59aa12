"""Fetch a large blob in parts: resume it after an interruption, and use several connections.

The first connection reads from the front until it reaches a part that another one has taken. If it
is slow, other connections fetch parts ahead of it. If the place does not send parts of a blob, only
the first connection is used.
"""

import bisect
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ocitool.concurrency import Stop
from ocitool.errors import OcitoolError, SizeMismatch
from ocitool.image.content import Ingest, NoRanges, OpenRange, RangeStream
from ocitool.oci import Descriptor

_PART = 8 << 20
_READ = 1 << 20
_TRIAL_SECONDS = 0.5
_MOST_HELPERS = 15
_FAST = 80e6
"""Bytes per second of one connection above which more connections would not help."""
_ENOUGH = 250e6
"""The same limit for all connections together."""

Advance = Callable[[int], None]


class _Over(Exception):
    """Another connection failed and ends the whole blob; that one reports the error."""


class Connections:
    """How many connections may be open at once, for all blobs together. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._began = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count bytes that were received."""
        self._bytes += size

    @property
    def speed(self) -> float:
        """The bytes per second of all connections together."""
        return self._bytes / max(time.monotonic() - self._began, 1e-3)

    def take(self) -> bool:
        """Take a connection if one is free."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a connection back."""
        self._free.release()


def fetch(
    descriptor: Descriptor,
    open_range: OpenRange,
    ingest: Ingest,
    *,
    connections: Connections,
    stop: Stop,
    advance: Advance,
) -> None:
    """Fetch the missing parts of a blob, verify it and store it.

    If this fails, the parts that were received are kept. Raises what the place raises;
    SizeMismatch if the blob is longer than its descriptor says.
    """
    missing = ingest.missing()
    advance(descriptor.size - sum(end - start for start, end in missing))
    _Fetch(descriptor, open_range, ingest, connections, stop, advance, missing).run()
    ingest.commit()


class _Fetch:
    def __init__(
        self,
        descriptor: Descriptor,
        open_range: OpenRange,
        ingest: Ingest,
        connections: Connections,
        stop: Stop,
        advance: Advance,
        missing: list[tuple[int, int]],
    ) -> None:
        self._descriptor = descriptor
        self._open_range = open_range
        self._ingest = ingest
        self._connections = connections
        self._stop = stop
        self._advance = advance
        self._waiting = [part for start, end in missing for part in _cut(start, end)]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._helpers: list[Future[None]] = []
        self._ranges_work = True

    def run(self) -> None:
        with ThreadPoolExecutor(max_workers=_MOST_HELPERS) as pool:
            self._pool = pool
            try:
                self._lead_through()
            except _Over:
                # A helper has failed; its error is raised below.
                pass
            except BaseException:
                self._over.set()
                raise
        self._raise_what_a_helper_met()
        # Parts that a helper gave back: the place sends no parts, or its connection failed.
        self._lead_through()

    def _lead_through(self) -> None:
        while (part := self._claim()) is not None:
            self._lead(*part)

    def _lead(self, position: int, end: int) -> None:
        """Read from a part to the end of the blob, or to a part that a helper has taken."""
        began, count = time.monotonic(), 0
        stream = self._open_range(position, None)
        try:
            while True:
                for size in self._copied(stream, position, end):
                    count += size
                    self._call_for_help(stream, began, count)
                if end == self._descriptor.size:
                    self._require_end(stream)
                    return
                position, following = end, self._claim_at(end)
                if following is None:
                    return
                end = following
        finally:
            stream.close()

    def _call_for_help(self, stream: RangeStream, began: float, count: int) -> None:
        passed = time.monotonic() - began
        if passed < _TRIAL_SECONDS or count > _FAST * passed:
            return
        if self._connections.speed > _ENOUGH:
            return
        if not stream.supports_ranges:
            return
        while self._may_have_another() and self._connections.take():
            part = self._claim()
            if part is None or self._pool is None:
                self._connections.give_back()
                return
            self._helpers.append(self._pool.submit(self._help, part))

    def _may_have_another(self) -> bool:
        working = sum(not helper.done() for helper in self._helpers)
        with self._lock:
            return self._ranges_work and bool(self._waiting) and working < _MOST_HELPERS

    def _help(self, part: tuple[int, int] | None) -> None:
        ended_well = False
        try:
            while part is not None:
                self._bring(*part)
                part = self._claim()
            ended_well = True
        except _Over:
            ended_well = True
        except (NoRanges, OcitoolError):
            # The first connection continues alone; if the problem lasts, that one reports it.
            ended_well = True
            with self._lock:
                self._ranges_work = False
        finally:
            self._connections.give_back()
            if not ended_well:
                self._over.set()

    def _raise_what_a_helper_met(self) -> None:
        for helper in self._helpers:
            helper.result()

    def _bring(self, start: int, end: int) -> None:
        position = start
        try:
            stream = self._open_range(start, end)
            try:
                for size in self._copied(stream, start, end):
                    position += size
            finally:
                stream.close()
        finally:
            if position < end:
                with self._lock:
                    # In order, so that the first connection can continue into the next part.
                    bisect.insort(self._waiting, (position, end))

    def _copied(self, stream: RangeStream, position: int, end: int) -> Iterator[int]:
        """Copy a part; yield the size of each piece after it is written."""
        while position < end:
            self._stop.check()
            if self._over.is_set():
                raise _Over
            part = stream.read(min(_READ, end - position))
            if not part:
                raise SizeMismatch(f"the data of {self._descriptor.digest} ends at byte {position}")
            self._ingest.write(position, part)
            position += len(part)
            self._connections.count(len(part))
            self._advance(len(part))
            yield len(part)

    def _claim(self) -> tuple[int, int] | None:
        with self._lock:
            if self._over.is_set() or not self._waiting:
                return None
            return self._waiting.pop(0)

    def _claim_at(self, position: int) -> int | None:
        with self._lock:
            if not self._waiting or self._waiting[0][0] != position:
                return None
            return self._waiting.pop(0)[1]

    def _require_end(self, stream: RangeStream) -> None:
        if stream.read(1):
            raise SizeMismatch(
                f"the data of {self._descriptor.digest} exceeds its {self._descriptor.size} bytes"
            )


def _cut(start: int, end: int) -> list[tuple[int, int]]:
    return [(first, min(first + _PART, end)) for first in range(start, end, _PART)]
