"""Downloads of blobs, resumed where they broke off (RFC 9110, section 14).

`Download` gives the bytes in order, whatever happens to the connection; whether they are the right
ones is checked by the `Blob` around it.
"""

import contextlib
import itertools
import re
import zlib
from collections.abc import Iterator

import httpx

from ocitool.errors import NotFound, OcitoolError, Unavailable
from ocitool.image.content import NoRanges
from ocitool.oci import Descriptor
from ocitool.oci.limits import KIBIBYTE
from ocitool.places.registry.http.request import Request, read
from ocitool.places.registry.http.stalls import StallWatch, watch
from ocitool.places.registry.http.transport import body_of
from ocitool.places.registry.session import Session

_OK, _PARTIAL, _UNSATISFIABLE, _ABSENT = 200, 206, 416, 404
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)
_GZIP = b"\x1f\x8b"
_PROGRESS = 64 * KIBIBYTE
"""A connection that gave this much since the last failure fills the budget of retries again."""


class Download:
    """The bytes of one blob, or of one range of it, in order. Not thread-safe.

    `start` is the first byte, `end` the one after the last. With `whole` False an answer that is
    not the range raises NoRanges instead of being read up to it. `url` is where the blob is when
    it is not among the session's own.
    """

    def __init__(
        self,
        session: Session,
        descriptor: Descriptor,
        *,
        start: int = 0,
        end: int | None = None,
        whole: bool = True,
        url: str | None = None,
    ) -> None:
        self._session = session
        self._descriptor = descriptor
        self._url = url or session.url(f"blobs/{descriptor.digest}")
        self._position = start
        self._end = descriptor.size if end is None else end
        self._ranged = end is not None
        self._whole = whole
        self._retries = session.retries()
        self._since_failure = 0
        self._response: httpx.Response | None = None
        self._parts: Iterator[bytes | memoryview] = iter(())
        self._rest = memoryview(b"")
        self._watch: StallWatch | None = None
        # Set when parts turn out to be other ones than those asked for.
        self._distrusts_ranges = False
        self.supports_ranges = False

    def read(self, size: int) -> bytes | memoryview:
        """Return up to `size` bytes, valid until the next call; b"" when the registry has ended."""
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
            with contextlib.suppress(httpx.TransportError, httpx.DecodingError):
                if self._position == self._end and "content-length" in response.headers:
                    # A body that was read to its end leaves a connection that can be used again.
                    next(self._parts, b"")
                response.close()

    def _next(self) -> bytes | memoryview | None:
        """Return the next bytes, b"" at the end, or None when a new connection is needed."""
        try:
            part = next(self._parts, b"")
            if self._watch is not None and self._response is not None:
                self._watch.saw(len(part), self._response.request)
        except (httpx.TransportError, httpx.DecodingError) as error:
            if self._position == self._end:
                # All promised bytes have arrived; the digest tells whether they are right.
                return b""
            self.close()
            self._retry(error)
            return None
        if not part and self._position < self._end and self._may_go_on():
            self.close()
            self._retry(None)
            return None
        self._since_failure += len(part)
        return part

    def _may_go_on(self) -> bool:
        # Ended early without an error: a proxy that closed. A registry whose blob is really too
        # short gives nothing more the next time, which ends it.
        return self._since_failure > 0 or self._retries.used == 0

    def _retry(self, error: Exception | None) -> None:
        """Use a retry for a connection that broke off, the first without waiting."""
        retries = self._retries
        if self._since_failure >= _PROGRESS:
            retries.refill()
        self._since_failure = 0
        if not retries.take():
            where = f"{self._descriptor.digest.short} from {self._session.host.domain}"
            reason = f": {error}" if error is not None and str(error) else ""
            raise Unavailable(
                f"the download of {where} broke off, after {retries.used} retries{reason}",
                hint="the registry, or a proxy before it, ends connections early: try again later",
            )
        if retries.used > 1:
            self._session.backoff.back_off(
                retries.used - 2,
                None,
                throttled=False,
                why="broke off a download",
                tries=retries.next_try,
            )

    def _open(self) -> None:
        response = self._request()
        try:
            skip = self._count_unwanted(response)
            if skip is None:
                # Another range than was asked for is worth nothing, but the whole may be.
                self._distrusts_ranges = True
                response.close()
                response = self._request()
                skip = self._count_unwanted(response)
            if skip is None:
                raise Unavailable(
                    f"{self._session.host.domain} does not send the parts that were requested"
                )
        except BaseException:
            response.close()
            raise
        self._response = response
        self._watch = watch(response, self._session.limits)
        self._parts = _skip(_content(response, self._descriptor), skip)

    def _request(self) -> httpx.Response:
        headers = {}
        if (self._position or self._ranged) and not self._distrusts_ranges:
            last = self._end - 1 if self._ranged else ""
            headers["Range"] = f"bytes={self._position}-{last}"
        request = Request("GET", self._url, self._session.scopes("pull"), headers)
        return self._session.open(request, retries=self._retries)

    def _count_unwanted(self, response: httpx.Response) -> int | None:
        """Return how many bytes at the beginning are not wanted; None when it is another part.

        Raises NoRanges where only a part will do, and the error for a refusal.
        """
        status = response.status_code
        if status == _OK:
            if self._position and not self._whole:
                raise NoRanges
            if not self._distrusts_ranges:
                accepted = response.headers.get("accept-ranges", "").strip()
                self.supports_ranges = accepted == "bytes"
            return self._position
        if status == _PARTIAL and self._is_the_part(response):
            self.supports_ranges = True
            return 0
        if status not in (_PARTIAL, _UNSATISFIABLE):
            raise self._refusal(response)
        # The body of a 416 may be announced wrongly; it is not read.
        self.supports_ranges = False
        if not self._whole:
            raise NoRanges
        return None

    def _is_the_part(self, response: httpx.Response) -> bool:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if found is None or int(found.group(1)) != self._position:
            return False
        # A part of what the transport has packed cannot be unpacked.
        size = str(self._descriptor.size)
        return not _is_packed(response) or found.group(3) == size

    def _refusal(self, response: httpx.Response) -> OcitoolError:
        session = self._session
        answer = read(response, session.limits)
        if answer.status == _ABSENT:
            return NotFound(f"blob {self._descriptor.digest} is missing at {session.name}")
        request = Request("GET", self._url, session.scopes("pull"))
        what = f"fetch {self._descriptor.digest.short} of {session.name}"
        return session.problem(request, answer).error(what)


def _skip(parts: Iterator[bytes | memoryview], skip: int) -> Iterator[bytes | memoryview]:
    for part in parts:
        if skip >= len(part):
            skip -= len(part)
            continue
        yield part[skip:] if skip else part
        skip = 0


def _content(response: httpx.Response, descriptor: Descriptor) -> Iterator[bytes | memoryview]:
    """Yield the bytes as they are, or unpacked where the transport has packed them on the way.

    Some registries label a gzip layer as gzip-encoded. Then the length tells that nothing was
    done to it, or, where none is given, that there is only one gzip to undo.
    """
    raw = body_of(response)
    if not _is_packed(response) or response.status_code == _PARTIAL:
        return raw
    length = response.headers.get("content-length")
    if length is not None:
        return raw if length == str(descriptor.size) else _unzip(raw)
    first = bytes(next(raw, b""))
    is_layer_itself = descriptor.media_type.endswith("gzip") and not _is_twice_packed(first)
    parts = itertools.chain((first,), raw)
    return parts if is_layer_itself else _unzip(parts)


def _is_packed(response: httpx.Response) -> bool:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return encoding in ("gzip", "x-gzip")


def _is_twice_packed(first: bytes) -> bool:
    try:
        return zlib.decompressobj(wbits=31).decompress(first, len(_GZIP)) == _GZIP
    except zlib.error:
        return False


def _unzip(parts: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    unpacker = zlib.decompressobj(wbits=31)
    for part in parts:
        data = bytes(part)
        while data:
            try:
                yield unpacker.decompress(data, 1 << 20)
            except zlib.error as error:
                raise httpx.DecodingError(str(error)) from error
            data = unpacker.unconsumed_tail
