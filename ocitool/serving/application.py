"""From a request to an answer: the registry protocol, without sockets (distribution-spec 1.1)."""

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from ocitool.errors import NoSpace, OcitoolError, StorageError
from ocitool.oci import Digest
from ocitool.places.layout.lock import LockBusy
from ocitool.serving import lists
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, BrokenBody, Refusal, Request, json_answer
from ocitool.serving.reading import Reader, unknown_blob
from ocitool.serving.routing import Route, digest_of, route
from ocitool.serving.verified import VerifiedReads

_READS = ("GET", "HEAD")


class Guard(Protocol):
    """Decides who may ask for what."""

    def check(self, request: Request, *, writes: bool) -> str | None:
        """Return the user; Refusal for a request that is not allowed."""


class Writer(Protocol):
    """Answers requests that change something."""

    def answer(self, request: Request, name: str, where: Route) -> Answer:
        """Answer a request that is neither GET nor HEAD, or is about an upload."""

    def sees_blob(self, request: Request, name: str, digest: Digest) -> bool:
        """Tell whether a request finds a blob in a repository."""


class Upstream(Protocol):
    """Answers for repositories of other registries."""

    def covers(self, name: str) -> bool:
        """Tell whether a repository comes from another registry."""

    def manifest(self, request: Request, name: str, where: Route) -> Answer:
        """Answer GET or HEAD of a manifest."""

    def blob(self, request: Request, name: str, where: Route) -> Answer:
        """Answer GET or HEAD of a blob."""


class Application:
    """A registry. `answer` may be called from several threads and raises nothing."""

    def __init__(
        self,
        library: Library,
        *,
        guard: Guard | None = None,
        writer: Writer | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        tell: Callable[[str], None] = lambda _text: None,
        verified: VerifiedReads | None = None,
        upstream: Upstream | None = None,
    ) -> None:
        self._library = library
        self._reader = Reader(library)
        self._guard = guard
        self._writer = writer
        self._is_ready = is_ready
        self._tell = tell
        self._verified = verified
        self._upstream = upstream

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            return self._answer(request)
        except Refusal as refusal:
            return refusal.answer()
        except BrokenBody as error:
            return Refusal(400, "BLOB_UPLOAD_INVALID", str(error)).answer()
        except LockBusy as error:
            busy = {"Retry-After": "1"}
            return Refusal(503, "TOOMANYREQUESTS", error.message, headers=busy).answer()
        except NoSpace as error:
            self._tell(error.message)
            return Refusal(500, "UNKNOWN", "no space").answer()
        except StorageError as error:
            self._tell(error.message)
            return Refusal(500, "UNKNOWN", "the disk of the registry fails").answer()
        except OcitoolError as error:
            self._tell(error.message)
            return Refusal(500, "UNKNOWN", "the content is damaged or cannot be read").answer()
        except Exception as error:
            self._tell(f"{type(error).__name__}: {error}")
            return Refusal(500, "UNKNOWN", "the registry has failed").answer()

    def _answer(self, request: Request) -> Answer:
        if request.path in ("/healthz", "/readyz"):
            return self._health(request.path)
        where = route(request.path)
        writes = request.method not in _READS or where.kind == "upload"
        user = self._guard.check(request, writes=writes) if self._guard is not None else None
        answer = self._routed(request, where)
        return answer if user is None else _noted(answer, user)

    def _health(self, path: str) -> Answer:
        if path == "/readyz" and not self._is_ready():
            return Answer(status=503, headers={"Retry-After": "1"}, body=b"not ready\n")
        return Answer(status=200, headers={"Content-Type": "text/plain"}, body=b"ok\n")

    def _routed(self, request: Request, where: Route) -> Answer:
        if where.kind == "root":
            self._only_reads(request)
            return json_answer({})
        if where.kind == "catalog":
            self._only_reads(request)
            return lists.catalog(self._library, request)
        name = self._library.name_of(where.path, request.parameter("ns"))
        if request.method in _READS and where.kind != "upload":
            return self._read(request, name, where)
        if self._writer is None:
            if self._upstream is not None:
                raise not_here("this registry is read-only: it is a cache of others")
            raise not_here("this registry is read-only: it was started without --writable")
        return self._writer.answer(request, name, where)

    def _read(self, request: Request, name: str, where: Route) -> Answer:
        if self._upstream is not None and self._upstream.covers(name):
            if where.kind == "manifest":
                return self._upstream.manifest(request, name, where)
            if where.kind == "blob":
                return self._upstream.blob(request, name, where)
        if where.kind == "manifest":
            return self._reader.manifest(request, name, where)
        if where.kind == "tags":
            return lists.tags(self._library, request, name, where)
        if where.kind == "referrers":
            return lists.referrers(self._library, request, name, where)
        digest = digest_of(where.rest)
        if not self._sees_blob(request, name, digest):
            raise unknown_blob(where.rest)
        answer = self._reader.blob(request, where, digest)
        if self._verified is None:
            return answer
        return self._verified.verified(answer, digest, is_head=request.method == "HEAD")

    def _only_reads(self, request: Request) -> None:
        if request.method not in _READS:
            raise not_here("only GET and HEAD are answered here")

    def _sees_blob(self, request: Request, name: str, digest: Digest) -> bool:
        if self._writer is not None:
            return self._writer.sees_blob(request, name, digest)
        return not self._library.by_repository or self._reader.sees_blob(name, digest)


def not_here(message: str) -> Refusal:
    """Return the answer for a method that is switched off."""
    return Refusal(405, "UNSUPPORTED", message)


def _noted(answer: Answer, user: str) -> Answer:
    return replace(answer, note={**answer.note, "user": user})
