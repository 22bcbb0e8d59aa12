"""Files of equal content: found by size first, and then by their SHA-256."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.events import SILENT, Observer
from ocitool.inside.changes import mark_metadata, same_size
from ocitool.inside.hashing import hash_members
from ocitool.inside.image import Inside
from ocitool.inside.state import TreeState
from ocitool.inside.table import FILE
from ocitool.oci import Digest


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
    hash_members([(inside, _unhashed(inside.tree))], jobs=jobs, observer=observer)
    mark_metadata(inside.tree)


def _unhashed(tree: TreeState) -> dict[int, list[int]]:
    """Return the rows whose digest matters, by the number of their layer."""
    inodes = set(_of_equal_size(tree))
    for record in tree.records:
        for row, old in same_size(tree, record):
            inodes |= {record.base + row, old}
    found = defaultdict(list)
    for inode in sorted(inodes):
        record = tree.record_of(inode)
        found[record.number].append(inode - record.base)
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
