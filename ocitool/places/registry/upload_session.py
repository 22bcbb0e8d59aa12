"""One blob into one upload session, whole or in parts (distribution-spec, "Pushing blobs").

Never is a part sent twice into a session: registries append it twice.
"""

import re
import time
from collections.abc import Callable

import httpx
from msgspec import Struct

from ocitool.errors import OcitoolError, Unavailable
from ocitool.oci import Descriptor
from ocitool.oci.limits import MEBIBYTE
from ocitool.places.registry.auth.auth import TokenServerBusy
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.bodies import Body, Content
from ocitool.places.registry.http.problems import is_html
from ocitool.places.registry.http.retrying import wanted_wait
from ocitool.places.registry.http.session import Answer, Session

_AFTER_413 = 50 * MEBIBYTE
_LARGEST_PART = 128 * MEBIBYTE
_RANGE = re.compile(r"(?:bytes=)?(\d+)-(\d+)", re.ASCII)
_CREATED, _ACCEPTED, _NO_CONTENT = 201, 202, 204
_TOO_LARGE, _BUSY = 413, 429
_AGAIN = (404, 408, 416, _BUSY, 499)
"""What another session may not meet. An upload that is unknown has often been committed."""
_AGAIN_CODES = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})


class Habits(Struct):
    """What was learned about a registry while blobs went there, for those that follow.

    `whole_refused` says that large blobs have to go in parts, `closes_full` that an upload cannot
    be closed without bytes, `least_part` how many bytes a part has at least.
    """

    whole_refused: bool = False
    closes_full: bool = False
    least_part: int = 0


class Sending:
    """A blob and the session that it goes into. Not thread-safe.

    `is_there` asks the registry whether it has the blob.
    """

    def __init__(
        self,
        session: Session,
        habits: Habits,
        descriptor: Descriptor,
        url: str,
        is_there: Callable[[Descriptor], bool],
    ) -> None:
        self._session = session
        self._scopes = session.scopes("pull,push")
        self._habits = habits
        self._descriptor = descriptor
        self._url = url
        self._is_there = is_there

    def send(self, content: Content) -> OcitoolError | None:
        """Send the blob once; return what went wrong if another session may help, else raise it."""
        size = self._part_size()
        if size is not None and size < self._descriptor.size:
            return self._in_parts(content, size)
        return self._whole(content)

    def cancel(self) -> None:
        """Tell the registry that the session is given up, if it hears us."""
        self._session.farewell("DELETE", self._url, scopes=self._scopes)

    def _part_size(self) -> int | None:
        host = self._session.host
        wanted = self._session.options.chunk_size
        if wanted is None and self._habits.whole_refused:
            wanted = _AFTER_413
        if wanted is None or not host.takes_chunks:
            return None
        return max(host.chunk_size(wanted), min(self._habits.least_part, _LARGEST_PART))

    def _whole(self, content: Content) -> OcitoolError | None:
        answer = self._put(content, 0)
        if isinstance(answer, Answer) and answer.status == _TOO_LARGE and self._may_go_in_parts():
            self._habits.whole_refused = True
            self._session.registries.warn(
                f"{self._where}, or what stands before it, takes no large blobs at once: they go "
                f"in parts of {_AFTER_413 // MEBIBYTE} MiB"
            )
            return self._problem("PUT", answer)
        return self._ended(answer)

    def _may_go_in_parts(self) -> bool:
        host = self._session.host
        is_open = host.takes_chunks and self._session.options.chunk_size is None
        return is_open and self._descriptor.size > host.chunk_size(_AFTER_413)

    def _in_parts(self, content: Content, size: int) -> OcitoolError | None:
        offset, whole = 0, self._descriptor.size
        kept = size if self._habits.closes_full else 0
        while whole - offset > kept:
            reached = self._part(content, offset, min(size, whole - offset))
            if isinstance(reached, OcitoolError):
                return reached
            offset = reached
        answer = self._put(content, offset)
        if isinstance(answer, Answer) and answer.status >= 500:
            self._habits.closes_full = True
        return self._ended(answer)

    def _part(self, content: Content, offset: int, length: int) -> int | OcitoolError:
        """Send a part; return how many bytes of the blob the registry has."""
        end = offset + length
        headers = {"Content-Range": f"{offset}-{end - 1}"}
        answer = self._sent("PATCH", self._url, content.body(offset, length), headers)
        if isinstance(answer, OcitoolError):
            reached = self._reached(offset, end)
            return answer if reached is None else reached
        if answer.status not in (_ACCEPTED, _CREATED, _NO_CONTENT):
            return self._refused("PATCH", answer)
        if not self._agrees(answer, end):
            self.cancel()
            return Unavailable(
                f"{self._where} counts other bytes than were sent",
                hint="leave out --chunk-size: then blobs go whole",
            )
        self._go_on(answer)
        return end

    def _agrees(self, answer: Answer, offset: int) -> bool:
        """Compare what a registry says to have with what was sent; Amazon's is known to be old."""
        found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        return found is None or self._session.host.is_ecr or int(found.group(2)) + 1 == offset

    def _reached(self, least: int, most: int) -> int | None:
        """Ask once how far a broken part came; None when the session is of no more use."""
        try:
            answer = self._session.answer("GET", self._url, scopes=self._scopes, retries=0)
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

    def _put(self, content: Content, offset: int) -> Answer | OcitoolError:
        """Close the session with the rest of the blob."""
        url = locations.with_query(self._url, [("digest", str(self._descriptor.digest))])
        return self._sent("PUT", url, content.body(offset, self._descriptor.size - offset), {})

    def _sent(
        self, method: str, url: str, body: Body, headers: dict[str, str]
    ) -> Answer | OcitoolError:
        """Send a body once; return the answer, or the error if the connection broke."""
        try:
            return self._session.answer(
                method,
                url,
                scopes=self._scopes,
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(body.length),
                    **headers,
                },
                content=body,
                retries=0,
            )
        except Unavailable as error:
            is_passing = isinstance(error, TokenServerBusy) or isinstance(
                error.__cause__, httpx.TransportError
            )
            if is_passing and not body.source_failed:
                return error
            raise

    def _ended(self, answer: Answer | OcitoolError) -> OcitoolError | None:
        """Judge the answer to the closing request."""
        if isinstance(answer, OcitoolError):
            return answer
        if answer.status in (_CREATED, _NO_CONTENT):
            return None
        if 200 <= answer.status < 300 and not is_html(answer.headers, answer.body):
            if self._is_there(self._descriptor):
                return None
            return Unavailable(
                f"{self._where} took blob {self._descriptor.digest.short} by status "
                f"{answer.status}, and does not have it",
                hint="look at what stands between here and the registry, and push again",
            )
        return self._refused("PUT", answer)

    def _refused(self, method: str, answer: Answer) -> OcitoolError:
        """Return a refusal that may pass, having waited as was asked; raise any other."""
        codes = self._session.problem(method, answer).codes
        if answer.status in _AGAIN or answer.status >= 500:
            self._leave_alone(answer)
        elif answer.status != 400 or not _AGAIN_CODES & set(codes):
            raise self._problem(method, answer)
        return self._problem(method, answer)

    def _leave_alone(self, answer: Answer) -> None:
        """Leave the host alone for as long as it asks."""
        text = answer.body.decode("utf-8", "replace")
        wanted = wanted_wait(answer.headers, text, time.time())
        if wanted is not None or answer.status == _BUSY:
            patience = self._session.registries.patience(self._session.host.address)
            patience.back_off(0, wanted, throttled=answer.status == _BUSY)

    def _problem(self, method: str, answer: Answer) -> OcitoolError:
        problem = self._session.problem(method, answer, self._scopes)
        return problem.error(f"push a blob to {self._where}")

    @property
    def _where(self) -> str:
        return f"{self._session.host.domain}/{self._session.path}"


def next_url(session: Session, answer: Answer) -> str:
    """Return where an upload goes on; Refused where nobody must be sent."""
    url = locations.resolved(answer.headers["location"], answer.url)
    options = session.options
    locations.check(url, answer.url, insecure=options.insecure or options.plain_http)
    return url
