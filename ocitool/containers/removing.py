"""Removing a container: its record first, then its bundle and the tree that only it used."""

import os

from msgspec import Struct

from ocitool.containers.lifecycle.runtime import forget_run
from ocitool.containers.lifecycle.state import at_rest
from ocitool.containers.lifecycle.stopping import stop_container
from ocitool.containers.records import Container, find_container, forget, keep, read_records
from ocitool.containers.staging import (
    BUNDLES,
    STAGING,
    TREES,
    discard,
    discard_outside,
    private_place,
    remove_discarded,
)
from ocitool.errors import NotFound, OcitoolError, StorageError
from ocitool.fsops import Directory
from ocitool.oci import Digest
from ocitool.places.layout import Layout, exclusive
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.lease import TEMPORARY


class Removed(Struct, frozen=True, kw_only=True):
    """A removed container. `left` is the path of its bundle if something else was found there."""

    container: Container
    left: str | None = None


def remove_container(layout: Layout, text: str, *, force: bool = False) -> Removed:
    """Remove a container by its name or the start of its ID; its image stays.

    Refused while it runs; with `force` it is killed first. A bundle outside the store is removed
    only if it is the container's.
    """
    container = find_container(layout, text)
    if force:
        stop_container(layout, container.id, signalled="KILL")
    with at_rest(container) as run:
        if run is not None:
            forget_run(run, container)
        return _remove(layout, container)


def _remove(layout: Layout, container: Container) -> Removed:
    if not container.own_bundle:
        _refuse_what_cannot_go(container.bundle)
    with exclusive(layout) as moment, private_place(moment.control, STAGING) as staging:
        discarded = _set_aside(layout, moment, container, staging)
    # The image was in use until now.
    layout.touch(Digest.parse(container.digest))
    remove_discarded(layout, discarded)
    left = container.bundle if os.path.lexists(container.bundle) else None
    return Removed(container=container, left=left)


def _refuse_what_cannot_go(bundle: str) -> None:
    """Raise StorageError if this user may not remove the bundle: it would stay without a record."""
    place = os.path.dirname(bundle)
    try:
        with Directory.open(place) as parent:
            there = parent.kind(os.path.basename(bundle)) is not None
    except NotFound:
        return
    if there and not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot remove {bundle!r}: permission denied", hint="check the owner of its folder"
        )


def _set_aside(
    layout: Layout, moment: Exclusive, container: Container, staging: Directory
) -> list[str]:
    """Remove the record, and move the bundle and the tree to where they are removed.

    If the bundle cannot be moved, the record stays.
    """
    control = moment.control
    discarded = []
    if not container.own_bundle:
        discarded += [discard_outside(staging, container.bundle, container.id)]
    forget(control, container)
    if container.own_bundle:
        try:
            discarded += _discard_if_there(control, BUNDLES, container.id, staging)
        except OcitoolError:
            with control.subdirectory(TEMPORARY, create=True, lasting=False) as temporary:
                keep(control, container, staging=temporary)
            raise
    others = read_records(layout)
    shared = {other.tree for other in others.containers}
    # A damaged record may be that of a container that needs the tree.
    if container.tree is not None and container.tree not in shared and not others.damaged:
        discarded += _discard_if_there(control, TREES, container.tree, staging)
    return discarded


def _discard_if_there(control: Directory, place: str, name: str, staging: Directory) -> list[str]:
    try:
        with control.subdirectory(place) as folder:
            return [discard(folder, name, staging)] if folder.kind(name) is not None else []
    except NotFound:
        return []
