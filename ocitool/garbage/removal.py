"""Removing images: first the name, durably; then what nothing else needs.

A blob is deleted only when no entry of index.json reaches it and no running command claims it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping

from msgspec import Struct

from ocitool.containers import ContainerUse, containers_by_image, describe_uses
from ocitool.errors import NotFound, OcitoolError, Refused
from ocitool.image.content import Root
from ocitool.image.graph import Reached, reach, root_subject
from ocitool.images.lookup import Found
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout, NameChange, exclusive
from ocitool.places.layout.index import IndexFile, drop_name, entry_names, is_named
from ocitool.places.layout.pins import Pin, read_pins, write_pins


class Removal(Struct, frozen=True, kw_only=True):
    """What went: names, images (their root digests), blobs, and the bytes that gave free."""

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

    An image that was given by its ID goes with all its names; with more than one that needs
    `force`, else Refused. So does an image that is pinned, or that one of the containers `uses`,
    when its last name goes. Artifacts attached to a removed image go with it. When anything that
    stays cannot be read, nothing is deleted.
    """
    targets = list(found)
    for target in targets:
        _refuse_several_names(target, force=force)
    # What stays is marked before the lock is taken; under it only what is new is marked.
    kept = Reached()
    holders = containers_by_image(layout, uses)
    after, _, doomed = _without(layout.index(), targets, layout)
    _mark_kept(layout, after, doomed, kept)
    with exclusive(layout) as moment:
        after, dropped, doomed = _without(moment.index, targets, layout)
        going = _mark_kept(layout, after, doomed, kept)
        pins = read_pins(moment.control)
        if not force:
            _refuse_held(going, pins, holders)
        entries = [entry for entry in after.entries if entry.digest not in going]
        contents = _contents(layout, moment.index, going) - kept.digests
        moment.make_room()
        moment.replace_index(after.with_entries(entries), dropped)
        if any(pin.digest in going for pin in pins):
            write_pins(moment.control, [pin for pin in pins if pin.digest not in going])
        blobs, freed = moment.delete(contents)
    return Removal(dropped=tuple(dropped), images=tuple(going), blobs=tuple(blobs), freed=freed)


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


def _refuse_held(
    going: Iterable[Digest],
    pins: Iterable[Pin],
    holders: Mapping[Digest, tuple[ContainerUse, ...]],
) -> None:
    now = dt.datetime.now(dt.UTC)
    pinned = {pin.digest: pin for pin in pins if pin.holds(now)}
    for digest in going:
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


def _without(
    index: IndexFile, targets: list[Found], layout: Layout
) -> tuple[IndexFile, list[NameChange], list[Digest]]:
    """Return the index without the names, which names went, and which images lost the last."""
    entries = index.entries
    dropped: list[NameChange] = []
    doomed: dict[Digest, None] = {}
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
            doomed[digest] = None
    return index.with_entries(entries), dropped, list(doomed)


def _all_names(entries: Iterable[Descriptor], digest: Digest) -> list[str]:
    return [
        entry_names(entry)[0] for entry in entries if entry.digest == digest and is_named(entry)
    ]


def _mark_kept(
    layout: Layout, index: IndexFile, doomed: list[Digest], kept: Reached
) -> list[Digest]:
    """Mark what stays in `kept`; return the roots that go, attached artifacts included."""
    attached: list[tuple[Descriptor, Digest]] = []
    for entry in index.entries:
        if entry.digest in doomed:
            continue
        subject = None if is_named(entry) else root_subject(layout, Root(descriptor=entry))
        if subject is None:
            reach(layout, [entry], kept)
        else:
            attached.append((entry, subject))
    going = dict.fromkeys(doomed)
    lost = _contents(layout, index, going)
    # An artifact may be attached to an artifact, so look again until nothing changes.
    while attached:
        leaving = [pair for pair in attached if pair[1] in lost and pair[1] not in kept.digests]
        if not leaving:
            reach(layout, [entry for entry, _ in attached], kept)
            break
        attached = [pair for pair in attached if pair not in leaving]
        going.update((entry.digest, None) for entry, _ in leaving)
        lost |= _contents(layout, index, going)
    return list(going)


def _contents(layout: Layout, index: IndexFile, roots: Iterable[Digest]) -> set[Digest]:
    """Return everything under the roots that go; a damaged one is followed as far as it goes."""
    found = Reached()
    going = set(roots)
    for entry in index.entries:
        if entry.digest in going:
            try:
                reach(layout, [entry], found)
            except OcitoolError:
                continue
    return found.digests
