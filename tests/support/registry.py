"""A registry in this process, and how it can misbehave. distribution-spec 1.1.

It implements the whole specification; `Quirks` and `fail` take it away from there.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from ocitool.errors import MalformedDocument
from ocitool.oci import Descriptor, Digest
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer, ServerTls
from tests.support.images import Built
from tests.support.registry_access import Gate
from tests.support.registry_blobs import serve_blob
from tests.support.registry_faults import Fault
from tests.support.registry_lists import Lists
from tests.support.registry_manifests import Manifests
from tests.support.registry_manners import Manners
from tests.support.registry_quirks import Access, Quirks
from tests.support.registry_state import Refusal, State, StoredManifest
from tests.support.registry_uploads import Uploads
from tests.support.tokens import TokenOffice, TokenQuirks

__all__ = ["Access", "EmulatedRegistry", "Quirks", "ServerTls", "TokenQuirks"]

_NAME = r"/v2/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_BLOB = re.compile(rf"{_NAME}/blobs/(?P<digest>[^/]+)").fullmatch
_UPLOADS = re.compile(rf"{_NAME}/blobs/uploads/?").fullmatch
_UPLOAD = re.compile(rf"{_NAME}/blobs/uploads/(?P<session>[^/]+)").fullmatch
_MANIFEST = re.compile(rf"{_NAME}/manifests/(?P<reference>[^/]+)").fullmatch
_TAGS = re.compile(rf"{_NAME}/tags/list").fullmatch
_REFERRERS = re.compile(rf"{_NAME}/referrers/(?P<digest>[^/]+)").fullmatch


class EmulatedRegistry(RecordingServer):
    """A registry on a free port of the loopback, and its token server at /token.

    `tokens` says how that one behaves; give the office of a `TokenServer` when the realm is there.
    `second_host` takes uploads where `Quirks.location` is "other_host"; it has the same log and
    the same faults.

    `blobs`, `manifests` and `tags` are what it holds, by repository; tests may read them while it
    serves, and change them through `add_blob`, `add_manifest` and `add_image`.
    """

    def __init__(
        self,
        quirks: Quirks | None = None,
        tls: ServerTls | None = None,
        *,
        tokens: TokenOffice | TokenQuirks | None = None,
    ) -> None:
        super().__init__(tls)
        self.quirks = quirks or Quirks()
        self.state = State()
        access = self.quirks.access
        if not isinstance(tokens, TokenOffice):
            tokens = TokenOffice(tokens or TokenQuirks(users=access.users))
        self.office = tokens
        self._second = _SecondHost(self, tls)
        self.second_host = self._second.host
        self._gate = Gate(access, self.office, access.realm or f"{self.url}/token")
        self._manners = Manners(self.quirks)
        self._manifests = Manifests(self.state, self.quirks)
        self._lists = Lists(self.state, self.quirks)
        self._uploads = Uploads(self.state, self.quirks, self.url, self._second.url)

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

    def add_image(self, repository: str, image: Built, tag: str | None = None) -> Descriptor:
        """Store a built image, index or artifact whole, and return its descriptor."""
        for digest, data in image.blobs.items():
            media_type = _manifest_type(data)
            if media_type is None:
                self.state.add_blob(repository, data, digest.algorithm)
            else:
                named = tag if digest == image.descriptor.digest else None
                self.state.add_manifest(repository, data, media_type, named, digest.algorithm)
        return image.descriptor

    def __enter__(self) -> Self:
        self._second.__enter__()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._second.__exit__(kind, error, traceback)
        finally:
            super().__exit__(kind, error, traceback)

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        with _refusing(exchange):
            if exchange.path == "/token":
                self.office.answer(exchange)
            elif not self._manners.answered(exchange):
                self._gate.check(exchange)
                self._route(exchange)

    def respond_elsewhere(self, exchange: Exchange) -> None:
        """Answer one request to the second host, which takes uploads and wants no credential."""
        found = _UPLOAD(exchange.path)
        with _refusing(exchange):
            if "Authorization" in exchange.headers:
                exchange.answer(400, b"<Error>Only one auth mechanism allowed</Error>")
            elif found is None:
                exchange.answer(404, b"<Error>NoSuchKey</Error>")
            else:
                self._uploads.serve(exchange, found["name"], found["session"])

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


def _manifest_type(data: bytes) -> str | None:
    """Return the type of a manifest or index, or None for any other content."""
    if not data.startswith(b'{"schemaVersion"'):
        return None
    return str(json.loads(data).get("mediaType", "application/vnd.oci.image.manifest.v1+json"))


@contextlib.contextmanager
def _refusing(exchange: Exchange) -> Iterator[None]:
    """Answer with what the block refuses."""
    try:
        yield
    except Refusal as refusal:
        refusal.answer(exchange)
    except MalformedDocument as error:
        Refusal(400, "DIGEST_INVALID", str(error)).answer(exchange)


class _SecondHost(RecordingServer):
    def __init__(self, registry: EmulatedRegistry, tls: ServerTls | None) -> None:
        super().__init__(tls)
        self.log = registry.log
        self._registry = registry

    def fault_for(self, method: str, target: str) -> Fault | None:
        return self._registry.fault_for(method, target)

    def respond(self, exchange: Exchange) -> None:
        self._registry.respond_elsewhere(exchange)
