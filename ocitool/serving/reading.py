"""GET and HEAD of manifests and blobs (distribution-spec, "Pulling manifests" and "Pulling blobs").

Bytes are sent as they are stored, whatever the client accepts: converting a manifest would give one
tag two digests.
"""

from collections.abc import Mapping
from typing import Protocol

from ocitool.errors import NotFound, OcitoolError
from ocitool.oci import Descriptor, Digest
from ocitool.serving.library import Library, unknown_repository
from ocitool.serving.messages import Answer, FilePart, Parts, Refusal, Request
from ocitool.serving.ranges import asked_range
from ocitool.serving.routing import Route, digest_of, is_digest, tag_of
from ocitool.serving.view import ServedRepository, View

_FOREVER = "max-age=31536000, immutable"
_OCTETS = "application/octet-stream"


class Growing(Protocol):
    """A blob that is still arriving."""

    def __len__(self) -> int:
        """How many bytes it will have."""

    def part(self, start: int, length: int) -> Parts:
        """Return some bytes of it, which are waited for."""

    def close(self) -> None:
        """Release it."""


class Reader:
    """Answers requests that change nothing."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def find(self, view: View, name: str, path: str) -> ServedRepository:
        """Return a repository; Refusal when it does not exist."""
        repository = view.repositories.get(name)
        if repository is None:
            raise unknown_repository(path)
        return repository

    def manifest(self, request: Request, name: str, route: Route) -> Answer:
        """Answer GET or HEAD of a manifest."""
        view = self._library.view()
        repository = self.find(view, name, route.path)
        by_digest = is_digest(route.rest)
        digest = digest_of(route.rest) if by_digest else repository.tags.get(tag_of(route.rest))
        if digest is None or not self._library.has_document(view, repository, digest):
            raise unknown_manifest(route.rest)
        raw = self._document(digest, route.rest)
        media_type = self._media_type(digest, repository.roots.get(digest))
        return manifest_answer(request, digest, raw, media_type, by_digest=by_digest)

    def _document(self, digest: Digest, reference: str) -> bytes:
        try:
            return self._library.document(digest)
        except NotFound:
            raise unknown_manifest(reference) from None

    def _media_type(self, digest: Digest, entry: Descriptor | None) -> str:
        facts = self._library.documents.facts(digest, entry)
        if facts is not None:
            return facts.media_type
        return entry.media_type if entry is not None and entry.media_type else _OCTETS

    def blob(self, request: Request, route: Route, digest: Digest) -> Answer:
        """Answer GET or HEAD of a blob that is visible in its repository."""
        try:
            content = self._library.content(digest)
        except (NotFound, OcitoolError):
            raise unknown_blob(route.rest) from None
        try:
            return blob_answer(request, digest, content)
        except BaseException:
            if isinstance(content, FilePart):
                content.close()
            raise

    def sees_blob(self, name: str, digest: Digest) -> bool:
        """Tell whether a blob is in a repository, by what its manifests list."""
        view = self._library.view()
        repository = view.repositories.get(name)
        if repository is None:
            return False
        holdings = self._library.holdings(view, repository)
        return digest in holdings.blobs or digest in holdings.documents


def manifest_answer(
    request: Request, digest: Digest, raw: bytes, media_type: str, *, by_digest: bool
) -> Answer:
    """Return the answer with a manifest; what a tag names is asked for again each time."""
    headers = {
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Cache-Control": _FOREVER if by_digest else "no-cache",
    }
    note = {"digest": str(digest)}
    if is_known(request, digest):
        return Answer(status=304, headers=headers, note=note)
    headers["Content-Type"] = media_type
    return Answer(status=200, headers=headers, body=raw, note=note)


def blob_answer(request: Request, digest: Digest, content: FilePart | bytes | Growing) -> Answer:
    """Return the answer with a blob or the part of it that is asked for.

    What is not needed of the content is closed.
    """
    size = len(content)
    headers = {
        "Content-Type": _OCTETS,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": _FOREVER,
    }
    note = {"digest": str(digest)}
    if is_known(request, digest):
        if not isinstance(content, bytes):
            content.close()
        return Answer(status=304, headers=headers, note=note)
    asked = asked_range(_range_if_same(request.headers, digest), size)
    if asked is None:
        body = content if isinstance(content, bytes | FilePart) else content.part(0, size)
        return Answer(status=200, headers=headers, body=body, note=note)
    start, length = asked
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    part: FilePart | bytes | Parts
    if isinstance(content, FilePart):
        part = FilePart(content.file, content.offset + start, length)
    elif isinstance(content, bytes):
        part = content[start : start + length]
    else:
        part = content.part(start, length)
    return Answer(status=206, headers=headers, body=part, note=note)


def _range_if_same(headers: Mapping[str, str], digest: Digest) -> str | None:
    """Return the Range header unless If-Range names other bytes (RFC 9110, section 13.1.5)."""
    condition = headers.get("if-range")
    if condition is not None and condition != f'"{digest}"':
        return None
    return headers.get("range")


def is_known(request: Request, digest: Digest) -> bool:
    """Tell whether the client has the content already (RFC 9110, section 13.1.2)."""
    tags = request.headers.get("if-none-match", "")
    return any(tag.strip().removeprefix("W/") in (f'"{digest}"', "*") for tag in tags.split(","))


def unknown_manifest(reference: str) -> Refusal:
    """Return the answer for a manifest that is not in its repository."""
    return Refusal(
        404, "MANIFEST_UNKNOWN", "there is no such manifest here", detail={"reference": reference}
    )


def unknown_blob(digest: str) -> Refusal:
    """Return the answer for a blob that is not in its repository."""
    return Refusal(404, "BLOB_UNKNOWN", "there is no such blob here", detail={"digest": digest})
