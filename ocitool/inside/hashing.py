"""Hashing the content of files where it was not hashed while the layers were scanned."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import compress, count
from typing import Final

from msgspec import Struct

from ocitool.concurrency import Stop, processors, run_abortable
from ocitool.events import SILENT, Observer
from ocitool.formats.checksums import crc32
from ocitool.inside.content import read_members
from ocitool.inside.image import Inside
from ocitool.inside.table import LayerTable

Rows = Mapping[int, Iterable[int]]
"""Rows of members, by the number of their layer."""
_READ: Final = 1 << 20


class _Task(Struct):
    """Files of one layer that are to be hashed: those rows that are marked."""

    inside: Inside
    number: int
    table: LayerTable
    marks: bytearray

    @property
    def size(self) -> int:
        return sum(compress(self.table.sizes, self.marks))

    def mark(self, rows: Iterable[int]) -> None:
        table, marks = self.table, self.marks
        for row in rows:
            if table.digest(row) is None and row not in table.sparse:
                marks[row] = 1

    def run(self, observer: Observer, stop: Stop) -> None:
        rows = compress(count(), self.marks)
        for row, content in read_members(self.inside, self.number, rows):
            hasher, check = hashlib.sha256(), 0
            while data := content.read(_READ):
                stop.check()
                hasher.update(data)
                check = crc32(data, check)
            self.table.set_digest(row, hasher.digest())
            self.table.set_check(row, check)
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
            task = tasks.setdefault(id(table), _Task(inside, number, table, bytearray(len(table))))
            task.mark(rows)
    todo = [task for task in tasks.values() if any(task.marks)]
    if not todo:
        return
    ordered = sorted(todo, key=lambda task: -task.size)
    running = [partial(task.run, observer) for task in ordered]
    with observer.work("hashing files", sum(task.size for task in ordered)):
        run_abortable(running, min(jobs, processors()), *(task.inside.source for task in ordered))
