"""The roots of a layout, sorted by what they are: named, nameless, attached to something."""

from collections.abc import Iterable

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_reachable
from ocitool.garbage.references import DescriptorRef
from ocitool.image.attached import Content, subject_of
from ocitool.image.content import Root
from ocitool.image.entries import attach_entries, root_of
from ocitool.oci import Descriptor, Digest
from ocitool.oci.annotations import written_name
from ocitool.places.layout import Layout
from ocitool.places.layout.documents import stored_document
from ocitool.places.layout.index import entry_names, is_named


class RootEntry(Struct, frozen=True):
    """All entries of index.json for one digest. `position` is that of the first."""

    digest: str
    entries: tuple[Descriptor, ...]
    position: int

    @property
    def ref(self) -> DescriptorRef:
        """The reference that leads to it."""
        return DescriptorRef.to(self.entries[0], may_be_absent=False)

    @property
    def refs(self) -> list[DescriptorRef]:
        """One reference for each entry: of two entries for one digest, one may lie."""
        return [DescriptorRef.to(entry, may_be_absent=False) for entry in self.entries]

    @property
    def is_named(self) -> bool:
        """Whether it has a name of any kind."""
        return any(is_named(entry) for entry in self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """What its entries are called, each once."""
        found = [entry_names(entry)[0] for entry in self.entries if is_named(entry)]
        return tuple(dict.fromkeys(found))

    @property
    def root(self) -> Root:
        """The same as other parts of ocitool know it."""
        return root_of(self.entries)


def root_entries(entries: Iterable[Descriptor]) -> dict[str, RootEntry]:
    """Return the roots of an index.json by their digest, in its order."""
    grouped: dict[Digest, list[Descriptor]] = {}
    for entry in attach_entries(tuple(entries)):
        grouped.setdefault(entry.digest, []).append(entry)
    return {
        str(digest): RootEntry(str(digest), tuple(members), position)
        for position, (digest, members) in enumerate(grouped.items())
    }


def unlisted_images(
    layout: Layout, documents: StoredDocuments, digests: Iterable[str]
) -> tuple[Descriptor, ...]:
    """Return the whole images that only the reflog knows: another tool removed their entries.

    `digests` are those that lost a name. What is an artifact, or is not whole, is not among them.
    """
    listed = {entry.digest for entry in layout.index().entries}
    found = []
    for text in digests:
        if text in documents.present and Digest.parse(text) not in listed:
            stored = stored_document(layout, Digest.parse(text))
            if stored is not None and stored[1].is_image and _is_whole(documents, stored[0]):
                found.append(stored[0])
    return tuple(found)


def _is_whole(documents: StoredDocuments, descriptor: Descriptor) -> bool:
    try:
        ref = DescriptorRef.to(descriptor, may_be_absent=False)
        mark_reachable(documents, [ref], Reachable())
    except (IntegrityError, NotFound):
        return False
    return True


def root_subject(root: RootEntry, documents: StoredDocuments, *, named: bool = True) -> str | None:
    """Return what a root is attached to, or None; not `named` leaves its names out of account."""

    def read() -> Content | None:
        document = documents.find(root.ref)
        return Content(document.subject, document.is_image) if document is not None else None

    # The tag decides, which needs no parsing: most of 10,000 roots have a name.
    names = [name for entry in root.entries if (name := written_name(entry.annotations))]
    if names and named:
        return subject_of({}, names, read)
    annotations = {key: value for entry in root.entries for key, value in entry.annotations.items()}
    return subject_of(annotations, (), read)
