"""What is reached from some roots, over a whole layout, with every manifest verified again.

Digests are texts here: there may be a hundred thousand of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.garbage.references import DescriptorRef, Document, read_references
from ocitool.image.graph import Visit, walk
from ocitool.oci import Digest, mediatype
from ocitool.places.layout import Layout

_STOPPED = "garbage cannot be told from it"
_REPAIR = "`ocitool verify` lists the damage; load or pull that image again, or `ocitool rm` it"


class Reachable(Struct):
    """What was reached: all digests, the documents whose children were followed, what was absent.

    `found_by` says which document led to each digest first; it is filled only when paths are asked
    for.
    """

    digests: set[str] = field(default_factory=set)
    documents: dict[str, Document] = field(default_factory=dict)
    absent: dict[str, DescriptorRef] = field(default_factory=dict)
    found_by: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "Reachable":
        """Return a copy to which more can be added while this stays as it is."""
        return Reachable(
            set(self.digests), dict(self.documents), dict(self.absent), dict(self.found_by)
        )


class StoredDocuments:
    """The documents of a layout whose blobs were listed before, each read once. Not thread-safe.

    `present` are the digests that were listed: what is not among them is absent.
    """

    def __init__(self, layout: Layout, present: AbstractSet[str]) -> None:
        self.present = present
        self._layout = layout
        self._known: dict[str, Document | None] = {}

    def read(self, ref: DescriptorRef) -> Document | None:
        """Return what a blob leads to; None when it is not a document.

        NotFound when it is absent, IntegrityError when it is damaged.
        """
        if ref.digest not in self.present:
            raise NotFound(f"blob {ref.digest} is missing from {self._layout.path!r}")
        known = self._known
        if ref.digest not in known:
            known[ref.digest] = read_references(self._layout, ref)
        return known[ref.digest]

    def find(self, ref: DescriptorRef) -> Document | None:
        """Return what a blob leads to; None also when it cannot be read."""
        try:
            return self.read(ref)
        except OcitoolError:
            return None


OnMissing = Callable[[Visit[DescriptorRef], NotFound], None]


def refuse_missing(visit: Visit[DescriptorRef], error: NotFound) -> None:
    """Raise IntegrityError: an image needs what is missing, so garbage cannot be told from it."""
    message = f"blob {visit.node.digest} is missing, and an image needs it; {_STOPPED}"
    raise IntegrityError(message, hint=_REPAIR) from error


def refuse_missing_documents(visit: Visit[DescriptorRef], error: NotFound) -> None:
    """Raise NotFound for a manifest: what it names is not known. A missing layer names nothing."""
    if visit.depth == 0 or mediatype.is_document(visit.node.media_type):
        raise NotFound(f"{error.message}; {_STOPPED}", hint=_REPAIR) from error


def mark_reachable(
    documents: StoredDocuments,
    roots: Iterable[DescriptorRef],
    reachable: Reachable,
    on_missing: OnMissing = refuse_missing,
    *,
    paths: bool = False,
) -> None:
    """Add everything under some roots to what is reachable.

    `on_missing` says what to do about a blob that must not be absent. IntegrityError for a damaged
    document. With `paths` it is noted which document led to each digest.
    """
    _mark(_Reader(documents, reachable, paths=paths), roots, on_missing)


def mark_readable(
    documents: StoredDocuments,
    roots: Iterable[DescriptorRef],
    reachable: Reachable,
    *,
    paths: bool = False,
) -> None:
    """Add what is found under some roots; what is absent or cannot be read leads nowhere."""
    reader = _Reader(documents, reachable, tolerant=True, paths=paths)
    _mark(reader, roots, lambda visit, _: reader.note_absent(visit.node))


def mark_arrived(layout: Layout, reachable: Reachable) -> None:
    """Add what lies under blobs that were absent when they were reached and are stored now."""
    absent = reachable.absent.values()
    arrived = [ref for ref in absent if layout.blob_size(Digest.parse(ref.digest)) is not None]
    if arrived:
        mark_readable(StoredDocuments(layout, layout.listing().blobs), arrived, reachable)


def _mark(reader: "_Reader", roots: Iterable[DescriptorRef], on_missing: OnMissing) -> None:
    def miss(visit: Visit[DescriptorRef], error: NotFound) -> None:
        if visit.may_be_absent:
            reader.note_absent(visit.node)
        else:
            on_missing(visit, error)

    for _ in walk(reader.read, roots, miss):
        pass


class _Reader:
    """Notes what a walk meets, and reads documents for it."""

    def __init__(
        self,
        documents: StoredDocuments,
        reachable: Reachable,
        *,
        tolerant: bool = False,
        paths: bool = False,
    ) -> None:
        self._reachable = reachable
        self._documents = documents
        self._tolerant = tolerant
        self._paths = paths

    def read(self, visit: Visit[DescriptorRef]) -> Sequence[tuple[DescriptorRef, bool]]:
        ref, reachable = visit.node, self._reachable
        reachable.digests.add(ref.digest)
        if ref.digest in reachable.documents:
            return ()
        document = self._document(visit)
        if document is None:
            return ()
        reachable.documents[ref.digest] = document
        if self._paths:
            for digest in (*document.leaves, *(child.digest for child in document.references)):
                reachable.found_by.setdefault(digest, ref.digest)
        present, digests = self._documents.present, reachable.digests
        listed = [(child, child.may_be_absent) for child in document.references]
        for digest in document.leaves:
            # Most need no visit of their own.
            if digest in present:
                digests.add(digest)
            else:
                listed.append((DescriptorRef("", digest, 0, False), False))
        return listed

    def note_absent(self, ref: DescriptorRef) -> None:
        self._reachable.absent[ref.digest] = ref

    def _document(self, visit: Visit[DescriptorRef]) -> Document | None:
        ref = visit.node
        # What an index lists, or nothing says what it is, may be a document of an unknown type.
        may_be_document = visit.depth == 0 or visit.may_be_absent
        if not (may_be_document or mediatype.is_document(ref.media_type)):
            if ref.digest not in self._documents.present:
                raise NotFound(f"blob {ref.digest} is missing")
            return None
        try:
            return self._documents.read(ref)
        except NotFound:
            raise
        except IntegrityError as error:
            if self._tolerant:
                return None
            hint = error.hint or _REPAIR
            raise type(error)(f"{error.message}; {_STOPPED}", hint=hint) from error
        except OcitoolError:
            if self._tolerant:
                return None
            raise


def path_to(digest: str, found_by: Mapping[str, str]) -> list[str]:
    """Return the digests that lead from a root to a digest, both included."""
    path = [digest]
    while (parent := found_by.get(path[-1])) is not None and parent not in path:
        path.append(parent)
    return path[::-1]
