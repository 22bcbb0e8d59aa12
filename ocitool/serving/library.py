"""What the server has: the view of the moment, and the bytes behind it."""

import threading
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ocitool.errors import NotFound, OcitoolError
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest
from ocitool.serving.documents import DocumentFacts, Documents
from ocitool.serving.messages import Refusal
from ocitool.serving.names import NameRules, repository_of
from ocitool.serving.shelves import Content, Offer, Shelf, read_content
from ocitool.serving.view import ServedRepository, View, build_view

_MOST_HOLDINGS = 64


class Holdings(Struct, frozen=True):
    """The documents of a repository, children and attachments included, and the blobs they list."""

    documents: frozenset[Digest]
    blobs: frozenset[Digest]


class Library:
    """The places that are served, as one. Thread-safe.

    Where `by_repository` is set a blob is found only in the repositories that need it; else all
    clients may read all repositories, and a blob is found in any of them.
    """

    def __init__(
        self, shelves: Sequence[Shelf], rules: NameRules, *, by_repository: bool = False
    ) -> None:
        self.shelves = shelves
        self.rules = rules
        self.by_repository = by_repository
        self.documents = Documents(self._read_document)
        self._seen: tuple[tuple[Sequence[Offer], ...], View] | None = None
        self._holdings: dict[str, tuple[View, Holdings]] = {}
        self._lock = threading.Lock()

    def view(self) -> View:
        """Return the repositories as they are now."""
        offers = tuple(shelf.offers() for shelf in self.shelves)
        seen = self._seen
        if seen is not None and all(map(_is, seen[0], offers)):
            return seen[1]
        view = build_view(zip(self.shelves, offers, strict=True), self.rules)
        self._seen = offers, view
        return view

    def name_of(self, path: str, registry: str | None) -> str:
        """Return the full name of the repository that a request means; it may not exist."""
        name = repository_of(path, registry, self.view().paths, self.rules)
        if not self.rules.serves(name):
            raise unknown_repository(path)
        return name

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob, whatever repository it belongs to; None if it is not here."""
        sizes = (shelf.size(digest) for shelf in self.shelves)
        return next((size for size in sizes if size is not None), None)

    def content(self, digest: Digest) -> Content:
        """Return a blob, whatever repository it belongs to; NotFound if it is not here."""
        for shelf in self.shelves:
            try:
                return shelf.content(digest)
            except NotFound:
                continue
        raise NotFound(f"blob {digest} is not here")

    def document(self, digest: Digest) -> bytes:
        """Return a manifest, verified. OcitoolError if it is absent or damaged."""
        return self._read_document(digest)

    def _read_document(self, digest: Digest) -> bytes:
        raw = read_content(self.content(digest), DEFAULT_LIMITS.manifest_bytes)
        if Digest.of(raw, digest.algorithm) != digest:
            message = f"{digest} is damaged"
            raise OcitoolError(message, hint="`ocitool verify --repair` mends a store")
        return raw

    def holdings(self, view: View, repository: ServedRepository) -> Holdings:
        """Return what is in a repository."""
        known = self._holdings.get(repository.name)
        if known is not None and known[0] is view:
            return known[1]
        holdings = self._walk(view, repository)
        with self._lock:
            if len(self._holdings) >= _MOST_HOLDINGS:
                self._holdings.clear()
            self._holdings[repository.name] = view, holdings
        return holdings

    def _walk(self, view: View, repository: ServedRepository) -> Holdings:
        documents: set[Digest] = set()
        blobs: set[Digest] = set()
        self._reach(dict(repository.roots), documents, blobs)
        waiting = {d: entry for d, entry in view.loose.items() if d not in documents}
        while True:
            found = {
                digest: entry
                for digest, entry in waiting.items()
                if (facts := self.documents.facts(digest, entry)) is not None
                and facts.subject in documents
            }
            if not found:
                return Holdings(frozenset(documents), frozenset(blobs))
            self._reach(found, documents, blobs)
            waiting = {d: entry for d, entry in waiting.items() if d not in found}

    def _reach(
        self, roots: dict[Digest, Descriptor], documents: set[Digest], blobs: set[Digest]
    ) -> None:
        todo: list[tuple[Digest, Descriptor | None]] = list(roots.items())
        while todo:
            digest, entry = todo.pop()
            if digest in documents or (facts := self.documents.facts(digest, entry)) is None:
                continue
            documents.add(digest)
            blobs.update(facts.blobs)
            todo += [(child, None) for child in facts.documents]

    def has_document(self, view: View, repository: ServedRepository, digest: Digest) -> bool:
        """Tell whether a manifest is in a repository."""
        return digest in repository.roots or digest in self.holdings(view, repository).documents

    def referring(
        self, view: View, repository: ServedRepository, subject: Digest
    ) -> Iterator[tuple[Digest, DocumentFacts]]:
        """Yield the manifests of a repository with that subject, in the order of their digests."""
        found: dict[Digest, Descriptor] = {**repository.roots, **view.loose}
        for digest in sorted(found):
            facts = self.documents.facts(digest, found[digest])
            if facts is not None and facts.subject == subject:
                yield digest, facts


def _is(one: object, other: object) -> bool:
    return one is other


def unknown_repository(path: str) -> Refusal:
    """Return the answer for a repository that is not here."""
    return Refusal(404, "NAME_UNKNOWN", "there is no such repository here", detail={"name": path})
