"""Where containers are built, and the clean-up after commands that were killed.

`.ocitool/unpacking/LEASE.xxx/` is the private folder of a running command, `.ocitool/trees/` holds
unpacked images that containers share, `.ocitool/bundles/` the bundles without a path of their own.
Under the layout's lock, whatever no record names and no running command works on may be removed.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Self

from ocitool.containers.bundles import is_bundle_of
from ocitool.containers.records import containers
from ocitool.errors import NotFound, Refused, StorageError
from ocitool.fsops import Directory, make_folder, make_private_folder, replace_file, tree_size
from ocitool.image.layers import Spot, prune
from ocitool.places.layout import Layout, exclusive
from ocitool.places.layout.layout import CONTROL
from ocitool.places.layout.lease import Lease, live_leases
from ocitool.places.layout.leftovers import Leftover

STAGING = "unpacking"
TREES = "trees"
BUNDLES = "bundles"
BESIDE = ".ocitool-bundle-"
"""Prefix of the folder beside the final path of an outside bundle, in which it is built."""
_NOTE = "place"
_NOTE_BYTES = 1 << 14


class Staging:
    """The private folder of one command, and its claim on blobs. A context manager."""

    def __init__(self, layout: Layout, control: Directory) -> None:
        self._layout = layout
        self._control = control

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self.lease = Lease.take(self._control, self._layout.observer)
            undo.callback(self.lease.release)
            with private_place(self._control, STAGING) as folder:
                self._name, self.folder = make_private_folder(folder, f"{self.lease.name}.")
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.close()
        try:
            # What cannot be removed now is left for the next command.
            _remove_work(self._layout, self._control, [self._name])
        finally:
            self.lease.release()

    def beside(self, place: str, container_id: str) -> str:
        """Make a private folder beside a path outside the store; return its name.

        A note of it is written first, so that it is found if this command is killed.
        """
        name = f"{BESIDE}{self.lease.name}"
        with Directory.create(os.path.dirname(place)) as parent:
            # Fails for a name that is too long, while there is nothing to undo yet.
            parent.kind(os.path.basename(place))
            _note(self.folder, name, place, container_id)
            make_folder(parent, name)
        return name


def private_place(control: Directory, name: str) -> Directory:
    """Open one of the folders of containers, made if absent; users of the store may enter it."""
    if control.kind(name) is None:
        try:
            make_folder(control, name)
        except StorageError:
            # Another process may have been faster.
            if control.kind(name) != "folder":
                raise
    folder = control.subdirectory(name)
    control.share(folder.descriptor)
    return folder


def leftovers_of_containers(layout: Layout) -> list[Leftover]:
    """Return what killed commands left of containers: what `clear_leftovers` would remove."""
    control = layout.control
    if control is None or not any(control.kind(n) for n in (STAGING, TREES, BUNDLES)):
        return []
    try:
        unneeded = _unneeded(layout, control)
    except Refused:
        # An unreadable record may name any of them.
        return []
    found = []
    for place, names in unneeded.items():
        with control.subdirectory(place) as folder:
            for name in names:
                reason = "a killed command left it"
                size = tree_size(folder, name)
                found.append(Leftover(folder=(CONTROL, place), name=name, size=size, reason=reason))
    return found


def clear_leftovers(layout: Layout) -> int:
    """Remove what killed commands left of containers; return how many items were removed.

    Takes the layout's lock for a moment. The work of running commands stays, and so does everything
    that this user may not remove.
    """
    control = layout.control
    if control is None or not any(control.kind(n) for n in (STAGING, TREES, BUNDLES)):
        return 0
    with exclusive(layout) as moment:
        to_remove = list(_set_aside(layout, moment.control))
    return len(to_remove) - len(_remove_work(layout, control, to_remove))


def _set_aside(layout: Layout, control: Directory) -> Iterator[str]:
    """Move what is not needed below STAGING, and yield its names there."""
    unneeded = _unneeded(layout, control)
    yield from unneeded.pop(STAGING, ())
    with private_place(control, STAGING) as staging:
        for place, names in unneeded.items():
            with control.subdirectory(place) as folder:
                for name in names:
                    yield discard(folder, name, staging)


def _unneeded(layout: Layout, control: Directory) -> dict[str, list[str]]:
    """Return, by folder, the names that no record has and no running command works on."""
    found: dict[str, list[str]] = {}
    for place in (STAGING, BUNDLES, TREES):
        with contextlib.suppress(NotFound), control.subdirectory(place) as folder:
            found[place] = folder.names()
    # The leases are read after the names: a command that started in between is not in the list.
    alive = live_leases(control)
    known = containers(layout)
    needed: dict[str, set[str | None]] = {
        STAGING: {name for name in found.get(STAGING, ()) if name.partition(".")[0] in alive},
        BUNDLES: {container.id for container in known},
        TREES: {container.tree for container in known},
    }
    return {
        place: [name for name in names if name not in needed[place]]
        for place, names in found.items()
    }


def discard(folder: Directory, name: str, staging: Directory) -> str:
    """Move a folder to where leftovers are removed; return its name there. Call under the lock.

    The removal itself takes long, so it happens after the lock is released. If this command is
    killed before that, the next command removes the folder.
    """
    made, opened = make_private_folder(staging, "done.")
    with opened:
        folder.move(name, opened)
    return made


def discard_outside(staging: Directory, place: str, container_id: str) -> str:
    """Note that a bundle outside the store has to be removed with its container; name the note.

    Call under the lock, before the record is removed.
    """
    made, opened = make_private_folder(staging, "done.")
    with opened:
        _note(opened, f"{BESIDE}{container_id}", place, container_id)
    return made


def _note(work: Directory, beside: str, place: str, container_id: str) -> None:
    note = json.dumps({"beside": beside, "place": place, "id": container_id})
    replace_file(work, _NOTE, note.encode("ascii"), staging=work)


def remove_discarded(layout: Layout, names: list[str]) -> None:
    """Remove what `discard` moved. Call without the lock. StorageError if something stays."""
    if layout.control is not None and names:
        for error in _remove_work(layout, layout.control, names):
            raise error


def _remove_work(layout: Layout, control: Directory, names: list[str]) -> list[StorageError]:
    """Remove abandoned work; return the errors for what stays."""
    failures = []
    with control.subdirectory(STAGING) as staging:
        for name in names:
            # Another process may be removing it too.
            with contextlib.suppress(NotFound):
                try:
                    with staging.subdirectory(name) as work:
                        _remove_noted(layout, work)
                    prune(Spot(staging, "", name))
                except StorageError as error:
                    failures.append(error)
    return failures


def _remove_noted(layout: Layout, work: Directory) -> None:
    """Remove the bundle that a killed command was placing outside the store."""
    try:
        note = json.loads(work.read_file(_NOTE, _NOTE_BYTES))
        parent, name = os.path.split(note["place"])
        folder = Directory.open(parent)
    except (NotFound, ValueError, TypeError, KeyError):
        return
    with folder:
        beside, container_id = str(note["beside"]), str(note["id"])
        if not beside.startswith(BESIDE):
            return
        if all(container.id != container_id for container in containers(layout)):
            _move_bundle(folder, name, beside, container_id)
        if folder.kind(beside) == "folder":
            prune(Spot(folder, "", beside))


def _move_bundle(folder: Directory, name: str, beside: str, container_id: str) -> None:
    """Rename an outside bundle to mark it for removal, if it is still this container's."""
    if folder.kind(name) != "folder" or folder.kind(beside) is not None:
        return
    with folder.subdirectory(name) as bundle:
        if not is_bundle_of(bundle, container_id):
            return
    folder.move(name, folder, beside)
