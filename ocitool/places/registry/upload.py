"""Blobs on their way to a registry (distribution-spec, "Pushing blobs").

One POST and one PUT with the whole blob, since hardly any registry goes on with a broken upload.
After a failure the registry is asked whether it has the blob after all, for a slow commit looks
like a failure; if not, everything begins anew in a new session.
"""

import contextlib

from ocitool.errors import OcitoolError, Unavailable
from ocitool.oci import Descriptor
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.bodies import Content, OpenBlob, spooled
from ocitool.places.registry.http.session import Answer, Session, refuse_page
from ocitool.places.registry.upload_session import Habits, Sending, next_url

_ATTEMPTS = 4
_STREAMED = 2
"""How often a blob from afar is sent while it is fetched; after that it is fetched first."""
_CREATED, _ACCEPTED, _OK, _PARTIAL, _ABSENT = 201, 202, 200, 206, 404
_DENIED = (401, 403)


class Uploads:
    """Puts blobs into one repository. Thread-safe.

    `remote` says that blobs come from afar, so that they are fetched to the disk before a third
    attempt; `scratch` is the folder for that.
    """

    def __init__(
        self, session: Session, *, remote: bool = False, scratch: str | None = None
    ) -> None:
        self._session = session
        self._scopes = session.scopes("pull,push")
        self._remote = remote
        self._scratch = scratch
        self._habits = Habits()

    def has(self, descriptor: Descriptor) -> bool:
        """Ask whether the repository holds a blob of that digest and size.

        An answer that could mean anything counts as no: the blob is sent then. AccessDenied when
        the registry does not let us look.
        """
        answer = self._session.answer("HEAD", self._blob_url(descriptor), scopes=self._scopes)
        if not locations.is_same_host(answer.url, self._session.base):
            return self._is_in_storage(descriptor, answer)
        if answer.status in _DENIED:
            problem = self._session.problem("HEAD", answer, self._scopes)
            raise problem.error(f"look for a blob in {self._where}")
        return answer.status == _OK and self._is_whole(descriptor, answer)

    def _is_whole(self, descriptor: Descriptor, answer: Answer) -> bool:
        refuse_page(self._session, answer)
        length = answer.headers.get("content-length", "")
        if not length.isdigit() or int(length) == descriptor.size:
            return True
        self._session.registries.warn(
            f"{self._where} has {descriptor.digest.short} with {length} bytes instead of "
            f"{descriptor.size}; it is sent again"
        )
        return False

    def _is_in_storage(self, descriptor: Descriptor, answer: Answer) -> bool:
        """Judge the answer of the storage behind a registry, whose links may be good for GET only.

        Then a single byte is asked for.
        """
        if answer.status == _OK:
            return self._is_whole(descriptor, answer)
        if answer.status == _ABSENT:
            return False
        with self._session.stream(
            "GET",
            self._blob_url(descriptor),
            scopes=self._scopes,
            headers={"Range": "bytes=0-0"},
        ) as response:
            return response.status_code in (_OK, _PARTIAL)

    def mount(self, descriptor: Descriptor, repository: str) -> tuple[bool, str | None]:
        """Ask for a blob of another repository; return whether it is there, and an open session.

        Whatever goes wrong means that the blob is sent as usual.
        """
        url = locations.with_query(
            self._session.url("blobs/uploads/"),
            [("mount", str(descriptor.digest)), ("from", repository)],
        )
        scopes = self._session.scopes("pull,push", repository)
        with contextlib.suppress(OcitoolError):
            answer = self._session.answer("POST", url, scopes=scopes, content=b"", retries=0)
            if answer.status == _CREATED:
                return True, None
            if answer.status == _ACCEPTED and "location" in answer.headers:
                return False, next_url(self._session, answer)
        return False, None

    def put(self, descriptor: Descriptor, open_blob: OpenBlob, opened: str | None = None) -> None:
        """Store a blob, verified on its way. `opened` is the URL of a session that is open."""
        with contextlib.ExitStack() as spool:
            for attempt in range(_ATTEMPTS):
                if self._remote and attempt == _STREAMED:
                    open_blob = spool.enter_context(spooled(descriptor, open_blob, self._scratch))
                sending = self._sending(descriptor, opened)
                opened = None
                with Content(open_blob) as content:
                    problem = self._attempt(sending, content)
                if problem is None:
                    return
                # The last attempt, too, may have been a slow success.
                self._wait(attempt)
                if self.has(descriptor):
                    return
                if attempt == _ATTEMPTS - 1:
                    sending.cancel()
                    raise problem

    def _sending(self, descriptor: Descriptor, opened: str | None) -> Sending:
        url = opened or self._new_session()
        return Sending(self._session, self._habits, descriptor, url, self.has)

    def _attempt(self, sending: Sending, content: Content) -> OcitoolError | None:
        """Send a blob once; return what went wrong if trying again may help, else raise it."""
        try:
            problem = sending.send(content)
            if problem is not None and self._session.registries.stopped:
                raise problem
        except BaseException:
            sending.cancel()
            raise
        return problem

    def _wait(self, attempt: int) -> None:
        patience = self._session.registries.patience(self._session.host.address)
        patience.back_off(attempt, None, throttled=False)

    def _new_session(self) -> str:
        answer = self._session.answer(
            "POST", self._session.url("blobs/uploads/"), scopes=self._scopes, content=b""
        )
        if answer.status not in (_ACCEPTED, _CREATED):
            problem = self._session.problem("POST", answer, self._scopes)
            raise problem.error(f"push to {self._where}")
        if "location" not in answer.headers:
            refuse_page(self._session, answer)
            raise Unavailable(
                f"{self._where} began an upload and did not say where it goes on",
                hint="it, or something between here and it, is broken",
            )
        self._habits.least_part = _number(answer.headers.get("oci-chunk-min-length", ""))
        return next_url(self._session, answer)

    def _blob_url(self, descriptor: Descriptor) -> str:
        return self._session.url(f"blobs/{descriptor.digest}")

    @property
    def _where(self) -> str:
        return f"{self._session.host.domain}/{self._session.path}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
