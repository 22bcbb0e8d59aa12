"""A blob on its way from a registry: gone on with where it broke off (RFC 9110, section 14).

`Download` gives the bytes in order, whatever happens to the connection; whether they are the right
ones is the business of the `Blob` around it.
"""

import contextlib
import re
import time
import zlib
from collections.abc import Iterator

import httpx

from ocitool.content import NoRanges
from ocitool.errors import NotFound, OcitoolError, Unavailable
from ocitool.registry.session import Session
from ocitool.registry.transport import body_of
from ocitool.spec import Descriptor
from ocitool.spec.limits import KIBIBYTE

_OK, _PARTIAL, _UNSATISFIABLE, _ABSENT = 200, 206, 416, 404
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")
_PROGRESS = 64 * KIBIBYTE
"""A connection that gave this much since the last failure starts the count of failures anew."""


class Download:
    """The bytes of one blob, or of one range of it, in order. Not thread-safe.

    `start` is the first byte, `end` the one after the last. With `whole` False an answer that is
    not the range raises NoRanges instead of being read up to it.
    """

    def __init__(
        self,
        session: Session,
        descriptor: Descriptor,
        *,
        start: int = 0,
        end: int | None = None,
        whole: bool = True,
    ) -> None:
        self._session = session
        self._descriptor = descriptor
        self._url = session.url(f"blobs/{descriptor.digest}")
        self._position = start
        self._end = descriptor.size if end is None else end
        self._ranged = end is not None
        self._whole = whole
        self._failures = 0
        self._since_failure = 0
        self._response: httpx.Response | None = None
        self._parts: Iterator[bytes | memoryview] = iter(())
        self._rest = memoryview(b"")
        self._window_began, self._window_bytes = 0.0, 0
        self.supports_ranges = False

    def read(self, size: int) -> bytes | memoryview:
        """Return up to `size` bytes, good until the next call; b"" when the registry has ended."""
        while not self._rest:
            if self._response is None:
                self._open()
            part = self._next()
            if part is None:
                continue
            if not part:
                return b""
            self._rest = memoryview(part)
        found = self._rest[:size]
        self._rest = self._rest[len(found) :]
        self._position += len(found)
        return found

    def close(self) -> None:
        """Give the connection back; harmless when repeated."""
        response, self._response = self._response, None
        if response is not None:
            with contextlib.suppress(httpx.TransportError):
                response.close()

    def _next(self) -> bytes | memoryview | None:
        """Return what came next, b"" at the end, or None when the connection has to be remade."""
        try:
            part = next(self._parts, b"")
            self._watch_for_a_stall(len(part))
        except (httpx.TransportError, httpx.DecodingError, _Stalled) as error:
            self.close()
            self._count_failure(error)
            return None
        if not part and self._position < self._end and self._may_go_on():
            self.close()
            self._count_failure(None)
            return None
        self._since_failure += len(part)
        return part

    def _may_go_on(self) -> bool:
        # Ended early without an error: a proxy that closed. A registry whose blob is really too
        # short answers the next range with 416, which ends it.
        return self._since_failure > 0 or self._failures == 0

    def _count_failure(self, error: Exception | None) -> None:
        if self._since_failure >= _PROGRESS:
            self._failures = 0
        self._since_failure = 0
        self._failures += 1
        if self._failures > self._session.limits.retries or self._session.registries.stopped:
            where = f"{self._descriptor.digest.short} from {self._session.host.domain}"
            reason = f": {error}" if error is not None and str(error) else ""
            raise Unavailable(
                f"the download of {where} broke off {self._failures} times{reason}",
                hint="what has come is kept: run the command again to go on",
            )
        patience = self._session.registries.patience(self._session.host.address)
        if self._failures > 1:
            patience.back_off(self._failures - 2, None, throttled=False)

    def _open(self) -> None:
        position = self._position
        headers = {}
        if position or self._ranged:
            last = self._end - 1 if self._ranged else ""
            headers["Range"] = f"bytes={position}-{last}"
        response = self._session.sent(
            "GET", self._url, scopes=self._session.scopes("pull"), headers=headers
        )
        try:
            skip = self._skipped(response, position)
        except BaseException:
            response.close()
            raise
        self._response = response
        timeouts = response.request.extensions.get("timeout")
        if isinstance(timeouts, dict):
            timeouts["read"] = float(self._session.limits.stall_seconds)
        self._window_began, self._window_bytes = time.monotonic(), 0
        self._parts = _without(_content(response, self._descriptor), skip)

    def _skipped(self, response: httpx.Response, position: int) -> int:
        """Return how many bytes at the beginning are not wanted; raise when it is no blob."""
        status = response.status_code
        if status == _PARTIAL:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
            if found is not None and int(found.group(1)) == position:
                self.supports_ranges = True
                return 0
            # Another range than the one asked for is worth nothing, but the whole may be.
            if not self._whole:
                raise NoRanges
            raise Unavailable(
                f"{self._session.host.domain} answers with another range of "
                f"{self._descriptor.digest.short} than it was asked for"
            )
        if status == _OK:
            if position and not self._whole:
                raise NoRanges
            self.supports_ranges = response.headers.get("accept-ranges", "").strip() == "bytes"
            return position
        if status == _UNSATISFIABLE:
            # Its body may be announced wrongly; nobody reads it.
            if not self._whole:
                raise NoRanges
            raise Unavailable(
                f"{self._session.host.domain} has fewer than {position} bytes of "
                f"{self._descriptor.digest.short}"
            )
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> OcitoolError:
        answer = self._session._read(response, None)  # noqa: SLF001 - the same conversation
        session = self._session
        if answer.status == _ABSENT:
            return NotFound(
                f"blob {self._descriptor.digest} is missing at {session.host.domain}/{session.path}"
            )
        what = f"fetch {self._descriptor.digest.short} of {session.host.domain}/{session.path}"
        return session.problem("GET", answer, session.scopes("pull")).error(what)

    def _watch_for_a_stall(self, count: int) -> None:
        """Raise _Stalled when less than a trickle came for a while: it would take for ever."""
        limits = self._session.limits
        self._window_bytes += count
        now = time.monotonic()
        passed = now - self._window_began
        if passed < limits.stall_seconds:
            return
        if self._window_bytes < limits.stall_bytes * passed:
            raise _Stalled(f"fewer than {limits.stall_bytes} bytes a second came")
        self._window_began, self._window_bytes = now, 0


class _Stalled(Exception):
    """Bytes come, but so slowly that the end will not."""


def _without(parts: Iterator[bytes | memoryview], skip: int) -> Iterator[bytes | memoryview]:
    for part in parts:
        if skip >= len(part):
            skip -= len(part)
            continue
        yield part[skip:] if skip else part
        skip = 0


def _content(response: httpx.Response, descriptor: Descriptor) -> Iterator[bytes | memoryview]:
    """Yield the bytes as they are, or unpacked where the transport has packed them on the way.

    Some registries label a gzip layer as gzip-encoded; then the length tells that nothing was
    done to it.
    """
    raw = body_of(response)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    length = response.headers.get("content-length", "")
    if encoding not in ("gzip", "x-gzip") or length == str(descriptor.size):
        return raw
    return _unzipped(raw)


def _unzipped(parts: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    unpacker = zlib.decompressobj(wbits=31)
    for part in parts:
        data = bytes(part)
        while data:
            try:
                yield unpacker.decompress(data, 1 << 20)
            except zlib.error as error:
                raise httpx.DecodingError(str(error)) from error
            data = unpacker.unconsumed_tail
