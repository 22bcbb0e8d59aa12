"""Taking the last sweep back, or making it final."""

import contextlib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.fsops import Directory
from ocitool.garbage.discarding import empty_runs
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_reachable
from ocitool.garbage.references import DescriptorRef
from ocitool.oci import Descriptor, Digest
from ocitool.oci.annotations import without_names
from ocitool.places.layout import Layout, NameChange, exclusive
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.index import IndexFile, entry_names, is_named
from ocitool.places.layout.pins import read_pins, write_pins
from ocitool.places.layout.trash import (
    TrashRun,
    blobs_of,
    forget_run,
    is_sound,
    last_run,
    open_run,
    remove_run,
    run_names,
)


class Undone(Struct, frozen=True, kw_only=True):
    """What came back of the run at `time` (RFC 3339 UTC).

    `kept` are names that mean something else now: their images came back without them. `lost` are
    images of which a part is gone or damaged: they stay in the trash, and can be undone once it is
    back.
    """

    time: str
    images: tuple[Digest, ...]
    blobs: int
    names: tuple[str, ...]
    kept: tuple[NameChange, ...]
    lost: tuple[Digest, ...]


def undo(layout: Layout) -> Undone:
    """Bring back what the last sweep took: blobs, entries, names that are free, pins.

    Every blob is hashed before. Atomic for names; it can be repeated after a crash. NotFound when
    nothing waits in the trash.
    """
    damaged = _find_damaged(layout)
    with exclusive(layout) as moment:
        run = last_run(moment.control)
        if run is None:
            raise NotFound(
                f"there is nothing to undo in {layout.path!r}",
                hint="the trash is empty: nothing was removed, or it was brought back or purged "
                "since; `ocitool reflog` lists what names meant before",
            )
        with _bring_back(layout, moment, run, damaged) as moved:
            whole, lost, reached = _split_whole(layout, run.entries)
            entries, names, kept = _merge_entries(moment.index, whole)
            changes = [NameChange(name=n, old=None, new=d) for n, d in names]
            moment.replace_index(moment.index.with_entries(entries), changes)
        _restore_pins(moment, run, {entry.digest for entry in whole})
        if lost:
            moved -= _keep_in_trash(layout, moment, run, lost, moved - reached)
        else:
            forget_run(moment.control, run.name)
            remove_run(moment.control, run.name)
    return Undone(
        time=run.time,
        images=tuple(dict.fromkeys(entry.digest for entry in whole)),
        blobs=len(moved),
        names=tuple(name for name, _ in names),
        kept=tuple(kept),
        lost=tuple(lost),
    )


def purge(layout: Layout) -> tuple[int, int]:
    """Empty the trash; return how many blobs went for good and the bytes that gave free."""
    with exclusive(layout) as moment:
        return empty_runs(moment.control, run_names(moment.control))


def _find_damaged(layout: Layout) -> set[Digest]:
    """Return what waits for `undo` and is not what its name says; outside of the lock."""
    run = last_run(layout.control) if layout.control is not None else None
    if layout.control is None or run is None:
        return set()
    found = set()
    # Another process may be bringing it back, or removing it for good.
    with contextlib.suppress(NotFound):
        for digest, folder in blobs_of(layout.control, run.name):
            with contextlib.suppress(NotFound):
                if not is_sound(folder, digest):
                    found.add(digest)
    return found


@contextlib.contextmanager
def _bring_back(
    layout: Layout, moment: Exclusive, run: TrashRun, damaged: AbstractSet[Digest]
) -> Iterator[set[Digest]]:
    """Move the blobs of a run back, durably, for the block; when that fails they return to it."""
    moved: list[Digest] = []
    before = moment.index
    try:
        for digest, folder in blobs_of(moment.control, run.name):
            if digest in damaged:
                continue
            target = layout.blob_folder(digest.algorithm, create=True)
            # Somebody may have stored it again meanwhile, and that one is in use.
            if target.size_of(digest.hex) is None:
                moved.append(digest)
                folder.move(digest.hex, target)
        for algorithm in sorted({digest.algorithm for digest in moved}):
            layout.blob_folder(algorithm).sync()
        yield set(moved)
    except BaseException:
        with contextlib.suppress(OcitoolError), open_run(moment.control, run.name) as trash:
            # It may have been put in place and only then have failed to be made durable.
            if layout.index() == before:
                _put_back(layout, trash, moved)
        raise


def _put_back(layout: Layout, trash: Directory, digests: Iterable[Digest]) -> None:
    for digest in digests:
        with (
            contextlib.suppress(NotFound),
            trash.subdirectory(digest.algorithm, create=True, lasting=False) as folder,
        ):
            layout.blob_folder(digest.algorithm).move(digest.hex, folder)


def _split_whole(
    layout: Layout, entries: Iterable[Descriptor]
) -> tuple[list[Descriptor], list[Digest], set[Digest]]:
    """Return the entries whose images are all there, the images that are not, and what the former
    lead to.
    """
    documents = StoredDocuments(layout, layout.listing().blobs)
    whole: list[Descriptor] = []
    lost: dict[Digest, None] = {}
    reached: set[str] = set()
    for entry in entries:
        found = Reachable()
        try:
            ref = DescriptorRef.to(entry, may_be_absent=False)
            mark_reachable(documents, [ref], found)
        except IntegrityError:
            lost[entry.digest] = None
        else:
            whole.append(entry)
            reached |= found.digests
    return whole, list(lost), {Digest.parse(digest) for digest in reached}


def _keep_in_trash(
    layout: Layout, moment: Exclusive, run: TrashRun, lost: Iterable[Digest], blobs: set[Digest]
) -> set[Digest]:
    """Leave the images that are not whole in the trash, with those blobs; return the blobs."""
    images = set(lost)
    rest = replace(
        run,
        entries=tuple(entry for entry in run.entries if entry.digest in images),
        pins=tuple(pin for pin in run.pins if pin.digest in images),
    )
    with open_run(moment.control, run.name) as folder:
        rest.write(folder)
        _put_back(layout, folder, blobs)
    return blobs


def _merge_entries(
    index: IndexFile, entries: Iterable[Descriptor]
) -> tuple[list[Descriptor], list[tuple[str, Digest]], list[NameChange]]:
    """Return index.json with the entries, the names that came back, and those that had moved."""
    merged = list(index.entries)
    meaning = {name: entry.digest for entry in merged for name in entry_names(entry)}
    names: list[tuple[str, Digest]] = []
    kept: list[NameChange] = []
    nameless: list[Descriptor] = []
    for entry in entries:
        if not is_named(entry):
            nameless.append(entry)
            continue
        name = entry_names(entry)[0]
        now = meaning.get(name)
        if now is None:
            merged.append(entry)
            names.append((name, entry.digest))
        elif now != entry.digest:
            kept.append(NameChange(name=name, old=entry.digest, new=now))
            nameless.append(_without_name(entry))
    present = {entry.digest for entry in merged}
    for entry in nameless:
        if entry.digest not in present:
            merged.append(entry)
            present.add(entry.digest)
    return merged, names, kept


def _without_name(entry: Descriptor) -> Descriptor:
    return replace(entry, annotations=without_names(entry.annotations))


def _restore_pins(moment: Exclusive, run: TrashRun, digests: set[Digest]) -> None:
    known = read_pins(moment.control)
    pinned = {pin.digest for pin in known}
    back = [pin for pin in run.pins if pin.digest in digests and pin.digest not in pinned]
    if back:
        write_pins(moment.control, [*known, *back])
