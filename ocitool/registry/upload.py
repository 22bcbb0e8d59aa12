"""A blob on its way to a registry (distribution-spec, "Pushing blobs").

One POST and one PUT with the whole blob, since hardly any registry goes on with a broken upload.
After a failure the registry is asked whether it has the blob after all, for a slow commit looks
like a failure; if not, everything begins anew in a new session. Never is a part sent twice into
one session: registries append it twice.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator

import httpx

from ocitool.content import Blob
from ocitool.errors import OcitoolError, Unavailable
from ocitool.fsops import scratch_file, write_all
from ocitool.registry import locations
from ocitool.registry.auth import TokenServerBusy
from ocitool.registry.problems import is_html
from ocitool.registry.session import Answer, Session
from ocitool.spec import Descriptor
from ocitool.spec.limits import MEBIBYTE

_PIECE = MEBIBYTE
_ATTEMPTS = 4
_STREAMED = 2
"""How often a blob from afar is sent while it is fetched; after that it is fetched first."""
_AFTER_413 = 50 * MEBIBYTE
_RANGE = re.compile(r"(?:bytes=)?(\d+)-(\d+)")
_CREATED, _ACCEPTED, _NO_CONTENT, _OK = 201, 202, 204, 200
_DENIED, _TOO_LARGE, _NOT_SATISFIABLE = (401, 403), 413, 416
_BINARY = {"Content-Type": "application/octet-stream"}

OpenBlob = Callable[[], Blob]


class Body(httpx.SyncByteStream):
    """A blob, or `length` bytes of it from `start`, opened anew whenever it has to be sent."""

    def __init__(self, open_blob: OpenBlob, start: int, length: int) -> None:
        self._open_blob = open_blob
        self._start = start
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        remaining, skip = self.length, self._start
        with self._open_blob() as blob:
            while skip and (part := blob.read(min(skip, _PIECE))):
                skip -= len(part)
            while remaining and (part := blob.read(min(remaining, _PIECE))):
                remaining -= len(part)
                yield part


class Uploads:
    """Puts blobs into one repository. Thread-safe.

    `remote` says that blobs come from afar, so that they are fetched to the disk before a third
    attempt; `scratch` is the folder for that.
    """

    def __init__(
        self, session: Session, *, remote: bool = False, scratch: str | None = None
    ) -> None:
        self._session = session
        self._remote = remote
        self._scratch = scratch
        self._whole_refused = False
        self._least_chunk = 0

    def has(self, descriptor: Descriptor) -> bool:
        """Ask whether the repository holds a blob of that digest and size.

        An answer that could mean anything counts as no: the blob is sent then.
        """
        answer = self._session.answer(
            "HEAD", self._blob_url(descriptor), scopes=self._session.scopes("pull,push")
        )
        if answer.status in _DENIED:
            raise self._refusal("HEAD", answer, "look for a blob")
        if answer.status != _OK:
            return self._is_in_storage(descriptor, answer)
        length = answer.headers.get("content-length", "")
        if length.isdigit() and int(length) != descriptor.size:
            self._session.registries.warn(
                f"{self._where} has {descriptor.digest.short} with {length} bytes instead of "
                f"{descriptor.size}; it is sent again"
            )
            return False
        return True

    def _is_in_storage(self, descriptor: Descriptor, answer: Answer) -> bool:
        """Ask for one byte where a signed link is good for GET only."""
        if locations.is_same_host(answer.url, self._session.base) or answer.status == 404:
            return False
        with self._session.stream(
            "GET",
            self._blob_url(descriptor),
            scopes=self._session.scopes("pull,push"),
            headers={"Range": "bytes=0-0"},
        ) as response:
            return response.status_code in (_OK, 206)

    def mount(self, descriptor: Descriptor, repository: str) -> tuple[bool, str | None]:
        """Ask for a blob of another repository; return whether it is there, and an open session.

        Whatever goes wrong means that the blob is sent as usual.
        """
        url = locations.with_query(
            self._session.url("blobs/uploads/"),
            [("mount", str(descriptor.digest)), ("from", repository)],
        )
        scopes = self._session.scopes("pull,push", repository)
        try:
            answer = self._session.answer("POST", url, scopes=scopes, content=b"", retries=0)
        except OcitoolError:
            return False, None
        if answer.status == _CREATED:
            return True, None
        location = answer.headers.get("location")
        if answer.status == _ACCEPTED and location:
            return False, self._location(answer, location)
        return False, None

    def put(self, descriptor: Descriptor, open_blob: OpenBlob, opened: str | None = None) -> None:
        """Store a blob, verified on its way. `opened` is the URL of a session that is open."""
        last: OcitoolError | None = None
        with contextlib.ExitStack() as spool:
            for attempt in range(_ATTEMPTS):
                if attempt:
                    self._wait(attempt, last)
                    if self.has(descriptor):
                        return
                if self._remote and attempt == _STREAMED:
                    open_blob = spool.enter_context(_spooled(descriptor, open_blob, self._scratch))
                last = self._attempt(descriptor, open_blob, opened)
                if last is None:
                    return
                opened = None
            # The last one, too, may have been a slow success.
            if self.has(descriptor):
                return
        if last is not None:
            raise last

    def _wait(self, attempt: int, last: OcitoolError | None) -> None:
        registries = self._session.registries
        if registries.stopped:
            raise last or Unavailable("the work was stopped")
        registries.patience(self._session.host.address).back_off(attempt - 1, None, throttled=False)

    def _attempt(
        self, descriptor: Descriptor, open_blob: OpenBlob, opened: str | None
    ) -> OcitoolError | None:
        """Send a blob once; return what went wrong if trying again may help, else raise it."""
        url = opened or self._new_session()
        try:
            size = self._chunk_size()
            if size is not None and size < descriptor.size:
                return self._in_chunks(descriptor, open_blob, url, size)
            return self._whole(descriptor, open_blob, url)
        except BaseException:
            self._session.farewell("DELETE", url, scopes=self._session.scopes("pull,push"))
            raise

    def _chunk_size(self) -> int | None:
        host = self._session.host
        wanted = self._session.options.chunk_size
        if wanted is None and self._whole_refused:
            wanted = _AFTER_413
        return host.chunk_size(wanted) if wanted is not None and host.takes_chunks else None

    def _new_session(self) -> str:
        scopes = self._session.scopes("pull,push")
        answer = self._session.answer(
            "POST", self._session.url("blobs/uploads/"), scopes=scopes, content=b""
        )
        location = answer.headers.get("location")
        if answer.status not in (_ACCEPTED, _CREATED) or not location:
            raise self._refusal("POST", answer, f"push to {self._where}")
        minimum = answer.headers.get("oci-chunk-min-length", "")
        self._least_chunk = int(minimum) if minimum.isdigit() else self._least_chunk
        return self._location(answer, location)

    def _whole(self, descriptor: Descriptor, open_blob: OpenBlob, url: str) -> OcitoolError | None:
        target = locations.with_query(url, [("digest", str(descriptor.digest))])
        answer = self._sent("PUT", target, Body(open_blob, 0, descriptor.size), {})
        if isinstance(answer, OcitoolError):
            return answer
        if answer.status == _TOO_LARGE and self._may_go_in_parts():
            self._whole_refused = True
            self._session.registries.warn(
                f"{self._where} or a proxy before it takes no {descriptor.size} bytes at once; "
                f"they go in parts of {_AFTER_413} bytes"
            )
            return self._refusal("PUT", answer, f"push to {self._where}")
        return self._judged("PUT", answer, descriptor)

    def _may_go_in_parts(self) -> bool:
        refused, wanted = self._whole_refused, self._session.options.chunk_size
        return self._session.host.takes_chunks and not refused and wanted is None

    def _in_chunks(
        self, descriptor: Descriptor, open_blob: OpenBlob, url: str, size: int
    ) -> OcitoolError | None:
        size = max(size, min(self._least_chunk, 128 * MEBIBYTE))
        offset = 0
        while offset < descriptor.size:
            length = min(size, descriptor.size - offset)
            headers = {"Content-Range": f"{offset}-{offset + length - 1}"}
            answer = self._sent("PATCH", url, Body(open_blob, offset, length), headers)
            if isinstance(answer, OcitoolError):
                found = self._reached(url, offset, offset + length)
                if found is None:
                    return answer
                offset, url = found
                continue
            if answer.status not in (_ACCEPTED, _CREATED, _NO_CONTENT):
                return self._judged("PATCH", answer, descriptor)
            offset += length
            if not self._agrees(answer, offset):
                return Unavailable(f"{self._where} counts other bytes than were sent")
            location = answer.headers.get("location")
            url = self._location(answer, location) if location else url
        target = locations.with_query(url, [("digest", str(descriptor.digest))])
        answer = self._sent("PUT", target, Body(open_blob, descriptor.size, 0), {})
        if isinstance(answer, OcitoolError):
            return answer
        return self._judged("PUT", answer, descriptor)

    def _agrees(self, answer: Answer, offset: int) -> bool:
        """Compare what a registry says to have with what was sent; Amazon's is known to be old."""
        found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        return found is None or self._session.host.is_ecr or int(found.group(2)) + 1 == offset

    def _reached(self, url: str, least: int, most: int) -> tuple[int, str] | None:
        """Ask once how far a broken part came; None when the session is of no more use."""
        try:
            answer = self._session.answer(
                "GET", url, scopes=self._session.scopes("pull,push"), retries=0
            )
        except OcitoolError:
            return None
        found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        if answer.status != _NO_CONTENT or found is None:
            return None
        offset = int(found.group(2)) + 1
        location = answer.headers.get("location")
        # "0-0" is said of a session with no byte as well as of one with a single byte.
        if not least < offset <= most or offset == 1:
            return None
        return offset, self._location(answer, location) if location else url

    def _sent(
        self, method: str, url: str, body: Body, headers: dict[str, str]
    ) -> Answer | OcitoolError:
        """Send a body once; return the answer, or the error if the connection broke."""
        try:
            return self._session.answer(
                method,
                url,
                scopes=self._session.scopes("pull,push"),
                headers={**_BINARY, **headers, "Content-Length": str(body.length)},
                content=body,
                retries=0,
            )
        except Unavailable as error:
            if isinstance(error, TokenServerBusy) or isinstance(
                error.__cause__, httpx.TransportError
            ):
                return error
            raise

    def _judged(self, method: str, answer: Answer, descriptor: Descriptor) -> OcitoolError | None:
        status = answer.status
        if status in (_CREATED, _NO_CONTENT):
            return None
        if 200 <= status < 300 and not is_html(answer.headers, answer.body):
            if self.has(descriptor):
                return None
            return Unavailable(f"{self._where} took a blob, and does not have it")
        error = self._refusal(method, answer, f"push a blob to {self._where}")
        # An unknown upload on a second look is often one that has been committed meanwhile.
        again = status in (404, 408, _NOT_SATISFIABLE, 429, 499) or status >= 500
        invalid = status == 400 and {"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"} & set(
            self._session.problem(method, answer).codes
        )
        if again or invalid:
            return error
        raise error

    def _refusal(self, method: str, answer: Answer, doing: str) -> OcitoolError:
        scopes = self._session.scopes("pull,push")
        return self._session.problem(method, answer, scopes).error(doing)

    def _location(self, answer: Answer, location: str) -> str:
        url = locations.resolved(location, answer.url)
        options = self._session.options
        locations.check(url, answer.url, insecure=options.insecure or options.plain_http)
        return url

    def _blob_url(self, descriptor: Descriptor) -> str:
        return self._session.url(f"blobs/{descriptor.digest}")

    @property
    def _where(self) -> str:
        return f"{self._session.host.domain}/{self._session.path}"


@contextlib.contextmanager
def _spooled(
    descriptor: Descriptor, open_blob: OpenBlob, scratch: str | None
) -> Iterator[OpenBlob]:
    """Fetch a blob to the disk, verified, and yield what opens it there."""
    file = scratch_file(scratch)
    try:
        with open_blob() as blob:
            while part := blob.read(_PIECE):
                write_all(file, part)

        def opened() -> Blob:
            position = 0

            def read(size: int) -> bytes:
                nonlocal position
                part = os.pread(file, size, position)
                position += len(part)
                return part

            return Blob(descriptor, read, where=f"the copy of {descriptor.digest.short}")

        yield opened
    finally:
        os.close(file)
