"""Doing what a plan says, as far as it still holds: names first, durably, then blobs."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, field

from ocitool.containers.staging import clear_leftovers, leftovers_of_containers
from ocitool.containers.uses import ContainerUse, containers_by_image
from ocitool.errors import IntegrityError
from ocitool.fsops import Directory
from ocitool.garbage.discarding import Discarded, discard, discard_blobs, empty_runs
from ocitool.garbage.planned import GarbageBlob, GarbageImage, Plan
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_arrived, mark_reachable
from ocitool.garbage.roots import RootEntry
from ocitool.image.attached import is_in
from ocitool.oci import Digest
from ocitool.places.layout import Layout, NameChange, exclusive
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.index import entry_names, is_named
from ocitool.places.layout.lease import claimed_digests
from ocitool.places.layout.leftovers import clear
from ocitool.places.layout.pins import Pin, read_pins
from ocitool.places.layout.trash import last_run, run_names

AskAgain = Callable[[], Iterable[ContainerUse]]


class Swept(Struct, frozen=True, kw_only=True):
    """What went. `waiting` bytes can still come back, `freed` ones were given to the disk.

    `spared` is how much of the plan was no garbage any more; `emptied` are blobs of an earlier run
    that went for good.
    """

    images: tuple[GarbageImage, ...]
    blobs: tuple[Digest, ...]
    dropped: tuple[NameChange, ...]
    leftovers: int
    waiting: int
    freed: int
    emptied: int
    spared: int


class _Remaining(Struct):
    """What is garbage now, of what was planned."""

    images: list[GarbageImage] = field(default_factory=list)
    blobs: list[GarbageBlob] = field(default_factory=list)


def sweep(layout: Layout, plan: Plan, *, now: float, ask_again: AskAgain | None = None) -> Swept:
    """Remove what was planned and is still garbage; it waits in the trash to be undone.

    Under the layout's lock index.json, leases and pins are looked at again, and the containers
    when `ask_again` is given. Errors are those of `plan`; then nothing was removed.
    """
    moment_of_run = dt.datetime.fromtimestamp(now, dt.UTC)
    with exclusive(layout) as moment:
        still = _check_again(layout, plan, moment, now, ask_again)
        earlier = run_names(moment.control)
        dropped: list[NameChange] = []
        if still.images or still.blobs:
            moment.make_room()
            dropped = _discard(layout, plan, moment, still, moment_of_run)
        if not still.images:
            earlier = _finished_runs(moment.control, earlier, moment_of_run)
        leftovers, freed = clear(layout, plan.leftovers, now)
        emptied, emptied_size = empty_runs(moment.control, earlier)
    # It takes the lock itself, and what takes long happens after that.
    before = leftovers_of_containers(layout)
    if before:
        leftovers += clear_leftovers(layout)
        freed += sum(one.size for one in before)
        freed -= sum(one.size for one in leftovers_of_containers(layout))
    return Swept(
        images=tuple(still.images),
        blobs=tuple(blob.digest for blob in still.blobs),
        dropped=tuple(dropped),
        leftovers=leftovers,
        waiting=sum(blob.size for blob in still.blobs),
        freed=freed + emptied_size,
        emptied=emptied,
        spared=len(plan.images) + len(plan.blobs) - len(still.images) - len(still.blobs),
    )


def _finished_runs(control: Directory, names: Sequence[str], now: dt.datetime) -> list[str]:
    try:
        last = last_run(control)
    except IntegrityError:
        # Somebody may still mend it.
        return []
    return [name for name in names if last is None or name != last.name or last.is_over(now)]


def _check_again(
    layout: Layout, plan: Plan, moment: Exclusive, now: float, ask_again: AskAgain | None
) -> _Remaining:
    pins = read_pins(moment.control)
    claimed = {str(digest) for digest in claimed_digests(moment.control)}
    held = _find_held(layout, plan, pins, now, ask_again)
    roots = plan.facts.roots(moment.index)
    before = plan.facts.roots(plan.facts.index)
    to_remove = {
        str(image.digest): image
        for image in plan.images
        if _is_as_planned(str(image.digest), before, roots)
        and str(image.digest) not in claimed
        and image.digest not in held
    }
    reachable = plan.facts.reachable.copy()
    if len(to_remove) < len(plan.images) or moment.index != plan.facts.index:
        _mark_again(layout, roots, to_remove, reachable)
    mark_arrived(layout, reachable)
    _spare_attached(layout, plan, roots, to_remove, reachable)
    blobs = [
        blob
        for blob in plan.blobs
        if str(blob.digest) not in reachable.digests
        and str(blob.digest) not in claimed
        and not _is_young(layout, plan, blob, now)
    ]
    return _Remaining(list(to_remove.values()), blobs)


def _is_as_planned(digest: str, before: dict[str, RootEntry], after: dict[str, RootEntry]) -> bool:
    return digest in after and set(after[digest].names) <= set(before[digest].names)


def _find_held(
    layout: Layout, plan: Plan, pins: Iterable[Pin], now: float, ask_again: AskAgain | None
) -> set[Digest]:
    """Return the images that a pin holds now, or a container that was not there before."""
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    held = {pin.digest for pin in pins if pin.holds(at)}
    if ask_again is not None:
        fresh = set(ask_again()) - set(plan.facts.uses)
        held |= containers_by_image(layout, fresh).keys() if fresh else set()
    return held


def _mark_again(
    layout: Layout,
    roots: dict[str, RootEntry],
    to_remove: dict[str, GarbageImage],
    reachable: Reachable,
) -> None:
    kept = [ref for digest, root in roots.items() if digest not in to_remove for ref in root.refs]
    mark_reachable(StoredDocuments(layout, layout.listing().blobs), kept, reachable)


def _spare_attached(
    layout: Layout,
    plan: Plan,
    roots: dict[str, RootEntry],
    to_remove: dict[str, GarbageImage],
    reachable: Reachable,
) -> None:
    """Let what is attached to an image that stays after all stay with it."""
    subjects = plan.facts.subjects
    while spared := [
        digest
        for digest in to_remove
        if digest in subjects and is_in(subjects[digest], reachable.digests)
    ]:
        for digest in spared:
            del to_remove[digest]
        _mark_again(layout, roots, to_remove, reachable)


def _is_young(layout: Layout, plan: Plan, blob: GarbageBlob, now: float) -> bool:
    stray = blob.image is None and str(blob.digest) not in plan.facts.unfinished
    grace = plan.choice.grace_in(is_store=layout.is_store, stray=stray)
    if grace <= 0:
        return False
    modified = layout.blob_folder(blob.digest.algorithm).modified(blob.digest.hex)
    return modified is None or modified > now - grace


def _discard(
    layout: Layout, plan: Plan, moment: Exclusive, still: _Remaining, now: dt.datetime
) -> list[NameChange]:
    """Move what is garbage to the trash; return which names were removed."""
    blobs = [blob.digest for blob in still.blobs]
    if not still.images:
        discard_blobs(layout, moment, blobs, now)
        return []
    removed = {image.digest for image in still.images}
    entries = [entry for entry in plan.facts.entries(moment.index) if entry.digest in removed]
    changes = [
        NameChange(name=entry_names(entry)[0], old=entry.digest, new=None)
        for entry in entries
        if is_named(entry)
    ]
    rest = [entry for entry in moment.index.entries if entry.digest not in removed]
    what = Discarded(
        entries=entries,
        needs=set().union(*(plan.facts.contents[str(digest)] for digest in removed)),
        index=moment.index.with_entries(rest),
        changes=changes,
        blobs=blobs,
    )
    discard(layout, moment, what, now)
    return changes
