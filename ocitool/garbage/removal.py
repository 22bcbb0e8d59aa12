"""Removing images: first the name, durably; then what nothing else needs.

A blob is deleted only when no entry of index.json reaches it and no running command claims it.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from ocitool.containers import ContainerUse, containers_by_image, describe_uses
from ocitool.errors import NotFound, Refused
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
from ocitool.places.layout.index import IndexFile, drop_name, entry_names, is_named
from ocitool.places.layout.pins import Pin, read_pins, write_pins


class Removal(Struct, frozen=True, kw_only=True):
    """What was removed: names, images (their root digests), blobs, and the bytes freed."""

    dropped: tuple[NameChange, ...]
    images: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    freed: int


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
        dropped += _drop_entries(moment, after, to_remove, dropped)
        blobs, freed = moment.delete(contents)
    return Removal(dropped=tuple(dropped), images=tuple(to_remove), blobs=tuple(blobs), freed=freed)


def _drop_entries(
    moment: Exclusive,
    index: IndexFile,
    to_remove: Collection[Digest],
    dropped: Sequence[NameChange],
) -> list[NameChange]:
    """Write an index without some roots, and unpin them; return which names they still had.

    `dropped` are the names that the index lost before.
    """
    changes = [
        NameChange(name=entry_names(entry)[0], old=entry.digest, new=None)
        for entry in index.entries
        if entry.digest in to_remove and is_named(entry)
    ]
    entries = [entry for entry in index.entries if entry.digest not in to_remove]
    pins = read_pins(moment.control)
    moment.make_room()
    moment.replace_index(index.with_entries(entries), [*dropped, *changes])
    if any(pin.digest in to_remove for pin in pins):
        write_pins(moment.control, [pin for pin in pins if pin.digest not in to_remove])
    return changes


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
    return [
        entry_names(entry)[0] for entry in entries if entry.digest == digest and is_named(entry)
    ]


def _select(
    documents: StoredDocuments, index: IndexFile, nameless: Iterable[Digest], kept: Reachable
) -> tuple[dict[Digest, None], set[Digest]]:
    """Return the roots to remove, attached artifacts included, and the blobs that only they need.

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
    contents = set[str]().union(*partition.contents.values()) - kept.digests
    return {Digest.parse(d): None for d in to_remove}, {Digest.parse(d) for d in contents}
