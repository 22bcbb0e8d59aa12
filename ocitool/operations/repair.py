"""Repair a layout without losing a name, an image or a blob.

A blob that does not match its digest is moved to `.ocitool/quarantine/`. Missing blobs are then
fetched from other places and verified, so that only the same bytes can replace them.
"""

import time
from collections.abc import Sequence

from msgspec import Struct

from ocitool.containers.staging import clear_leftovers
from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.events import Observer
from ocitool.image.content import Blob, Source
from ocitool.image.graph import Visit, children, read_document, read_unknown, unlisted, walk
from ocitool.oci import Descriptor, Digest, mediatype
from ocitool.operations.hashing import Problem
from ocitool.operations.rebuild import Rebuilt
from ocitool.operations.verify import VerifyReport, verify
from ocitool.places.layout import Layout, Writing, exclusive
from ocitool.places.layout.leftovers import clear, leftovers
from ocitool.places.layout.quarantine import SetAside, quarantined_digests, set_aside


class RepairReport(Struct, frozen=True, kw_only=True):
    """What was wrong, what was done, and what is left.

    `fetched` came from other places. `lost` are blobs that were set aside, are needed and were not
    found elsewhere. `leftovers` counts what killed commands had left. `after` is the state now.
    `rebuilt` is metadata of the store that was made again before; names may be lost with it.
    """

    before: tuple[Problem, ...]
    aside: tuple[SetAside, ...]
    fetched: tuple[Digest, ...]
    lost: tuple[Digest, ...]
    leftovers: int
    after: VerifyReport
    rebuilt: Rebuilt | None = None

    @property
    def sound(self) -> bool:
        """Tell whether nothing is damaged or lost any more."""
        names_lost = self.rebuilt is not None and self.rebuilt.lost
        return self.after.sound and not (self.lost or names_lost)


def repair(
    layout: Layout,
    sources: Sequence[Source] = (),
    *,
    observer: Observer | None = None,
    now: float | None = None,
) -> RepairReport:
    """Check a layout, set aside what is damaged, and fetch again what is missing.

    Idempotent. Sources are asked in their order; one that does not have a blob, or has it damaged
    too, is skipped. Raises MalformedDocument for an index.json that cannot be read, and what
    the sources raise when they cannot be reached; what was fetched before is kept.
    """
    removed = _clear(layout, time.time() if now is None else now)
    before = verify(layout, observer=observer)
    aside = set_aside(layout, _suspects(before))
    fetched, lost = _fetch(layout, sources, observer or Observer())
    changed = aside or fetched
    return RepairReport(
        before=before.problems,
        aside=tuple(aside),
        fetched=tuple(fetched),
        lost=tuple(lost),
        leftovers=removed,
        after=verify(layout, observer=observer) if changed else before,
    )


def _clear(layout: Layout, now: float) -> int:
    """Remove what killed commands left; return the number of items removed."""
    removed = clear_leftovers(layout)
    found = leftovers(layout, layout.listing().odd, now)
    if found:
        with exclusive(layout):
            removed += clear(layout, found, now)[0]
    return removed


def _suspects(report: VerifyReport) -> list[Digest]:
    """Return the digests of the blobs that a report finds damaged."""
    found: dict[Digest, None] = {}
    for problem in report.problems:
        if problem.kind in ("incomplete", "name"):
            continue
        text = problem.subject.removeprefix("blobs/").replace("/", ":", 1)
        try:
            found[Digest.parse(text)] = None
        except IntegrityError:
            continue
    return list(found)


def _fetch(
    layout: Layout, sources: Sequence[Source], observer: Observer
) -> tuple[list[Digest], list[Digest]]:
    """Fetch missing blobs from the sources; return those, and set-aside ones not found there.

    A fetched document may list more missing blobs, so this fetches while it walks. A child of an
    index is fetched only if it was set aside; if it was never here, the index is sparse.
    """
    known = quarantined_digests(layout)
    fetched: list[Digest] = []
    lost: list[Digest] = []

    def read(visit: Visit[Descriptor]) -> list[tuple[Descriptor, bool]]:
        descriptor = visit.node
        if visit.may_be_absent and not _was_here(layout, descriptor, known):
            return []
        if not layout.has(descriptor):
            if not _fetch_blob(writing, sources, descriptor, observer):
                raise NotFound(f"blob {descriptor.digest} is missing")
            fetched.append(descriptor.digest)
        return _listed_in(layout, visit)

    def miss(visit: Visit[Descriptor], _error: NotFound) -> None:
        if visit.node.digest in known:
            lost.append(visit.node.digest)

    with Writing(layout, keep=True) as writing:
        for _ in walk(read, layout.index().entries, miss):
            pass
    return fetched, list(dict.fromkeys(lost))


def _was_here(layout: Layout, descriptor: Descriptor, known: set[Digest]) -> bool:
    return descriptor.digest in known or layout.has(descriptor)


def _fetch_blob(
    writing: Writing, sources: Sequence[Source], descriptor: Descriptor, observer: Observer
) -> bool:
    writing.announce([descriptor])
    for source in sources:

        def open_blob(source: Source = source) -> Blob:
            return source.open(descriptor).watched(observer.advance)

        try:
            writing.put(descriptor, open_blob)
        except (NotFound, IntegrityError):
            continue
        return True
    return False


def _listed_in(layout: Layout, visit: Visit[Descriptor]) -> list[tuple[Descriptor, bool]]:
    """Return what a blob lists, and whether each may be absent; nothing if it is damaged."""
    try:
        if mediatype.is_document(visit.node.media_type):
            document = read_document(layout, visit.node)
            return children(document) + [(found, True) for found in unlisted(document)]
        if visit.depth == 0 or visit.may_be_absent:
            return [(found, True) for found in read_unknown(layout, visit.node)]
    except OcitoolError:
        pass
    return []
