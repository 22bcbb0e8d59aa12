"""The roots of a layout, sorted by what they are: named, nameless, attached to something."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.garbage.reachable import StoredDocuments
from ocitool.garbage.references import DescriptorRef
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest
from ocitool.oci.annotations import SUBJECT, full_name, label
from ocitool.places.layout.index import entry_names, is_named

# distribution-spec, "Referrers Tag Schema"; the endings are cosign's.
_ATTACHED_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(?:\.(?:sig|att|sbom))?")


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
        names = [name for e in self.entries if (name := full_name(e.annotations)) is not None]
        labels = [text for e in self.entries if (text := label(e.annotations)) is not None]
        return Root(
            descriptor=self.entries[0],
            names=tuple(dict.fromkeys(names)),
            label=labels[0] if labels and not names else None,
        )


def root_entries(entries: Iterable[Descriptor]) -> dict[str, RootEntry]:
    """Return the roots of an index.json by their digest, in its order."""
    grouped: dict[Digest, list[Descriptor]] = {}
    for entry in entries:
        grouped.setdefault(entry.digest, []).append(entry)
    return {
        str(digest): RootEntry(str(digest), tuple(members), position)
        for position, (digest, members) in enumerate(grouped.items())
    }


def subject_by_name(root: RootEntry) -> str | None:
    """Return what a root is attached to by the tags that clients keep for that, or None.

    Of a sha512 digest such a tag holds only the first 64 digits.
    """
    subjects = set()
    for entry in root.entries:
        name = label(entry.annotations) or ""
        found = _ATTACHED_TAG.fullmatch(name.rpartition(":")[2])
        subjects.add(f"{found[1]}:{found[2]}" if found is not None else None)
    return subjects.pop() if len(subjects) == 1 else None


def subject_by_content(root: RootEntry, documents: StoredDocuments) -> str | None:
    """Return what a root is attached to by its annotation or its manifest, or None."""
    for entry in root.entries:
        text = entry.annotations.get(SUBJECT)
        if text:
            try:
                return str(Digest.parse(text))
            except OcitoolError:
                continue
    document = documents.find(root.ref)
    return document.subject if document is not None else None


def root_subject(root: RootEntry, documents: StoredDocuments) -> str | None:
    """Return what a root is attached to, or None: by its tags if it has names, else by content."""
    return subject_by_name(root) if root.is_named else subject_by_content(root, documents)


def is_in(subject: str, digests: AbstractSet[str]) -> bool:
    """Tell whether a subject is among digests; that of a tag may be cut."""
    if subject in digests:
        return True
    if subject.startswith("sha512:") and len(subject) < len("sha512:") + 128:
        return any(digest.startswith(subject) for digest in digests)
    return False
