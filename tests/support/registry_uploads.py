"""Uploads of the emulated registry. distribution-spec, "Pushing blobs"."""

import re
import threading
import uuid
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from ocitool.oci import Digest
from tests.support.http_exchange import Ended, Exchange
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, Session, State

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d+)-(\d+)(?:/.*)?").fullmatch
_ODD = "_state=a%2Fb%3D%3D&x=1"
_MOUNT_CODES = {400: "NAME_INVALID", 401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN"}


class Uploads:
    """The upload endpoints of one registry; `url` is its own, `other_url` its second host's."""

    def __init__(self, state: State, quirks: Quirks, url: str, other_url: str) -> None:
        self._state = state
        self._quirks = quirks
        self._url = url
        self._other_url = other_url
        self._forgets = quirks.commit_forgets_times if quirks.commit_forgets != "no" else 0
        self._lock = threading.Lock()

    def start(self, exchange: Exchange, repository: str) -> None:
        """POST: open a session, mount a blob, or take one at once."""
        quirks, state = self._quirks, self._state
        if quirks.requires_repository:
            state.known(repository)
        if quirks.write_denied:
            message = "permission_denied: write_package"
            raise Refusal(403, "DENIED", message)
        if exchange.query("mount") is not None and self._mount(exchange, repository):
            return
        digest = exchange.query("digest")
        with state.lock:
            state.repositories.add(repository)
        session = Session(repository)
        if digest is not None and quirks.single_post == "done":
            self._append(exchange, session)
            self._commit(exchange, "", session, Digest.parse(digest))
            return
        exchange.body()
        self._open(exchange, session)

    def _open(self, exchange: Exchange, session: Session) -> None:
        name = str(uuid.uuid4())
        with self._state.lock:
            self._state.sessions[name] = session
        headers = {"Docker-Upload-UUID": name, "Range": "0-0"}
        if self._quirks.chunk_min_length is not None:
            headers["OCI-Chunk-Min-Length"] = str(self._quirks.chunk_min_length)
        exchange.answer(202, headers={**headers, "Location": self._location(name, session)})

    def _location(self, name: str, session: Session) -> str:
        kind = self._quirks.location
        path = f"/v2/{session.repository}/blobs/uploads/{name}?{self._state_of(session)}"
        if kind in ("relative", "odd_query"):
            return path
        if kind == "other_host":
            return f"{self._other_url}{path}"
        base = urlsplit(self._url)
        host = base.hostname if kind == "no_port" else base.netloc
        scheme = "http" if kind == "plain_http" else base.scheme
        return f"{scheme}://{host}{path}"

    def _state_of(self, session: Session) -> str:
        return _ODD if self._quirks.location == "odd_query" else f"_state={session.state}"

    def _mount(self, exchange: Exchange, repository: str) -> bool:
        """Answer a mount; False when an ordinary session must be opened instead."""
        status = self._quirks.mount_status
        if status is not None and status >= 400:
            raise Refusal(status, _MOUNT_CODES.get(status, "UNKNOWN"), "no mounts here")
        digest = Digest.parse(exchange.query("mount") or "")
        source = exchange.query("from") or ""
        data = self._state.blobs.get(source, {}).get(digest)
        if status == 202 or data is None:
            return False
        with self._state.lock:
            self._state.repositories.add(repository)
            self._state.blobs[repository][digest] = data
        exchange.answer(201, headers=self._stored(repository, digest))
        return True

    def serve(self, exchange: Exchange, repository: str, name: str) -> None:
        """GET, PATCH, PUT and DELETE of a session."""
        session = self._session(exchange, repository, name)
        if exchange.method == "PATCH":
            self._patch(exchange, name, session)
        elif exchange.method == "PUT":
            self._put(exchange, name, session)
        elif exchange.method == "DELETE":
            self._forget(name)
            exchange.answer(204)
        elif self._quirks.upload_status_404:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        else:
            exchange.answer(204, headers=self._progress(name, session))

    def _session(self, exchange: Exchange, repository: str, name: str) -> Session:
        session = self._state.sessions.get(name)
        if session is None or session.repository != repository:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        state = self._state_of(session)
        if exchange.raw_query != state and not exchange.raw_query.startswith(f"{state}&digest="):
            raise Refusal(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")
        return session

    def _patch(self, exchange: Exchange, name: str, session: Session) -> None:
        quirks = self._quirks
        if quirks.monolithic_only:
            raise Refusal(405, "UNSUPPORTED", "chunked uploads are not supported")
        length = int(exchange.headers.get("Content-Length", "0"))
        self._check_range(exchange, session, length)
        before = len(session.data)
        self._append_or_die(exchange, name, session)
        if quirks.chunk_min_length is not None:
            session.short_chunk = len(session.data) - before < quirks.chunk_min_length
        if session.ranged_end is None:
            session.ranged_end = len(session.data) - 1
        exchange.answer(201 if quirks.patch_201 else 202, headers=self._progress(name, session))

    def _check_range(self, exchange: Exchange, session: Session, length: int) -> None:
        quirks = self._quirks
        text = exchange.headers.get("Content-Range")
        limit = quirks.content_range_limit
        if text is not None and limit is not None and length > limit:
            message = f"chunk of {length} bytes exceeds maximum of {limit / (1 << 20):.2f}MiB"
            raise Refusal(416, "RANGE_INVALID", message)
        if session.short_chunk:
            raise Refusal(416, "SIZE_INVALID", "only the last chunk may be shorter")
        if text is None or quirks.blind_append:
            return
        found = _CONTENT_RANGE(text)
        if found is None:
            raise Refusal(400, "RANGE_INVALID", f"no range: {text}")
        start, end = int(found[1]), int(found[2])
        if start != len(session.data) or end - start + 1 != length:
            raise Refusal(416, "RANGE_INVALID", "range is not the next", {"Range": _range(session)})

    def _put(self, exchange: Exchange, name: str, session: Session) -> None:
        digest = Digest.parse(exchange.query("digest") or "")
        self._append_or_die(exchange, name, session)
        if self._quirks.commit_seconds:
            exchange.pause(self._quirks.commit_seconds)
        self._commit(exchange, name, session, digest)

    def _append_or_die(self, exchange: Exchange, name: str, session: Session) -> None:
        try:
            self._append(exchange, session)
        except (Ended, OSError):
            if self._quirks.dead_sessions:
                self._forget(name)
            raise

    def _append(self, exchange: Exchange, session: Session) -> None:
        for piece in exchange.pieces():
            session.data += piece

    def _commit(self, exchange: Exchange, name: str, session: Session, digest: Digest) -> None:
        self._forget(name)
        data = bytes(session.data)
        if Digest.of(data, digest.algorithm) != digest:
            message = "provided digest did not match uploaded content"
            raise Refusal(400, "DIGEST_INVALID", message)
        with self._state.lock:
            self._state.blobs[session.repository][digest] = data
        if self._forgetful():
            if self._quirks.commit_forgets == "drop":
                exchange.leave()
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        exchange.answer(201, headers=self._stored(session.repository, digest))

    def _forgetful(self) -> bool:
        with self._lock:
            due = self._forgets > 0
            self._forgets -= due
            return due

    def _forget(self, name: str) -> None:
        with self._state.lock:
            self._state.sessions.pop(name, None)

    def _stored(self, repository: str, digest: Digest) -> Mapping[str, str]:
        path = f"/v2/{repository}/blobs/{quote(str(digest), safe=':')}"
        headers = {"Location": path}
        if self._quirks.digest_header == "right":
            headers["Docker-Content-Digest"] = str(digest)
        return headers

    def _progress(self, name: str, session: Session) -> Mapping[str, str]:
        headers = {"Location": self._location(name, session), "Docker-Upload-UUID": name}
        if self._quirks.patch_201 and session.ranged_end is not None:
            return {**headers, "Range": f"0-{session.ranged_end}"}
        return {**headers, "Range": _range(session)}


def _range(session: Session) -> str:
    return f"0-{max(0, len(session.data) - 1)}"
