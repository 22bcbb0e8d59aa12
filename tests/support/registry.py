"""A registry in this process, and how it can misbehave. distribution-spec 1.1.

It implements the whole specification; `Quirks` and `fail` take it away from there.
"""

import re
from collections.abc import Mapping

from ocitool.errors import MalformedDocument
from ocitool.spec import Descriptor, Digest
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer, ServerTls
from tests.support.registry_blobs import serve_blob
from tests.support.registry_lists import Lists
from tests.support.registry_manifests import Manifests
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, State, StoredManifest
from tests.support.registry_uploads import Uploads

__all__ = ["EmulatedRegistry", "Quirks", "ServerTls"]

_NAME = r"/v2/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_BLOB = re.compile(rf"{_NAME}/blobs/(?P<digest>[^/]+)").fullmatch
_UPLOADS = re.compile(rf"{_NAME}/blobs/uploads/?").fullmatch
_UPLOAD = re.compile(rf"{_NAME}/blobs/uploads/(?P<session>[^/]+)").fullmatch
_MANIFEST = re.compile(rf"{_NAME}/manifests/(?P<reference>[^/]+)").fullmatch
_TAGS = re.compile(rf"{_NAME}/tags/list").fullmatch
_REFERRERS = re.compile(rf"{_NAME}/referrers/(?P<digest>[^/]+)").fullmatch


class EmulatedRegistry(RecordingServer):
    """A registry on a free port of the loopback.

    `blobs`, `manifests` and `tags` are what it holds, by repository; tests may read them while it
    serves, and change them through `add_blob`, `add_manifest` and `add_image`.
    """

    def __init__(self, quirks: Quirks | None = None, tls: ServerTls | None = None) -> None:
        super().__init__(tls)
        self.quirks = quirks or Quirks()
        self.state = State()
        self._manifests = Manifests(self.state, self.quirks)
        self._lists = Lists(self.state, self.quirks)
        self._uploads = Uploads(self.state, self.quirks, self.url, self.url)

    @property
    def blobs(self) -> Mapping[str, Mapping[Digest, bytes]]:
        """The blobs of each repository."""
        return self.state.blobs

    @property
    def manifests(self) -> Mapping[str, Mapping[Digest, StoredManifest]]:
        """The manifests of each repository."""
        return self.state.manifests

    @property
    def tags(self) -> Mapping[str, Mapping[str, Digest]]:
        """The tags of each repository."""
        return self.state.tags

    def add_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Descriptor:
        """Store a blob, and return its descriptor."""
        return self.state.add_blob(repository, data, algorithm)

    def add_manifest(
        self,
        repository: str,
        raw: bytes,
        media_type: str,
        tag: str | None = None,
        algorithm: str = "sha256",
    ) -> Descriptor:
        """Store a manifest, and return its descriptor; its children may be missing."""
        return self.state.add_manifest(repository, raw, media_type, tag, algorithm)

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            self._route(exchange)
        except Refusal as refusal:
            refusal.answer(exchange)
        except MalformedDocument as error:
            Refusal(400, "DIGEST_INVALID", str(error)).answer(exchange)

    def _route(self, exchange: Exchange) -> None:
        path = exchange.path
        if path in ("/v2", "/v2/"):
            exchange.answer(200, b"{}", {"Content-Type": "application/json"})
        elif path == "/v2/_catalog":
            self._lists.catalog(exchange)
        elif found := _TAGS(path):
            self._lists.tags(exchange, found["name"])
        elif found := _REFERRERS(path):
            self._lists.referrers(exchange, found["name"], Digest.parse(found["digest"]))
        elif found := _MANIFEST(path):
            self._manifests.serve(exchange, found["name"], found["reference"])
        elif (found := _UPLOADS(path)) and exchange.method == "POST":
            self._uploads.start(exchange, found["name"])
        elif found := _UPLOAD(path):
            self._uploads.serve(exchange, found["name"], found["session"])
        elif found := _BLOB(path):
            digest = Digest.parse(found["digest"])
            serve_blob(exchange, self.state, self.quirks, found["name"], digest)
        else:
            exchange.answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
