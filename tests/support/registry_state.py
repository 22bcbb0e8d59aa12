"""What an emulated registry holds, and the answers that name what it does not."""

import json
import secrets
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from ocitool.oci import Descriptor, Digest
from tests.support.http_exchange import Exchange


class Refusal(Exception):
    """The registry says no: an answer in the specification's form of an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.body = error_body(code, message)
        self.headers = {"Content-Type": "application/json", **(headers or {})}

    def answer(self, exchange: Exchange) -> None:
        """Send it as the answer to a request."""
        exchange.answer(self.status, self.body, self.headers)


def error_body(code: str, message: str) -> bytes:
    """Return the JSON of one error. distribution-spec, "Error Codes"."""
    entry = {"code": code, "message": message or code.lower().replace("_", " "), "detail": None}
    return json.dumps({"errors": [entry]}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest's exact bytes, and the type it was pushed with."""

    raw: bytes
    media_type: str

    @property
    def fields(self) -> dict[str, object]:
        """The JSON object."""
        return cast("dict[str, object]", json.loads(self.raw))


@dataclass(slots=True)
class Session:
    """An upload that goes on. `ranged_end` is what ECR's Range header keeps saying."""

    repository: str
    state: str = field(default_factory=lambda: secrets.token_hex(8))
    data: bytearray = field(default_factory=bytearray)
    ranged_end: int | None = None
    short_chunk: bool = False


class State:
    """Blobs, manifests, tags and uploads of each repository.

    Single changes are atomic; `lock` is for those that belong together.
    """

    def __init__(self) -> None:
        self.blobs: defaultdict[str, dict[Digest, bytes]] = defaultdict(dict)
        self.manifests: defaultdict[str, dict[Digest, StoredManifest]] = defaultdict(dict)
        self.tags: defaultdict[str, dict[str, Digest]] = defaultdict(dict)
        self.sessions: dict[str, Session] = {}
        self.repositories: set[str] = set()
        self.lock = threading.RLock()

    def blob(self, repository: str, digest: Digest) -> bytes:
        """Return a blob, or refuse with BLOB_UNKNOWN."""
        self.known(repository)
        found = self.blobs.get(repository, {}).get(digest)
        if found is None:
            raise Refusal(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return found

    def digest_of(self, repository: str, reference: str) -> Digest | None:
        """Return the digest that a tag or digest names, or None when nothing has that name."""
        if ":" in reference:
            digest = Digest.parse(reference)
            return digest if digest in self.manifests.get(repository, {}) else None
        return self.tags.get(repository, {}).get(reference)

    def known(self, repository: str) -> None:
        """Refuse with NAME_UNKNOWN unless the repository exists."""
        if repository not in self.repositories:
            message = f"repository name not known to registry: {repository}"
            raise Refusal(404, "NAME_UNKNOWN", message)

    def add_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Descriptor:
        """Store a blob, and return its descriptor."""
        digest = Digest.of(data, algorithm)
        with self.lock:
            self.repositories.add(repository)
            self.blobs[repository][digest] = data
        return Descriptor(media_type="application/octet-stream", digest=digest, size=len(data))

    def add_manifest(
        self,
        repository: str,
        raw: bytes,
        media_type: str,
        tag: str | None = None,
        algorithm: str = "sha256",
    ) -> Descriptor:
        """Store a manifest, and return its descriptor; its children may be missing."""
        digest = Digest.of(raw, algorithm)
        with self.lock:
            self.repositories.add(repository)
            self.manifests[repository][digest] = StoredManifest(raw=raw, media_type=media_type)
            if tag is not None:
                self.tags[repository][tag] = digest
        return Descriptor(media_type=media_type, digest=digest, size=len(raw))

    def delete(self, repository: str, reference: str | None, digest: Digest) -> None:
        """Delete a tag; or a manifest with all its tags, where the reference is none of them."""
        with self.lock:
            tags = self.tags[repository]
            if reference is not None and ":" not in reference:
                tags.pop(reference, None)
                return
            self.manifests[repository].pop(digest, None)
            for tag in [tag for tag, named in tags.items() if named == digest]:
                del tags[tag]
