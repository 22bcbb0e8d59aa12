"""Manifests of the emulated registry. distribution-spec, "Pulling manifests" and "Push"."""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import cast

from ocitool.errors import OcitoolError
from ocitool.oci import Digest
from tests.support.http_exchange import Exchange
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, State, StoredManifest

_LIMIT = 4 << 20
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Manifests:
    """The manifest endpoints of one registry."""

    def __init__(self, state: State, quirks: Quirks) -> None:
        self._state = state
        self._quirks = quirks
        self._lock = threading.Lock()
        self._unknown_left = quirks.unknown_blob_times
        self._quota_left = quirks.hub_quota

    def serve(self, exchange: Exchange, repository: str, reference: str) -> None:
        """HEAD, GET, PUT and DELETE of a manifest, by tag or digest."""
        if exchange.method == "PUT":
            self._put(exchange, repository, reference)
        elif exchange.method == "DELETE":
            self._delete(exchange, repository, reference)
        else:
            self._get(exchange, repository, reference)

    # Reading.

    def _get(self, exchange: Exchange, repository: str, reference: str) -> None:
        head = exchange.method == "HEAD"
        if head and self._quirks.head_405:
            raise Refusal(405, "UNSUPPORTED", "the operation is unsupported")
        quota = self._quota(exchange)
        if self._quirks.schema1:
            document = {"schemaVersion": 1, "name": repository, "tag": reference, "fsLayers": []}
            body = json.dumps(document).encode()
            exchange.answer(200, body, {"Content-Type": _SCHEMA1, **quota})
            return
        digest, manifest = self._find(exchange, repository, reference)
        headers = {**self._headers(digest, manifest), **quota}
        if head and self._quirks.plain_head:
            headers = {"Content-Type": "application/octet-stream"}
        exchange.answer(200, manifest.raw, headers)

    def _find(
        self, exchange: Exchange, repository: str, reference: str
    ) -> tuple[Digest, StoredManifest]:
        missing = self._quirks.missing_manifest_status
        if missing == 404:
            self._state.known(repository)
        digest = self._subject_itself(repository, reference)
        digest = digest or self._state.digest_of(repository, reference)
        if digest is None:
            code = "MANIFEST_UNKNOWN" if missing == 404 else "DENIED"
            raise Refusal(missing, code, f"unknown manifest: {reference}")
        manifest = self._state.manifests[repository][digest]
        if manifest.media_type not in _accepted(exchange):
            message = f"accept header does not support {manifest.media_type}"
            raise Refusal(404, "MANIFEST_UNKNOWN", message)
        return digest, manifest

    def _subject_itself(self, repository: str, reference: str) -> Digest | None:
        if not self._quirks.gitlab_referrers_tag or not reference.startswith("sha256-"):
            return None
        return self._state.digest_of(repository, reference.replace("-", ":", 1))

    def _headers(self, digest: Digest, manifest: StoredManifest) -> dict[str, str]:
        headers = {"Content-Type": manifest.media_type}
        if self._quirks.digest_header == "right":
            headers["Docker-Content-Digest"] = str(digest)
        elif self._quirks.digest_header == "wrong":
            headers["Docker-Content-Digest"] = str(Digest.of(b"something else"))
        if self._quirks.etags:
            headers["ETag"] = f'"{digest}"'
        return headers

    def _quota(self, exchange: Exchange) -> Mapping[str, str]:
        """Count a GET as Docker Hub does, and return the headers that tell of it."""
        if self._quota_left is None:
            return {}
        headers = {"ratelimit-limit": "100;w=21600", "docker-ratelimit-source": "192.0.2.1"}
        with self._lock:
            left = self._quota_left
            if exchange.method == "GET":
                self._quota_left = max(0, left - 1)
        if exchange.method == "GET" and not left:
            message = "You have reached your unauthenticated pull rate limit."
            headers["ratelimit-remaining"] = "0;w=21600"
            raise Refusal(429, "TOOMANYREQUESTS", message, headers)
        return {**headers, "ratelimit-remaining": f"{self._quota_left};w=21600"}

    # Writing.

    def _put(self, exchange: Exchange, repository: str, reference: str) -> None:
        if self._quirks.requires_repository:
            self._state.known(repository)
        raw = exchange.body()
        media_type = exchange.headers.get("Content-Type", "")
        digest = Digest.parse(reference) if ":" in reference else Digest.of(raw)
        fields = self._check(repository, reference, raw, media_type, digest)
        tag = None if ":" in reference else reference
        wanted = exchange.headers.get("If-Match")
        named = self._state.tags.get(repository, {}).get(reference)
        if self._quirks.etags and wanted not in (None, f'"{named}"'):
            raise Refusal(412, "PRECONDITION_FAILED", "the tag has moved")
        if self._quirks.digest_of_another:
            raw += b"\n"
            digest = Digest.of(raw)
        self._state.add_manifest(repository, raw, media_type, tag, digest.algorithm)
        headers = {"Docker-Content-Digest": str(digest)}
        if self._quirks.digest_header != "right":
            del headers["Docker-Content-Digest"]
        if self._quirks.manifest_location:
            headers["Location"] = f"/v2/{repository}/manifests/{digest}"
        subject = fields.get("subject")
        if isinstance(subject, dict) and self._has_subject_header():
            headers["OCI-Subject"] = str(subject["digest"])
        exchange.answer(201, headers=headers)

    def _has_subject_header(self) -> bool:
        return self._quirks.subject_header and self._quirks.referrers == "api"

    def _check(
        self, repository: str, reference: str, raw: bytes, media_type: str, digest: Digest
    ) -> dict[str, object]:
        if len(raw) > _LIMIT:
            raise Refusal(413, "MANIFEST_INVALID", "manifest is larger than 4 MiB")
        if Digest.of(raw, digest.algorithm) != digest:
            raise Refusal(400, "DIGEST_INVALID", "the manifest has another digest")
        if self._quirks.immutable_tags and reference in self._state.tags.get(repository, {}):
            message = (
                f"The image tag '{reference}' already exists in the '{repository}' repository "
                "and cannot be overwritten because the repository is immutable."
            )
            raise Refusal(400, "TAG_INVALID", message)
        fields = _parsed(raw, media_type)
        if self._quirks.subject_refused and "subject" in fields:
            raise Refusal(405, "UNSUPPORTED", "Invalid parameter at 'ImageManifest'")
        self._check_children(repository, fields, media_type)
        return fields

    def _check_children(self, repository: str, fields: dict[str, object], media_type: str) -> None:
        with self._lock:
            unknown = self._unknown_left > 0
            self._unknown_left -= unknown
        if unknown:
            raise Refusal(404, "BLOB_UNKNOWN", "unknown blob")
        for digest, kind in _children(fields):
            if digest not in self._state.manifests.get(repository, {}):
                message = f"manifest blob unknown to registry: {digest}"
                raise Refusal(400, "MANIFEST_BLOB_UNKNOWN", message)
            docker = kind.startswith("application/vnd.docker.")
            if self._quirks.docker_children_refused and docker and media_type == _OCI_INDEX:
                raise Refusal(400, "MANIFEST_INVALID", "manifest invalid")
        for digest in _blobs(fields):
            if digest not in self._state.blobs.get(repository, {}):
                message = f"manifest blob unknown to registry: {digest}"
                raise Refusal(400, "MANIFEST_BLOB_UNKNOWN", message)

    def _delete(self, exchange: Exchange, repository: str, reference: str) -> None:
        if self._quirks.delete_405:
            raise Refusal(405, "UNSUPPORTED", "the operation is unsupported")
        self._state.known(repository)
        digest = self._state.digest_of(repository, reference)
        if digest is None:
            raise Refusal(404, "MANIFEST_UNKNOWN", f"unknown manifest: {reference}")
        by_tag = self._quirks.tag_delete
        if ":" not in reference and by_tag in ("400", "405"):
            code = "DIGEST_INVALID" if by_tag == "400" else "UNSUPPORTED"
            raise Refusal(int(by_tag), code, "provided digest did not match uploaded content")
        if self._quirks.delete_children:
            fields = self._state.manifests[repository][digest].fields
            for child, _ in _children(fields):
                self._state.delete(repository, None, child)
        if not self._quirks.delete_nothing:
            self._state.delete(repository, None if by_tag == "image" else reference, digest)
        exchange.answer(202)


def _accepted(exchange: Exchange) -> set[str]:
    """Return the types of all Accept headers; weights are ignored, as distribution does."""
    values = ",".join(exchange.headers.get_all("Accept", ()))
    return {part.split(";")[0].strip() for part in values.split(",")}


def _parsed(raw: bytes, media_type: str) -> dict[str, object]:
    if not media_type:
        raise Refusal(400, "MANIFEST_INVALID", "no Content-Type")
    try:
        fields = json.loads(raw)
    except ValueError as error:
        raise Refusal(400, "MANIFEST_INVALID", str(error)) from None
    if not isinstance(fields, dict) or fields.get("mediaType", media_type) != media_type:
        raise Refusal(400, "MANIFEST_INVALID", "mediaType is not the Content-Type")
    return fields


def _descriptors(fields: dict[str, object], name: str) -> list[dict[str, object]]:
    found = fields.get(name) or []
    return cast("list[dict[str, object]]", found if isinstance(found, list) else [found])


def _children(fields: dict[str, object]) -> Iterator[tuple[Digest, str]]:
    for child in _descriptors(fields, "manifests"):
        yield _digest(child), str(child.get("mediaType", ""))


def _blobs(fields: dict[str, object]) -> Iterator[Digest]:
    for blob in (*_descriptors(fields, "config"), *_descriptors(fields, "layers")):
        if not blob.get("urls"):
            yield _digest(blob)


def _digest(descriptor: dict[str, object]) -> Digest:
    try:
        return Digest.parse(str(descriptor["digest"]))
    except (KeyError, OcitoolError) as error:
        raise Refusal(400, "MANIFEST_INVALID", f"bad descriptor: {error}") from None
