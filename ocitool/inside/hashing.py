"""Hashing the content of files where it was not hashed while the layers were scanned."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from ocitool.concurrency import Stop, processors, run_all
from ocitool.events import SILENT, Observer
from ocitool.inside.content import read_members
from ocitool.inside.image import Inside
from ocitool.inside.table import LayerTable

Rows = Mapping[int, Collection[int]]
"""Rows of members, by the number of their layer."""
_READ: Final = 1 << 20


class _Task(Struct):
    """Files of one layer that are to be hashed."""

    inside: Inside
    number: int
    table: LayerTable
    rows: set[int]

    @property
    def size(self) -> int:
        return sum(self.table.sizes[row] for row in self.rows)

    def run(self, observer: Observer, stop: Stop) -> None:
        for row, content in read_members(self.inside, self.number, self.rows):
            hasher = hashlib.sha256()
            while data := content.read(_READ):
                stop.check()
                hasher.update(data)
            self.table.set_digest(row, hasher.digest())
            observer.advance(self.table.sizes[row])
        # These bytes were not verified, so they must not join a table that was.
        inside = self.inside
        if inside.cache is not None and not self.table.verified:
            inside.cache.put(inside.source, inside.layer(self.number).descriptor, self.table)


def hash_members(
    wanted: Iterable[tuple[Inside, Rows]], *, jobs: int, observer: Observer = SILENT
) -> None:
    """Hash files of images and note their digests in the tables of the layers.

    Layers are read in parallel, the largest first, each in one pass. What has a digest is left out,
    and so are sparse files, which cannot be read.
    """
    # A layer that is there twice, in one image or in two, has one table and so one task.
    tasks: dict[int, _Task] = {}
    for inside, members in wanted:
        for number, rows in members.items():
            table = inside.table(number)
            left = {row for row in rows if row not in table.sparse and table.digest(row) is None}
            if left:
                task = tasks.setdefault(id(table), _Task(inside, number, table, set()))
                task.rows |= left
    if not tasks:
        return
    ordered = sorted(tasks.values(), key=lambda task: -task.size)
    observer.begin("hashing files", sum(task.size for task in ordered))
    try:
        run_all([partial(task.run, observer) for task in ordered], min(jobs, processors()))
    finally:
        observer.end()
