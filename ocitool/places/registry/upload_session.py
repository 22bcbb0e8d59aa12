"""One blob into one upload session, whole or in parts (distribution-spec, "Pushing blobs").

Never is a part sent twice into a session: registries append it twice.
"""

import contextlib
import re
import time
from collections.abc import Callable

import httpx
from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import OcitoolError, Refused, Unavailable
from ocitool.oci import Descriptor
from ocitool.oci.limits import MEBIBYTE
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.backoff import wanted_wait
from ocitool.places.registry.http.bodies import Body, Content
from ocitool.places.registry.http.problems import is_html
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.http.retrying import THROTTLED, Retries, ServerBusy
from ocitool.places.registry.session import Session

_AFTER_413 = 50 * MEBIBYTE
_SMALLEST_PART = MEBIBYTE // 4
_LARGEST_PART = 128 * MEBIBYTE
_RANGE = re.compile(r"(?:bytes=)?(\d+)-(\d+)", re.ASCII)
_CREATED, _ACCEPTED, _NO_CONTENT = 201, 202, 204
_BAD_REQUEST, _TOO_LARGE = 400, 413
_PASSING = (404, 408, 416, THROTTLED, 499)
"""Refusals that a new session may not meet. An unknown upload has often been committed."""
_PASSING_CODES = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})


class UploadState(Struct):
    """What was learned about a registry while blobs were uploaded, for the uploads that follow.

    `part_size` is how large a body may be, once a larger one was refused, `closes_full` says that
    an upload cannot be closed without bytes, `least_part` how many bytes a part has at least.
    """

    part_size: int | None = None
    closes_full: bool = False
    least_part: int = 0


class TooLarge(Refused):
    """A body was too large for a registry or a proxy in front of it: smaller parts may pass."""


class UploadSession:
    """One upload session, and the blob that it is for. Not thread-safe.

    `is_there` asks the registry whether it has the blob.
    """

    def __init__(
        self,
        session: Session,
        state: UploadState,
        descriptor: Descriptor,
        url: str,
        is_there: Callable[[], bool],
    ) -> None:
        self._session = session
        self._scopes = session.scopes("pull,push")
        self._state = state
        self._descriptor = descriptor
        self._url = url
        self._is_there = is_there

    def send(self, content: Content) -> OcitoolError | None:
        """Send the blob once; return what went wrong if another session may help, else raise it.

        TooLarge is returned when the next session will send smaller parts.
        """
        size = self._part_size()
        if size is not None and size < self._descriptor.size:
            return self._send_parts(content, size)
        return self._send_whole(content)

    def cancel(self) -> None:
        """Tell the registry that the session is given up, if it hears us."""
        self._session.farewell(Request("DELETE", self._url, self._scopes))

    def _part_size(self) -> int | None:
        host = self._session.host
        wanted = self._session.options.chunk_size
        if wanted is None:
            wanted = self._state.part_size
        if wanted is None or not host.takes_chunks:
            return None
        return self._allowed(wanted)

    def _allowed(self, size: int) -> int:
        """Return the size of parts here that comes next to a wanted one."""
        return max(self._session.host.chunk_size(size), min(self._state.least_part, _LARGEST_PART))

    def _send_whole(self, content: Content) -> OcitoolError | None:
        request = self._closing_request(content, 0)
        answer = self._send(request)
        if isinstance(answer, Answer) and answer.status == _TOO_LARGE:
            return self._make_smaller(request, answer, self._descriptor.size)
        return self._judge(request, answer)

    def _make_smaller(self, request: Request, answer: Answer, sent: int) -> TooLarge:
        """Halve the parts, from now on, after one of `sent` bytes; raise where that cannot be."""
        problem = self._problem(request, answer)
        host, state = self._session.host, self._state
        part = self._allowed(_AFTER_413 if sent > _AFTER_413 else sent // 2)
        if state.part_size is not None and state.part_size < sent:
            # Another blob has found out already.
            part = self._allowed(state.part_size)
        is_ours = self._session.options.chunk_size is None and host.takes_chunks
        if not is_ours or not _SMALLEST_PART <= part < sent:
            raise problem
        state.part_size = part
        self._session.registries.warn(
            f"{self._session.name}, or a proxy in front of it, does not accept large blobs in one "
            "request: they are sent in parts"
        )
        return TooLarge(problem.message, hint=problem.hint)

    def _send_parts(self, content: Content, size: int) -> OcitoolError | None:
        offset, whole = 0, self._descriptor.size
        kept = size if self._state.closes_full else 0
        while whole - offset > kept:
            reached = self._send_part(content, offset, min(size, whole - offset))
            if isinstance(reached, OcitoolError):
                return reached
            offset = reached
        request = self._closing_request(content, offset)
        answer = self._send(request)
        if isinstance(answer, Answer) and answer.status >= 500:
            self._state.closes_full = True
        return self._judge(request, answer)

    def _send_part(self, content: Content, offset: int, length: int) -> int | OcitoolError:
        """Send a part; return how many bytes of the blob the registry has."""
        end = offset + length
        request = self._request("PATCH", self._url, content.body(offset, length))
        request = replace(
            request, headers={**request.headers, "Content-Range": f"{offset}-{end - 1}"}
        )
        answer = self._send(request)
        if isinstance(answer, OcitoolError):
            reached = self._ask_offset(offset, end)
            return answer if reached is None else reached
        if answer.status == _TOO_LARGE:
            return self._make_smaller(request, answer, length)
        if answer.status not in (_ACCEPTED, _CREATED, _NO_CONTENT):
            return self._refusal(request, answer)
        if not self._agrees(answer, end):
            self.cancel()
            return Unavailable(
                f"{self._session.name} reports another number of bytes than was sent",
                hint="leave out --chunk-size, so that each blob is sent as a whole",
            )
        self._go_on(answer)
        return end

    def _agrees(self, answer: Answer, offset: int) -> bool:
        """Compare what a registry says to have with what was sent; Amazon's is known to be old."""
        found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        return found is None or self._session.host.is_ecr or int(found.group(2)) + 1 == offset

    def _ask_offset(self, least: int, most: int) -> int | None:
        """Ask once how much of a broken part arrived; None when the session cannot be used on."""
        request = Request("GET", self._url, self._scopes)
        try:
            answer = self._session.answer(request, retries=Retries(0))
        except OcitoolError:
            return None
        found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        if answer.status != _NO_CONTENT or found is None:
            return None
        offset = int(found.group(2)) + 1
        # "0-0" is said of a session with no byte as well as of one with a single byte.
        if not least < offset <= most or offset == 1:
            return None
        self._go_on(answer)
        return offset

    def _go_on(self, answer: Answer) -> None:
        if "location" in answer.headers:
            self._url = next_url(self._session, answer)

    def _closing_request(self, content: Content, offset: int) -> Request:
        """Return the request that closes the session with the rest of the blob."""
        url = locations.with_query(self._url, [("digest", str(self._descriptor.digest))])
        return self._request("PUT", url, content.body(offset, self._descriptor.size - offset))

    def _request(self, method: str, url: str, body: Body) -> Request:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(body.length)}
        return Request(method, url, self._scopes, headers, body)

    def _send(self, request: Request) -> Answer | OcitoolError:
        """Send a body once; return the answer, or the error if the connection broke."""
        try:
            return self._session.answer(request, retries=Retries(0))
        except Unavailable as error:
            is_passing = isinstance(error, ServerBusy) or isinstance(
                error.__cause__, httpx.TransportError
            )
            is_local = isinstance(request.body, Body) and request.body.source_failed
            if is_passing and not is_local:
                return error
            raise

    def _judge(self, request: Request, answer: Answer | OcitoolError) -> OcitoolError | None:
        """Judge the answer to the closing request."""
        if isinstance(answer, OcitoolError):
            return answer
        if answer.status in (_CREATED, _NO_CONTENT):
            return None
        if 200 <= answer.status < 300 and not is_html(answer.headers, answer.body):
            if self._is_there():
                return None
            return Unavailable(
                f"{self._session.name} answered {answer.status} for blob "
                f"{self._descriptor.digest.short}, but does not have it",
                hint="check any proxy in front of the registry, then push again",
            )
        try:
            return self._refusal(request, answer)
        except OcitoolError:
            # Nexus refuses what it has stored a moment before; so does a second commit.
            with contextlib.suppress(OcitoolError):
                if self._is_there():
                    return None
            raise

    def _refusal(self, request: Request, answer: Answer) -> OcitoolError:
        """Return a refusal that may pass, having waited as was asked; raise any other."""
        refused = self._session.problem(request, answer)
        problem = self._problem(request, answer)
        if refused.is_full or refused.too_long_wait is not None:
            raise problem
        if answer.status in _PASSING or answer.status >= 500:
            self._leave_alone(answer)
            return problem
        if answer.status == _BAD_REQUEST and _PASSING_CODES & set(refused.codes):
            return problem
        raise problem

    def _leave_alone(self, answer: Answer) -> None:
        """Leave the host alone for as long as it asks."""
        wanted = wanted_wait(answer.headers, answer.text, time.time())
        is_throttled = answer.status == THROTTLED
        if wanted is not None or is_throttled:
            self._session.backoff.back_off(
                0, wanted, throttled=is_throttled, why=f"answered {answer.status}"
            )

    def _problem(self, request: Request, answer: Answer) -> OcitoolError:
        problem = self._session.problem(request, answer)
        return problem.error(f"push a blob to {self._session.name}")


def next_url(session: Session, answer: Answer) -> str:
    """Return where an upload continues; Refused where a registry must not send us."""
    url = locations.resolve(answer.headers["location"], answer.url)
    locations.check(url, answer.url, insecure=session.permits_plain_http)
    return url
