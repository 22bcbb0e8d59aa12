"""Requests for repositories of other registries, answered from the store or through it."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ocitool.errors import AccessDenied, NotFound, Unavailable
from ocitool.fsops import PartFile
from ocitool.image.content import OpenRange
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.oci.annotations import CACHED
from ocitool.places.layout.partial import PartialBlob
from ocitool.places.layout.uploads import publish_part
from ocitool.places.registry import Registries, Repository
from ocitool.serving.documents import DocumentFacts, read_facts
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, Parts, Refusal, Request
from ocitool.serving.reading import (
    blob_answer,
    manifest_answer,
    unknown_blob,
    unknown_manifest,
)
from ocitool.serving.routing import Route, digest_of, is_digest, tag_of
from ocitool.serving.upstream.arriving import Arriving, ArrivingManifests, listed_in
from ocitool.serving.upstream.flights import Flights
from ocitool.serving.upstream.options import UpstreamOptions
from ocitool.serving.upstream.origins import Origin, covers
from ocitool.serving.upstream.tags import UpstreamTags
from ocitool.serving.writing.claims import Claims
from ocitool.serving.writing.storing import Storing

_CLIENT = "upstream"
_STALE = {"Warning": '110 - "the registry behind this one does not answer"'}
_TOUCHED_EVERY = 3600.0
_MOST_TOUCHED = 100_000
Found = TypeVar("Found")


class UpstreamCache:
    """Fetches what the store lacks of some repositories of other registries. Thread-safe."""

    def __init__(
        self,
        library: Library,
        storing: Storing,
        claims: Claims,
        registries: Registries,
        options: UpstreamOptions,
        tell: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._storing = storing
        self._claims = claims
        self._registries = registries
        self._origins: Sequence[Origin] = options.origins
        self._tags = UpstreamTags(self._ask, options.ttl, tell, clock)
        self._arriving = ArrivingManifests()
        self._flights = Flights(lambda error: tell(error.message))
        self._touched: dict[Digest, float] = {}
        self._naming = threading.Lock()

    def covers(self, name: str) -> bool:
        """Tell whether a repository comes from another registry."""
        return covers(self._origins, name)

    def manifest(self, request: Request, name: str, where: Route) -> Answer:
        """Answer GET or HEAD of a manifest."""
        by_digest = is_digest(where.rest)
        headers: dict[str, str] = {}
        if by_digest:
            digest = digest_of(where.rest)
        else:
            tag = tag_of(where.rest)
            state = self._reached(lambda: self._tags.state(name, tag, self._local(name, tag)))
            if state.digest is None:
                raise unknown_manifest(where.rest)
            digest, headers = state.digest, _STALE if state.is_stale else {}
        raw, media_type = self._reached(lambda: self._document(name, digest))
        if not by_digest:
            self._tag(name, digest, tag_of(where.rest))
        self._touch(digest)
        answer = manifest_answer(request, digest, raw, media_type, by_digest=by_digest)
        return Answer(
            status=answer.status,
            headers={**answer.headers, **headers},
            body=answer.body,
            note=answer.note,
        )

    def blob(self, request: Request, name: str, where: Route) -> Answer:
        """Answer GET or HEAD of a blob that a manifest of the repository lists."""
        digest = digest_of(where.rest)
        descriptor = self._listed(name, digest)
        if descriptor is None:
            raise unknown_blob(where.rest)
        try:
            return blob_answer(request, digest, self._library.content(digest))
        except NotFound:
            pass
        if request.method == "HEAD":
            return _head(descriptor)
        flight = self._flights.joined(
            descriptor,
            lambda: self._begin(name, descriptor),
            self._opener(name, descriptor),
            lambda: self._name_whole(name),
        )
        try:
            return blob_answer(request, digest, flight)
        except BaseException:
            flight.release()
            raise

    # Asking the registry.

    def _reached(self, ask: Callable[[], Found]) -> Found:
        """Return what a registry says; Refusal when it does not."""
        try:
            return ask()
        except NotFound as error:
            raise Refusal(404, "MANIFEST_UNKNOWN", error.message) from None
        except AccessDenied:
            message = "the registry behind this one does not show it"
            raise Refusal(404, "MANIFEST_UNKNOWN", message) from None
        except Unavailable as error:
            later = {"Retry-After": "5"}
            raise Refusal(503, "TOOMANYREQUESTS", error.message, headers=later) from None

    def _repository(self, name: str) -> Repository:
        return Repository.of(self._registries, Reference.parse(f"{name}:x"))

    def _ask(self, name: str, tag: str) -> Digest:
        found = self._repository(name).head(Reference.parse(f"{name}:{tag}"))
        if found is None:
            raise NotFound(f"{name}:{tag} does not exist")
        return found.digest

    def _document(self, name: str, digest: Digest) -> tuple[bytes, str]:
        """Return a manifest and its type: from the store, from memory, or fetched."""
        view = self._library.view()
        repository = view.repositories.get(name)
        if repository is not None and self._library.has_document(view, repository, digest):
            facts = self._library.documents.facts(digest, repository.roots.get(digest))
            if facts is not None:
                return self._library.document(digest), facts.media_type
        known = self._arriving.get(name, digest)
        if known is not None:
            return known.raw, known.facts.media_type
        remote = self._repository(name)
        found = remote.fetch(Reference.parse(f"{name}@{digest}"))
        raw = remote.raw(digest) or b""
        facts = read_facts(raw, found.media_type)
        self._arriving.add(name, digest, Arriving(raw, facts))
        self._name_whole(name)
        return raw, facts.media_type

    def _listed(self, name: str, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a blob in a manifest of the repository."""
        for _, arriving in self._arriving.of(name):
            if digest in arriving.facts.blobs:
                return _first(arriving.listed, digest)
        view = self._library.view()
        repository = view.repositories.get(name)
        if repository is None:
            return None
        for document in self._library.holdings(view, repository).documents:
            facts = self._library.documents.facts(document)
            if facts is not None and digest in facts.blobs:
                return _first(listed_in(self._library.document(document), None), digest)
        return None

    def _opener(self, name: str, descriptor: Descriptor) -> OpenRange:
        open_range = self._repository(name).ranges(descriptor)
        if open_range is None:
            raise unknown_blob(str(descriptor.digest))
        return open_range

    # Keeping what arrived.

    def _begin(self, name: str, descriptor: Descriptor) -> PartialBlob:
        """Return where a blob is received; what arrived of it before is there already."""
        self._claims.add(name, _CLIENT, [descriptor.digest])
        blob = PartialBlob.open(self._storing.control, descriptor, self._publish)
        if blob is None:
            busy = {"Retry-After": "1"}
            message = "another process is fetching this blob"
            raise Refusal(503, "TOOMANYREQUESTS", message, headers=busy)
        return blob

    def _publish(self, part: PartFile, digest: Digest) -> None:
        folder = self._storing.layout.blob_folder(digest.algorithm, create=True)
        publish_part(part, folder, digest)

    def _local(self, name: str, tag: str) -> Digest | None:
        repository = self._library.view().repositories.get(name)
        return repository.tags.get(tag) if repository is not None else None

    def _tag(self, name: str, digest: Digest, tag: str) -> None:
        """Let a tag name a manifest, now or when its image is whole."""
        if self._local(name, tag) == digest:
            return
        arriving = self._arriving.get(name, digest)
        if arriving is not None:
            arriving.tags.add(tag)
            self._name_whole(name)
            return
        facts = self._library.documents.facts(digest)
        if facts is not None:
            self._name(name, digest, facts, [tag])

    def _name_whole(self, name: str) -> None:
        """Put into the store what is whole now: platforms first, then the index that lists them."""
        with self._naming:
            went_on = True
            while went_on:
                went_on = False
                for digest, arriving in self._arriving.of(name):
                    if self._arriving.is_whole(arriving, self._has):
                        self._keep(name, digest, arriving)
                        went_on = True

    def _keep(self, name: str, digest: Digest, arriving: Arriving) -> None:
        facts = arriving.facts
        self._claims.add(name, _CLIENT, [digest, *facts.needed])
        self._storing.put(digest, arriving.raw)
        self._library.documents.learn(digest, facts)
        if arriving.tags or not self._is_listed(name, digest):
            self._name(name, digest, facts, sorted(arriving.tags))
        self._arriving.forget(name, digest)

    def _is_listed(self, name: str, digest: Digest) -> bool:
        """Tell whether an index of the repository leads to a manifest."""
        if self._arriving.is_child(name, digest):
            return True
        view = self._library.view()
        repository = view.repositories.get(name)
        return repository is not None and any(
            digest in facts.documents
            for root, entry in repository.roots.items()
            if (facts := self._library.documents.facts(root, entry)) is not None
        )

    def _name(self, name: str, digest: Digest, facts: DocumentFacts, tags: list[str]) -> None:
        descriptor = Descriptor(
            media_type=facts.media_type,
            digest=digest,
            size=facts.size,
            annotations={CACHED: name},
        )
        names = [f"{name}:{tag}" for tag in tags]
        self._storing.name(descriptor, name, names, lambda _index: None)
        self._claims.settle(name, _CLIENT, [digest, *facts.blobs, *facts.documents])

    def _has(self, digest: Digest) -> bool:
        return self._library.size(digest) is not None

    def _touch(self, digest: Digest) -> None:
        """Note that an image is used, once an hour, so that `gc` can tell which are not."""
        now = time.monotonic()
        if now - self._touched.get(digest, -_TOUCHED_EVERY) < _TOUCHED_EVERY:
            return
        if len(self._touched) >= _MOST_TOUCHED:
            self._touched.clear()
        self._touched[digest] = now
        if self._has(digest):
            self._storing.layout.touch(digest)


def _head(descriptor: Descriptor) -> Answer:
    """Return the answer to HEAD of a blob that is not here yet."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(descriptor.digest),
        "Accept-Ranges": "bytes",
    }
    return Answer(status=200, headers=headers, body=Parts(iter(()), descriptor.size))


def _first(listed: Sequence[Descriptor], digest: Digest) -> Descriptor | None:
    return next((one for one in listed if one.digest == digest), None)
