"""Uploads of blobs (distribution-spec, "Pushing blobs")."""

import contextlib
import re
import threading
import uuid
from collections.abc import Iterator

from ocitool.errors import NotFound
from ocitool.oci import Digest
from ocitool.oci.digest import Hasher, new_hasher
from ocitool.places.layout.uploads import StoredUpload, UploadBusy, touch_upload
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, Refusal, Request
from ocitool.serving.routing import Route, digest_of
from ocitool.serving.writing.claims import Claims
from ocitool.serving.writing.sight import Sight
from ocitool.serving.writing.storing import Storing

RESERVED = 32 << 20
"""Bytes of the disk that uploads leave free."""
_NAME = re.compile(r"[0-9a-f]{32}").fullmatch
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/.*)?").fullmatch
_MOST_HASHES = 512


class Uploads:
    """The uploads of one store. Thread-safe; what a killed process has written is still there."""

    def __init__(
        self,
        storing: Storing,
        claims: Claims,
        sight: Sight,
        library: Library,
        *,
        largest: int | None = None,
    ) -> None:
        self._storing = storing
        self._control = storing.control
        self._claims = claims
        self._sight = sight
        self._library = library
        self._largest = largest
        self._hashes: dict[str, tuple[Hasher, int]] = {}
        self._lock = threading.Lock()

    def start(self, request: Request, name: str, where: Route) -> Answer:
        """POST: begin an upload, mount a blob of another repository, or take one at once."""
        mount = request.parameter("mount")
        if mount is not None and (answer := self._mount(request, name, where, mount)) is not None:
            return answer
        digest = request.parameter("digest")
        wanted = digest_of(digest) if digest is not None else None
        self._check_room(request.body.length)
        upload = uuid.uuid4().hex
        StoredUpload.create(self._control, upload, name)
        if wanted is None:
            return self._progress(202, where.path, upload, 0)
        return self._finish(request, name, where.path, upload, wanted)

    def _mount(self, request: Request, name: str, where: Route, mount: str) -> Answer | None:
        """Answer a mount; None when the client has to send the blob."""
        digest = digest_of(mount)
        source = request.parameter("from")
        if source is not None:
            try:
                source = self._library.name_of(source, request.parameter("ns"))
            except Refusal:
                return None
        if not self._sight.may_mount(source, digest):
            return None
        self._claims.add(name, request.client, [digest])
        # Only after the claim is it certain that the blob stays.
        if self._library.size(digest) is None:
            return None
        self._sight.show(name, digest)
        return stored(where.path, digest)

    def serve(self, request: Request, name: str, where: Route) -> Answer:
        """GET, PATCH, PUT and DELETE of an upload."""
        if not _NAME(where.rest):
            raise _unknown()
        if request.method == "GET":
            return self._status(name, where)
        if request.method == "PATCH":
            return self._patch(request, name, where)
        if request.method == "PUT":
            digest = request.parameter("digest")
            if digest is None:
                raise Refusal(400, "DIGEST_INVALID", "the digest is missing")
            return self._finish(request, name, where.path, where.rest, digest_of(digest))
        if request.method == "DELETE":
            with self._opened(name, where.rest) as upload:
                upload.discard()
            self._forget(where.rest)
            return Answer(status=204)
        raise Refusal(405, "UNSUPPORTED", "this method is not for uploads")

    def _status(self, name: str, where: Route) -> Answer:
        with self._opened(name, where.rest) as upload:
            size = upload.size
        touch_upload(self._control, where.rest)
        return self._progress(204, where.path, where.rest, size)

    def _patch(self, request: Request, name: str, where: Route) -> Answer:
        with self._opened(name, where.rest) as upload:
            self._append(request, upload, where)
            return self._progress(202, where.path, where.rest, upload.size)

    def _finish(
        self, request: Request, name: str, path: str, upload_name: str, digest: Digest
    ) -> Answer:
        with self._opened(name, upload_name) as upload:
            self._append(request, upload, Route("upload", path, upload_name))
            hasher = self._hasher_of(upload_name, upload, digest.algorithm)
            if hasher.hexdigest() != digest.hex:
                upload.discard()
                self._forget(upload_name)
                raise Refusal(
                    400,
                    "DIGEST_INVALID",
                    "the content has another digest",
                    detail={"digest": f"{digest.algorithm}:{hasher.hexdigest()}"},
                )
            self._claims.add(name, request.client, [digest])
            folder = self._storing.layout.blob_folder(digest.algorithm, create=True)
            if folder.size_of(digest.hex) == upload.size:
                folder.touch(digest.hex)
                folder.sync()
                upload.discard()
            else:
                upload.publish(folder, digest)
        self._forget(upload_name)
        self._sight.show(name, digest)
        return stored(path, digest)

    @contextlib.contextmanager
    def _opened(self, name: str, upload_name: str) -> Iterator[StoredUpload]:
        try:
            upload = StoredUpload.open(self._control, upload_name)
        except NotFound:
            raise _unknown() from None
        except UploadBusy:
            raise Refusal(
                416, "BLOB_UPLOAD_INVALID", "another request is writing to this upload"
            ) from None
        with upload:
            if upload.repository != name:
                raise _unknown()
            yield upload

    def _append(self, request: Request, upload: StoredUpload, where: Route) -> None:
        """Write the body of a request at the end of an upload."""
        self._check_range(request, upload, where)
        length = request.body.length
        if length == 0:
            return
        self._check_room(length, upload.size)
        hasher, seen = self._hash_of(where.rest)
        upload.hashed("sha256", hasher, seen)
        try:
            while data := request.body.read():
                upload.append(data)
                hasher.update(data)
                if self._largest is not None and upload.size > self._largest:
                    raise _too_large(self._largest)
        finally:
            self._remember(where.rest, hasher, upload.size)

    def _check_range(self, request: Request, upload: StoredUpload, where: Route) -> None:
        text = request.headers.get("content-range")
        if text is None:
            return
        found = _CONTENT_RANGE(text)
        if found is None:
            raise Refusal(400, "BLOB_UPLOAD_INVALID", "the Content-Range cannot be read")
        start, length = int(found[1]), int(found[2]) - int(found[1]) + 1
        if start != upload.size or request.body.length not in (None, length):
            headers = self._progress(416, where.path, where.rest, upload.size).headers
            message = f"the upload has {upload.size} bytes, and goes on there"
            raise Refusal(416, "BLOB_UPLOAD_INVALID", message, headers=headers)

    def _check_room(self, length: int | None, present: int = 0) -> None:
        """Refuse what is too large before its first byte is sent."""
        if self._largest is not None and (length or 0) + present > self._largest:
            raise _too_large(self._largest)
        free, _ = self._control.free_space()
        if free < (length or 0) + RESERVED:
            raise Refusal(500, "UNKNOWN", "no space")

    def _hash_of(self, name: str) -> tuple[Hasher, int]:
        with self._lock:
            return self._hashes.pop(name, None) or (new_hasher("sha256"), 0)

    def _remember(self, name: str, hasher: Hasher, size: int) -> None:
        with self._lock:
            while len(self._hashes) >= _MOST_HASHES:
                # What is forgotten is read again.
                del self._hashes[next(iter(self._hashes))]
            self._hashes[name] = hasher, size

    def _forget(self, name: str) -> None:
        with self._lock:
            self._hashes.pop(name, None)

    def _hasher_of(self, name: str, upload: StoredUpload, algorithm: str) -> Hasher:
        if algorithm != "sha256":
            return upload.hashed(algorithm)
        hasher, seen = self._hash_of(name)
        return upload.hashed(algorithm, hasher, seen)

    def _progress(self, status: int, path: str, name: str, size: int) -> Answer:
        headers = {
            "Location": f"/v2/{path}/blobs/uploads/{name}",
            "Range": f"0-{max(0, size - 1)}",
            "Docker-Upload-UUID": name,
            "OCI-Chunk-Min-Length": "0",
        }
        return Answer(status=status, headers=headers)


def stored(path: str, digest: Digest) -> Answer:
    """Return the answer for a blob that is in its repository now."""
    headers = {
        "Location": f"/v2/{path}/blobs/{digest}",
        "Docker-Content-Digest": str(digest),
    }
    return Answer(status=201, headers=headers, note={"digest": str(digest)})


def _unknown() -> Refusal:
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")


def _too_large(largest: int) -> Refusal:
    return Refusal(413, "SIZE_INVALID", f"a blob may have {largest} bytes here")
