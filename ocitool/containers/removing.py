"""Removing a container: its record first, then its bundle and what only it shared."""

import os

from msgspec import Struct

from ocitool.containers.records import Container, containers, find_container, forget
from ocitool.containers.running import running
from ocitool.containers.staging import (
    BUNDLES,
    STAGING,
    TREES,
    discard,
    discard_outside,
    private_place,
    remove_discarded,
)
from ocitool.errors import NotFound, Refused
from ocitool.fsops import Directory
from ocitool.layout import Layout, exclusive


class Removed(Struct, frozen=True, kw_only=True):
    """A container that is gone. `left` is its bundle's place when something else was there."""

    container: Container
    left: str | None = None


def remove_container(layout: Layout, text: str) -> Removed:
    """Remove a container by its name or the start of its ID; its image stays.

    Refused while it runs. A bundle outside of the store goes only while it is this container's.
    """
    container = find_container(layout, text)
    if running([container.bundle]):
        raise Refused(
            f"container {container.name} is running",
            hint=f"end it first, for example with `runc delete --force {container.name}`",
        )
    with exclusive(layout) as moment:
        control = moment.control
        discarded = []
        with private_place(control, STAGING) as staging:
            if not container.own_bundle:
                discarded += [discard_outside(staging, container.bundle, container.id)]
            forget(control, container)
            shared = {other.tree for other in containers(layout)}
            if container.own_bundle:
                discarded += _discarded(control, BUNDLES, container.id, staging)
            if container.tree is not None and container.tree not in shared:
                discarded += _discarded(control, TREES, container.tree, staging)
    remove_discarded(layout, discarded)
    left = container.bundle if os.path.lexists(container.bundle) else None
    return Removed(container=container, left=left)


def _discarded(control: Directory, place: str, name: str, staging: Directory) -> list[str]:
    try:
        with control.subdirectory(place) as folder:
            return [discard(folder, name, staging)] if folder.kind(name) is not None else []
    except NotFound:
        return []
