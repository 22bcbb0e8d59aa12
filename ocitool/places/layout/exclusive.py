"""Changes that one process makes at a time: rewriting index.json and deleting blobs."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence

from ocitool.errors import NotFound, Refused
from ocitool.fsops import Directory, replace_file
from ocitool.oci import Digest
from ocitool.oci.reference import familiar
from ocitool.places.layout.index import IndexFile, NameChange, drop_name, index_limit
from ocitool.places.layout.index_reader import INDEX_FILE
from ocitool.places.layout.layout import CONTROL, Layout
from ocitool.places.layout.lease import TEMPORARY, claimed_digests, clear_dead
from ocitool.places.layout.lock import locked
from ocitool.places.layout.reflog import record
from ocitool.places.layout.reserve import make_room, set_aside, take_back
from ocitool.places.layout.trash import KeptForUndo

EditIndex = Callable[[IndexFile], tuple[IndexFile, list[NameChange]]]


class Exclusive:
    """The right to change a layout while its lock is held. `index` is the current index.json."""

    def __init__(self, layout: Layout, control: Directory) -> None:
        self.index = layout.index()
        self.control = control
        self._layout = layout
        self._gave_up_reserve = False

    def make_room(self) -> None:
        """Free space for a removal on a full disk; call it before anything is written."""
        self._gave_up_reserve |= make_room(self.control, self._index_bytes())

    def set_aside(self) -> None:
        """Reserve space for the next removal."""
        (take_back if self._gave_up_reserve else set_aside)(self.control, self._index_bytes())

    def _index_bytes(self) -> int:
        return self._layout.folder.size_of(INDEX_FILE) or 0

    def replace_index(self, after: IndexFile, changes: Sequence[NameChange]) -> None:
        """Record the changes in the reflog, then rewrite index.json atomically and durably."""
        if after == self.index:
            # The process that wrote it may have died before its name was durable.
            self._layout.folder.sync()
            return
        data = after.encode()
        if len(data) > index_limit(is_store=self._layout.is_store):
            # An index above its limit could be written, but never read again.
            raise Refused(
                f"the {INDEX_FILE} of {self._layout.path!r} is full",
                hint="remove images that are not needed: `ocitool rm`",
            )
        record(self.control, changes, dt.datetime.now(dt.UTC))
        with self.control.subdirectory(TEMPORARY, create=True, lasting=False) as staging:
            replace_file(self._layout.folder, INDEX_FILE, data, staging=staging)
        self._layout.index_reader.note(data, after)
        self.index = after

    def delete(
        self, digests: Iterable[Digest], *, but_lease: str | None = None
    ) -> tuple[list[Digest], int]:
        """Delete blobs that no running command claims; return them and the bytes freed.

        Claims of the lease `but_lease` do not count. Blobs that the last garbage collection needs
        to be undone move to its trash instead.
        """
        claimed = claimed_digests(self.control, but=but_lease)
        deleted, freed = [], 0
        with KeptForUndo(self.control) as kept:
            for digest in sorted(set(digests) - claimed):
                if self._layout.blob_size(digest) is None:
                    continue
                folder = self._layout.blob_folder(digest.algorithm)
                if not kept.take(folder, digest):
                    freed += folder.remove(digest.hex)
                deleted.append(digest)
        return deleted, freed


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[Exclusive]:
    """Hold the layout's lock for the block. Keep it short: every writer waits."""
    with (
        layout.folder.subdirectory(CONTROL, create=True) as control,
        locked(control, layout.patience, observer=layout.observer),
    ):
        # A command that removes images to make room also gets back what a killed command took.
        clear_dead(control)
        moment = Exclusive(layout, control)
        yield moment
        if layout.is_store:
            # At the end, when a removal has given space back and index.json has its new size.
            moment.set_aside()


def edit_index(layout: Layout, edit: EditIndex, *, removes: bool = False) -> list[NameChange]:
    """Apply `edit` to the current index.json under the lock; return the changes of names.

    An edit that only `removes` names may use what is reserved for a full disk.
    """
    with exclusive(layout) as moment:
        after, changes = edit(moment.index)
        if removes:
            moment.make_room()
        moment.replace_index(after, changes)
        return changes


def untag(layout: Layout, names: Sequence[str]) -> list[NameChange]:
    """Remove names; their images stay, without a name if it was their last one.

    NotFound if one of the names does not exist; then nothing changes.
    """

    def edit(index: IndexFile) -> tuple[IndexFile, list[NameChange]]:
        changes: list[NameChange] = []
        entries = index.entries
        for name in names:
            entries, dropped = drop_name(entries, name)
            if not dropped:
                raise NotFound(f"there is no image {familiar(name)!r} in {layout.path!r}")
            changes += dropped
        return index.with_entries(entries), changes

    return edit_index(layout, edit, removes=True)
