"""Uploads of blobs to a registry (distribution-spec, "Pushing blobs").

One POST and one PUT with the whole blob, since hardly any registry resumes a broken upload.
After a failure the registry is asked whether it has the blob after all, as a slow commit looks
like a failure; if not, everything begins anew in a new session, within one budget of retries.
"""

import contextlib

from ocitool.errors import OcitoolError, Unavailable
from ocitool.oci import Descriptor
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.bodies import Content, OpenBlob, spool_blob
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.http.retrying import Retries
from ocitool.places.registry.session import Session
from ocitool.places.registry.upload_session import TooLarge, UploadSession, UploadState, next_url

_ATTEMPTS = 4
_STREAMED = 2
"""How often a remote blob is sent while it is fetched; after that it is fetched first."""
_CREATED, _ACCEPTED, _OK, _PARTIAL, _ABSENT = 201, 202, 200, 206, 404
_DENIED = (401, 403)


class Uploads:
    """Puts blobs into one repository. Thread-safe.

    With `remote` the blobs are read over the network: before a third attempt they are fetched to
    the disk, into the folder `scratch`.
    """

    def __init__(
        self, session: Session, *, remote: bool = False, scratch: str | None = None
    ) -> None:
        self._session = session
        self._scopes = session.scopes("pull,push")
        self._remote = remote
        self._scratch = scratch
        self._state = UploadState()

    def has(self, descriptor: Descriptor, retries: Retries | None = None) -> bool:
        """Ask whether the repository holds a blob of that digest and size.

        An answer that could mean anything counts as no: the blob is sent then. AccessDenied when
        the registry does not let us look.
        """
        request = Request("HEAD", self._blob_url(descriptor), self._scopes)
        answer = self._session.answer(request, retries=retries)
        if not locations.is_same_host(answer.url, self._session.base):
            return self._is_in_storage(descriptor, answer, retries)
        if answer.status in _DENIED:
            problem = self._session.problem(request, answer)
            raise problem.error(f"look for a blob in {self._session.name}")
        return answer.status == _OK and self._is_whole(descriptor, answer)

    def _is_whole(self, descriptor: Descriptor, answer: Answer) -> bool:
        self._session.refuse_page(answer)
        length = answer.headers.get("content-length", "")
        if not length.isdigit() or int(length) == descriptor.size:
            return True
        self._session.registries.warn(
            f"{self._session.name} has {descriptor.digest.short} with {length} bytes instead of "
            f"{descriptor.size}; it is sent again"
        )
        return False

    def _is_in_storage(
        self, descriptor: Descriptor, answer: Answer, retries: Retries | None
    ) -> bool:
        """Judge the answer of the storage behind a registry, whose links may be good for GET only.

        Then a single byte is asked for.
        """
        if answer.status == _OK:
            return self._is_whole(descriptor, answer)
        if answer.status == _ABSENT:
            return False
        first_byte = {"Range": "bytes=0-0"}
        request = Request("GET", self._blob_url(descriptor), self._scopes, first_byte)
        with contextlib.closing(self._session.open(request, retries=retries)) as response:
            return response.status_code in (_OK, _PARTIAL)

    def mount(self, descriptor: Descriptor, repository: str) -> tuple[bool, str | None]:
        """Ask for a blob of another repository; return whether it is there, and an open session.

        After any failure the blob is sent as usual.
        """
        url = locations.with_query(
            self._session.url("blobs/uploads/"),
            [("mount", str(descriptor.digest)), ("from", repository)],
        )
        scopes = self._session.scopes("pull,push", repository)
        with contextlib.suppress(OcitoolError):
            request = Request("POST", url, scopes, body=b"")
            answer = self._session.answer(request, retries=Retries(0))
            if answer.status == _CREATED:
                return True, None
            if answer.status == _ACCEPTED and "location" in answer.headers:
                return False, next_url(self._session, answer)
        return False, None

    def put(self, descriptor: Descriptor, open_blob: OpenBlob, opened: str | None = None) -> None:
        """Store a blob, verified on its way. `opened` is the URL of a session that is open."""
        retries = self._session.retries()
        with contextlib.ExitStack() as spool:
            for attempt in range(_ATTEMPTS):
                if self._remote and attempt == _STREAMED:
                    open_blob = spool.enter_context(
                        spool_blob(descriptor, open_blob, self._scratch)
                    )
                upload, problem = self._send(descriptor, open_blob, opened, retries)
                opened = None
                if problem is None:
                    return
                is_last = attempt == _ATTEMPTS - 1 or not retries.take()
                self._session.backoff.back_off(
                    attempt,
                    None,
                    throttled=False,
                    why="did not take a blob",
                    tries="" if is_last else f"try {attempt + 2} of {_ATTEMPTS}",
                )
                # The last attempt, too, may have been a slow success.
                if self.has(descriptor, retries):
                    return
                if is_last or retries.is_spent:
                    upload.cancel()
                    raise problem

    def _send(
        self,
        descriptor: Descriptor,
        open_blob: OpenBlob,
        opened: str | None,
        retries: Retries,
    ) -> tuple[UploadSession, OcitoolError | None]:
        """Send a blob in a session of its own; in another one as long as parts get smaller."""
        while True:
            upload = self._begin(descriptor, opened, retries)
            with Content(open_blob) as content:
                problem = self._attempt(upload, content)
            if not isinstance(problem, TooLarge):
                return upload, problem
            upload.cancel()
            opened = None

    def _begin(self, descriptor: Descriptor, opened: str | None, retries: Retries) -> UploadSession:
        url = opened or self._new_session(retries)
        return UploadSession(
            self._session, self._state, descriptor, url, lambda: self.has(descriptor, retries)
        )

    def _attempt(self, upload: UploadSession, content: Content) -> OcitoolError | None:
        """Send a blob once; return what went wrong if trying again may help, else raise it."""
        try:
            problem = upload.send(content)
            if problem is not None and self._session.registries.stopped:
                raise problem
        except BaseException:
            upload.cancel()
            raise
        return problem

    def _new_session(self, retries: Retries) -> str:
        url = self._session.url("blobs/uploads/")
        request = Request("POST", url, self._scopes, body=b"")
        answer = self._session.answer(request, retries=retries)
        if answer.status not in (_ACCEPTED, _CREATED):
            problem = self._session.problem(request, answer)
            raise problem.error(f"push to {self._session.name}")
        if "location" not in answer.headers:
            self._session.refuse_page(answer)
            raise Unavailable(
                f"{self._session.name} started an upload but did not say where to continue",
                hint="the registry, or a proxy in front of it, is broken",
            )
        self._state.least_part = _number(answer.headers.get("oci-chunk-min-length", ""))
        return next_url(self._session, answer)

    def _blob_url(self, descriptor: Descriptor) -> str:
        return self._session.url(f"blobs/{descriptor.digest}")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
