"""Removing images by their names: first the name, durably; then what nothing else needs.

What is removed waits in the trash, as after a garbage collection. A blob is removed only when no
entry of index.json reaches it and no running command claims it.
"""

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from ocitool.containers.uses import ContainerUse, containers_by_image, describe_uses
from ocitool.errors import NotFound, Refused
from ocitool.garbage.discarding import Discarded, discard, empty_runs
from ocitool.garbage.partition import Partition
from ocitool.garbage.reachable import (
    Reachable,
    StoredDocuments,
    mark_arrived,
    refuse_missing_documents,
)
from ocitool.garbage.roots import root_entries, root_subject
from ocitool.images.lookup import Found
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout, NameChange, exclusive
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.index import IndexFile, drop_name, entry_names, is_named, separate_names
from ocitool.places.layout.lease import claimed_digests
from ocitool.places.layout.pins import Pin, read_pins
from ocitool.places.layout.trash import run_names


class Removal(Struct, frozen=True, kw_only=True):
    """What was removed: names, images (their root digests) and blobs.

    `waiting` bytes of them are in the trash; `freed` ones of an earlier run were given to the disk.
    """

    dropped: tuple[NameChange, ...]
    images: tuple[Digest, ...]
    blobs: tuple[Digest, ...] = ()
    freed: int = 0
    waiting: int = 0


def remove(
    layout: Layout,
    found: Iterable[Found],
    *,
    force: bool = False,
    uses: Iterable[ContainerUse] = (),
) -> Removal:
    """Drop names, and with its last name an image and what only it holds.

    An image that was given by its ID loses all its names; with more than one that needs `force`,
    else Refused. So does an image that is pinned, or that one of the containers `uses` needs,
    when its last name is removed; if such a container runs, `force` does not help. What is attached
    to a removed image is removed with it. When anything that stays cannot be read, nothing is
    deleted.
    """
    targets = list(found)
    for target in targets:
        _refuse_several_names(target, force=force)
    # What stays is marked before the lock is taken; under it only what is new is marked.
    before, kept = layout.index(), Reachable()
    documents = StoredDocuments(layout, layout.listing().blobs)
    holders = containers_by_image(layout, uses)
    after, _, nameless = _drop_names(before, targets, layout)
    _select(documents, after, nameless, kept)
    with exclusive(layout) as moment:
        after, dropped, nameless = _drop_names(moment.index, targets, layout)
        if moment.index != before:
            documents = StoredDocuments(layout, layout.listing().blobs)
        mark_arrived(layout, kept)
        to_remove, contents = _select(documents, after, nameless, kept)
        _refuse_running(to_remove, holders)
        if not force:
            _refuse_held(to_remove, read_pins(moment.control), holders)
        moment.make_room()
        if not to_remove:
            moment.replace_index(after, dropped)
            return Removal(dropped=tuple(dropped), images=())
        return _discard(layout, moment, after, dropped, to_remove, contents, kept)


def _discard(
    layout: Layout,
    moment: Exclusive,
    index: IndexFile,
    dropped: Sequence[NameChange],
    to_remove: Collection[Digest],
    contents: AbstractSet[str],
    kept: Reachable,
) -> Removal:
    """Move the images to the trash. `dropped` are the names that `index` has lost before."""
    entries = [entry for entry in index.entries if entry.digest in to_remove]
    changes = [
        *dropped,
        *(
            NameChange(name=entry_names(entry)[0], old=entry.digest, new=None)
            for entry in entries
            if is_named(entry)
        ),
    ]
    unneeded = {Digest.parse(d) for d in contents - kept.digests}
    unneeded -= claimed_digests(moment.control)
    sizes = {d: s for d in sorted(unneeded) if (s := layout.blob_size(d)) is not None}
    what = Discarded(
        entries=[entry for entry in moment.index.entries if entry.digest in to_remove],
        needs=contents,
        index=index.with_entries(e for e in index.entries if e.digest not in to_remove),
        changes=changes,
        blobs=tuple(sizes),
    )
    earlier = run_names(moment.control)
    discard(layout, moment, what, dt.datetime.now(dt.UTC))
    _, freed = empty_runs(moment.control, earlier)
    return Removal(
        dropped=tuple(changes),
        images=tuple(to_remove),
        blobs=tuple(sizes),
        freed=freed,
        waiting=sum(sizes.values()),
    )


def _refuse_several_names(target: Found, *, force: bool) -> None:
    if target.whole is not None:
        names = ", ".join(map(familiar, target.whole.names)) or str(target.whole.descriptor.digest)
        raise Refused(
            f"image {target.root.descriptor.digest.short} is one platform of {names}",
            hint="remove that whole image by its name, or keep both",
        )
    if target.name is None and len(target.root.names) > 1 and not force:
        raise Refused(
            f"image {target.root.descriptor.digest.short} has several names: "
            f"{', '.join(map(familiar, target.root.names))}",
            hint="remove one name, or use --force to remove them all",
        )


def _refuse_running(
    to_remove: Iterable[Digest], holders: Mapping[Digest, tuple[ContainerUse, ...]]
) -> None:
    for digest in to_remove:
        running = [use for use in holders.get(digest, ()) if use.state == "running"]
        if running:
            raise Refused(
                f"image {digest.short} is in use by {describe_uses(running)}",
                hint="stop the container and remove it first; --force does not remove the image "
                "of a running container",
            )


def _refuse_held(
    to_remove: Iterable[Digest],
    pins: Iterable[Pin],
    holders: Mapping[Digest, tuple[ContainerUse, ...]],
) -> None:
    now = dt.datetime.now(dt.UTC)
    pinned = {pin.digest: pin for pin in pins if pin.holds(now)}
    for digest in to_remove:
        if digest in holders:
            raise Refused(
                f"image {digest.short} is in use by {describe_uses(holders[digest])}",
                hint="remove the container first, or use --force",
            )
        if digest in pinned:
            reason = pinned[digest].reason
            raise Refused(
                f"image {digest.short} is pinned" + (f": {reason}" if reason else ""),
                hint="drop the pin with `ocitool unpin`, or use --force",
            )


def _drop_names(
    index: IndexFile, targets: list[Found], layout: Layout
) -> tuple[IndexFile, list[NameChange], list[Digest]]:
    """Return the index without the names, which names went, and which images lost the last."""
    entries = index.entries
    dropped: list[NameChange] = []
    nameless: dict[Digest, None] = {}
    for target in targets:
        digest = target.root.descriptor.digest
        for name in [target.name] if target.name else _all_names(entries, digest):
            entries, changes = drop_name(entries, name)
            if not changes:
                raise NotFound(f"there is no image {familiar(name)!r} in {layout.path!r}")
            dropped += changes
            # The name may have moved since it was looked up; what it names now is meant.
            digest = changes[-1].old or digest
        if not _all_names(entries, digest):
            nameless[digest] = None
    return index.with_entries(entries), dropped, list(nameless)


def _all_names(entries: Iterable[Descriptor], digest: Digest) -> list[str]:
    names = (separate_names(entry) for entry in entries if entry.digest == digest)
    return list(dict.fromkeys(itertools.chain.from_iterable(names)))


def _select(
    documents: StoredDocuments, index: IndexFile, nameless: Iterable[Digest], kept: Reachable
) -> tuple[dict[Digest, None], AbstractSet[str]]:
    """Return the roots to remove, attached artifacts included, and all digests that they contain.

    What stays is added to `kept`.
    """
    roots = root_entries(index.entries)
    to_remove = [text for digest in nameless if (text := str(digest)) in roots]
    others = {digest: root for digest, root in roots.items() if digest not in to_remove}
    attached = {
        digest: subject
        for digest, root in others.items()
        if (subject := root_subject(root, documents)) is not None
    }
    partition = Partition(documents, roots, kept, refuse_missing_documents)
    partition.keep(digest for digest in others if digest not in attached)
    partition.remove(to_remove)
    to_remove += partition.decide_attached(attached)
    contents = frozenset[str]().union(*partition.contents.values())
    return {Digest.parse(d): None for d in to_remove}, contents
