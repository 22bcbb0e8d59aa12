"""Moving images and blobs to the trash, for `gc` and `rm`.

The run is noted first, then the names are removed, durably, and then the blobs move. So a crash in
between leaves a run that can be undone, and garbage for the next one.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from ocitool.errors import NoSpace
from ocitool.fsops import Directory
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout import Layout, NameChange
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.index import IndexFile
from ocitool.places.layout.pins import read_pins, write_pins
from ocitool.places.layout.trash import (
    TrashRun,
    begin,
    forget_run,
    last_sound_run,
    open_run,
    remove_run,
    run_names,
)


class Discarded(Struct, frozen=True, kw_only=True):
    """Images that go to the trash, with the blobs that only they need.

    `entries` lead to them, `needs` are the digests of all that they contain. `index` is what stays,
    and `changes` are the names that it has lost.
    """

    entries: Sequence[Descriptor]
    needs: Collection[str]
    index: IndexFile
    changes: Sequence[NameChange]
    blobs: Sequence[Digest]


def discard(layout: Layout, moment: Exclusive, what: Discarded, now: dt.datetime) -> None:
    """Move images to the trash as a run of their own. Earlier runs stay until `empty_runs`."""
    removed = {entry.digest for entry in what.entries}
    pins = read_pins(moment.control)
    unpinned = [pin for pin in pins if pin.digest in removed]
    run = TrashRun.new(now, what.entries, unpinned, sorted(what.needs))
    with _begin_run(moment.control, run) as folder:
        moment.replace_index(what.index, what.changes)
        if unpinned:
            write_pins(moment.control, [pin for pin in pins if pin.digest not in removed])
        _move(layout, folder, what.blobs)


def discard_blobs(
    layout: Layout, moment: Exclusive, blobs: Sequence[Digest], now: dt.datetime
) -> None:
    """Move blobs without an image to the trash, into the last run if that can be undone.

    A run of their own would take the place of that run, and its images could not come back.
    """
    last = last_sound_run(moment.control)
    if last is not None and not last.is_over(now):
        with open_run(moment.control, last.name) as folder:
            _move(layout, folder, blobs)
        return
    with _begin_run(moment.control, TrashRun.new(now, (), (), ())) as folder:
        _move(layout, folder, blobs)


def empty_runs(control: Directory, names: Iterable[str]) -> tuple[int, int]:
    """Delete runs for good; return how many blobs were deleted, and the bytes freed."""
    runs = list(names)
    for name in runs:
        forget_run(control, name)
    removed = [remove_run(control, name) for name in runs]
    return sum(count for count, _ in removed), sum(size for _, size in removed)


def _begin_run(control: Directory, run: TrashRun) -> Directory:
    try:
        return begin(control, run)
    except NoSpace:
        earlier = run_names(control)
        # What an earlier run kept may be all the space that there is.
        if not earlier:
            raise
        empty_runs(control, earlier)
        return begin(control, run)


def _move(layout: Layout, folder: Directory, digests: Sequence[Digest]) -> None:
    for algorithm in sorted({digest.algorithm for digest in digests}):
        source = layout.blob_folder(algorithm)
        with folder.subdirectory(algorithm, create=True) as target:
            for digest in digests:
                if digest.algorithm == algorithm:
                    source.move(digest.hex, target)
            target.sync()
