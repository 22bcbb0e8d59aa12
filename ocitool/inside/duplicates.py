"""Files of equal content: found by size first, and then by their SHA-256."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, Stop, processors, run_all
from ocitool.events import SILENT, Observer
from ocitool.inside.changes import mark_metadata, same_size
from ocitool.inside.content import read_members
from ocitool.inside.image import Inside
from ocitool.inside.state import TreeState
from ocitool.inside.table import FILE
from ocitool.oci import Digest

_READ: Final = 1 << 20


class Duplicates(Struct, frozen=True, kw_only=True):
    """Files of the image that have equal content; `size` is that of one of them, in bytes."""

    digest: Digest
    size: int
    paths: tuple[str, ...]

    @property
    def reclaimable(self) -> int:
        """The bytes that one file in place of all would save."""
        return (len(self.paths) - 1) * self.size


def hash_doubtful(inside: Inside, *, jobs: int = DEFAULT_JOBS, observer: Observer = SILENT) -> None:
    """Hash the files whose content matters: those of equal size, and those that replace another.

    What has been hashed is not hashed again. Layers are read in parallel, each once. Files that a
    layer only repeats with other attributes then have the fate metadata.
    """
    wanted = _unhashed(inside.tree)
    if wanted:
        _hash_all(inside, wanted, jobs, observer)
    mark_metadata(inside.tree)


def _hash_all(
    inside: Inside, wanted: Mapping[int, list[int]], jobs: int, observer: Observer
) -> None:
    sizes = {
        number: sum(inside.table(number).sizes[r] for r in rows) for number, rows in wanted.items()
    }
    observer.begin("hashing files", sum(sizes.values()))
    try:
        tasks = [
            partial(_hash_layer, inside, number, wanted[number], observer)
            for number in sorted(wanted, key=lambda number: -sizes[number])
        ]
        run_all(tasks, min(jobs, processors()))
    finally:
        observer.end()


def _unhashed(tree: TreeState) -> dict[int, list[int]]:
    """Return the rows to hash, by the number of their layer."""
    inodes = set(_of_equal_size(tree))
    for record in tree.records:
        for row, old in same_size(tree, record):
            inodes |= {record.base + row, old}
    found = defaultdict(list)
    first: dict[int, int] = {}
    for inode in sorted(inodes):
        record = tree.record_of(inode)
        # A layer that the image lists twice has one table.
        number = first.setdefault(id(record.table), record.number)
        if (
            record.table.digest(inode - record.base) is None
            and inode - record.base not in record.table.sparse
        ):
            found[number].append(inode - record.base)
    return found


def live_files(tree: TreeState) -> Iterator[tuple[int, int]]:
    """Yield the inode and the size of each file of the image that is not empty."""
    for record in tree.records:
        table = record.table
        for row, (kind, size, fate) in enumerate(
            zip(table.kinds, table.sizes, record.fates, strict=True)
        ):
            if kind == FILE and size and not fate:
                yield record.base + row, size


def _of_equal_size(tree: TreeState) -> Iterator[int]:
    sizes = sorted(size for _, size in live_files(tree))
    repeated = {size for size, following in itertools.pairwise(sizes) if size == following}
    return (inode for inode, size in live_files(tree) if size in repeated)


def _hash_layer(
    inside: Inside, number: int, rows: list[int], observer: Observer, stop: Stop
) -> None:
    table = inside.table(number)
    for row, content in read_members(inside, number, rows):
        stop.check()
        hasher = hashlib.sha256()
        while data := content.read(_READ):
            hasher.update(data)
        table.set_digest(row, hasher.digest())
        observer.advance(table.sizes[row])
    # These bytes were not verified, so they must not join a table that was.
    if inside.cache is not None and not table.verified:
        inside.cache.put(inside.source, inside.layer(number).descriptor, table)


def duplicates_of(tree: TreeState) -> Iterator[Duplicates]:
    """Yield the groups of files with equal content, of those that were hashed; in no order."""
    groups = defaultdict(list)
    for inode in _of_equal_size(tree):
        table, row = tree.member(inode)
        digest = table.digest(row)
        if digest is not None:
            groups[digest].append(inode)
    for digest, inodes in groups.items():
        if len(inodes) > 1:
            table, row = tree.member(inodes[0])
            yield Duplicates(
                digest=Digest("sha256", digest.hex()),
                size=table.sizes[row],
                paths=tuple(sorted(map(tree.path_of, inodes))),
            )
