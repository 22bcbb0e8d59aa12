"""What a layout keeps of itself: records that keep images, and what its index.json leads to."""

from collections.abc import Callable, Iterator

from ocitool.containers.records import containers
from ocitool.errors import IntegrityError, Refused
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_readable
from ocitool.garbage.references import DescriptorRef
from ocitool.operations.hashing import Problem
from ocitool.places.layout import Layout
from ocitool.places.layout.trash import last_run


def reachable_digests(layout: Layout) -> set[str]:
    """Return all that `gc` keeps for the entries of index.json, documents of any type followed."""
    found = Reachable()
    documents = StoredDocuments(layout, layout.listing().blobs)
    entries = layout.index().entries
    mark_readable(documents, [DescriptorRef.to(e, may_be_absent=False) for e in entries], found)
    return found.digests


def unreadable_records(layout: Layout) -> Iterator[Problem]:
    """Yield the records of a layout that cannot be read: each of them keeps images."""
    readers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("pins", layout.pins),
        ("containers", lambda: containers(layout)),
        ("trash", lambda: layout.control is not None and last_run(layout.control)),
    )
    for subject, read in readers:
        try:
            read()
        except (IntegrityError, Refused) as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            yield Problem(kind="record", subject=subject, message=message)
