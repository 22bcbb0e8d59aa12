"""Pins: images that garbage collection keeps, with a reason and optionally an end."""

import datetime as dt
from collections.abc import Iterable, Sequence

from ocitool.errors import NotFound, UsageError
from ocitool.image.content import Root
from ocitool.oci import Digest
from ocitool.places.layout import Layout, exclusive
from ocitool.places.layout.pins import Pin, read_pins, write_pins
from ocitool.places.layout.reflog import time_text


def pin(
    layout: Layout,
    roots: Sequence[Root],
    *,
    now: dt.datetime,
    until: dt.datetime | None = None,
    reason: str | None = None,
) -> tuple[Pin, ...]:
    """Pin images and return the pins; an existing pin of an image is replaced.

    All or none: NotFound if an image does not exist any more. UsageError for an end in the past.
    """
    if until is not None and until <= now:
        raise UsageError(f"{time_text(until)} is in the past", hint="give a time in the future")
    added = {
        root.descriptor.digest: Pin(
            digest=root.descriptor.digest,
            name=root.names[0] if root.names else root.label or str(root.descriptor.digest),
            since=time_text(now),
            until=time_text(until) if until is not None else None,
            reason=reason,
        )
        for root in roots
    }
    with exclusive(layout) as moment:
        present = {entry.digest for entry in moment.index.entries}
        for digest in added:
            if digest not in present:
                raise NotFound(f"image {digest.short} was removed by another process")
        kept = [one for one in read_pins(moment.control) if one.digest not in added]
        write_pins(moment.control, [*kept, *added.values()])
    return tuple(added.values())


def unpin(layout: Layout, digests: Iterable[Digest]) -> tuple[Pin, ...]:
    """Remove the pins of images and return them; all or none: NotFound if one is not pinned."""
    wanted = dict.fromkeys(digests)
    with exclusive(layout) as moment:
        known = read_pins(moment.control)
        for digest in wanted:
            if digest not in {one.digest for one in known}:
                raise NotFound(
                    f"image {digest.short} is not pinned", hint="`ocitool pin` lists the pins"
                )
        write_pins(moment.control, [one for one in known if one.digest not in wanted])
    return tuple(one for one in known if one.digest in wanted)
