"""What is known of the manifests that are served: bytes of a digest never change."""

import threading
from collections.abc import Callable

from msgspec import Struct

from ocitool.errors import MalformedDocument, OcitoolError
from ocitool.image.graph import children, descriptors_in
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Manifest, mediatype, parse_manifest
from ocitool.oci.document import decode_object
from ocitool.oci.quoting import quoted

_MOST = 20_000


class DocumentFacts(Struct, frozen=True, kw_only=True):
    """What a manifest or index says.

    `documents` and `blobs` are what it lists; `optional` are those of them that may be absent.
    `artifact_type` is as a list of referrers shows it.
    """

    media_type: str
    size: int
    documents: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    optional: frozenset[Digest] = frozenset()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def needed(self) -> tuple[Digest, ...]:
        """What must be there for the document to be whole."""
        return tuple(d for d in (*self.documents, *self.blobs) if d not in self.optional)


def read_facts(raw: bytes, media_type: str | None) -> DocumentFacts:
    """Decode a document; MalformedDocument for one that is not JSON, or contradicts itself.

    `media_type` is what it was announced as. Of a type that is not known, what looks like a
    descriptor in it counts as a blob.
    """
    fields = decode_object(raw, what="manifest", limit=DEFAULT_LIMITS.manifest_bytes)
    own = fields.get("mediaType")
    declared = media_type or (own if isinstance(own, str) else None)
    if declared is not None and not mediatype.is_document(declared):
        if isinstance(own, str) and own != declared:
            raise MalformedDocument(f"it says it is {quoted(own)}, not {quoted(declared)}")
        listed = list(descriptors_in(fields))
        return DocumentFacts(
            media_type=declared,
            size=len(raw),
            blobs=tuple(d.digest for d in listed),
            optional=frozenset(d.digest for d in listed),
        )
    document = parse_manifest(raw, declared)
    is_index = not isinstance(document, Manifest)
    listed_here = children(document)
    kind = document.artifact_type
    if isinstance(document, Manifest):
        kind = document.effective_artifact_type
    return DocumentFacts(
        media_type=document.media_type,
        size=len(raw),
        documents=tuple(child.digest for child, _ in listed_here) if is_index else (),
        blobs=() if is_index else tuple(child.digest for child, _ in listed_here),
        optional=frozenset(
            child.digest for child, absent in listed_here if absent and not is_index
        ),
        subject=document.subject.digest if document.subject is not None else None,
        artifact_type=kind,
        annotations=tuple(document.annotations.items()),
    )


class Documents:
    """Facts of documents by their digest, read when they are first asked for. Thread-safe."""

    def __init__(self, read: Callable[[Digest], bytes]) -> None:
        self._read = read
        self._known: dict[Digest, DocumentFacts | None] = {}
        self._lock = threading.Lock()

    def facts(self, digest: Digest, entry: Descriptor | None = None) -> DocumentFacts | None:
        """Return what a document says; None for one that is absent, damaged or not a document.

        `entry` is what index.json says about it, which counts where the document is silent.
        """
        known = self._known.get(digest)
        if known is not None:
            return known
        facts = self._facts(digest, None) or self._as_announced(digest, entry)
        if facts is not None:
            self.learn(digest, facts)
        return facts

    def _as_announced(self, digest: Digest, entry: Descriptor | None) -> DocumentFacts | None:
        if entry is None or not entry.media_type:
            return None
        return self._facts(digest, entry.media_type)

    def _facts(self, digest: Digest, media_type: str | None) -> DocumentFacts | None:
        try:
            return read_facts(self._read(digest), media_type)
        except OcitoolError:
            return None

    def learn(self, digest: Digest, facts: DocumentFacts) -> None:
        """Keep what is known of a document."""
        with self._lock:
            if len(self._known) >= _MOST:
                for old in list(self._known)[: _MOST // 2]:
                    del self._known[old]
            self._known[digest] = facts
