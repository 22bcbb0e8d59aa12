"""Files of equal content: found by size first, and then by their SHA-256."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.events import SILENT, Observer
from ocitool.inside.changes import mark_same_content, same_content, same_size
from ocitool.inside.hashing import hash_members
from ocitool.inside.image import Inside
from ocitool.inside.state import LayerRecord, TreeState
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


def hash_doubtful(
    inside: Inside,
    *,
    duplicates: bool = False,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> None:
    """Look at the files whose content matters: those that replace a file of the same size.

    With `duplicates` also all files of a size that occurs twice. What is known is not read again.
    Layers are read in parallel, each once. Files that a layer only repeats then have
    the fate metadata, or identical where their attributes and times are the same too.
    """
    wanted = _Wanted(inside.tree)
    wanted.add_replaced()
    if duplicates:
        wanted.add_equal_sizes()
    hash_members([(inside, wanted.rows())], jobs=jobs, observer=observer)
    mark_same_content(inside.tree)


class _Wanted:
    """Which rows are to be hashed: for each layer a mark on them."""

    def __init__(self, tree: TreeState) -> None:
        self._tree = tree
        self._marks: dict[int, bytearray] = {}

    def rows(self) -> dict[int, Iterable[int]]:
        """Return the rows by the number of their layer."""
        return {
            number: itertools.compress(itertools.count(), marks)
            for number, marks in self._marks.items()
        }

    def add_replaced(self) -> None:
        """Add the files that replace one of the same size, and those, if that is needed."""
        for record in self._tree.records:
            for row, old in same_size(self._tree, record):
                other = self._tree.record_of(old)
                at = old - other.base
                if same_content(record.table, row, other.table, at) is None:
                    self._add_pair((record, row), (other, at))

    def _add_pair(self, *pair: tuple[LayerRecord, int]) -> None:
        has_digest = any(record.table.digest(row) is not None for record, row in pair)
        for record, row in pair:
            if has_digest or record.table.check(row) is None:
                self._mark(record, row)

    def add_equal_sizes(self) -> None:
        """Add all files of the image that have the size of another one."""
        for record, row, _ in _of_equal_size(self._tree):
            self._mark(record, row)

    def _mark(self, record: LayerRecord, row: int) -> None:
        marks = self._marks.get(record.number)
        if marks is None:
            marks = self._marks[record.number] = bytearray(len(record.table))
        marks[row] = 1


def live_files(tree: TreeState) -> Iterator[tuple[LayerRecord, int, int]]:
    """Yield each file of the image that is not empty: the record and row of its inode, its size."""
    for record in tree.records:
        table = record.table
        columns = zip(table.kinds, table.sizes, record.fates, strict=True)
        for row, (kind, size, fate) in enumerate(columns):
            if size and not fate and kind == FILE:
                yield record, row, size


def _of_equal_size(tree: TreeState) -> Iterator[tuple[LayerRecord, int, int]]:
    repeated = _repeated(size for _, _, size in live_files(tree))
    return (one for one in live_files(tree) if one[2] in repeated)


def _repeated(numbers: Iterable[int]) -> set[int]:
    """Return the numbers that occur more than once."""
    seen: set[int] = set()
    repeated: set[int] = set()
    for number in numbers:
        (repeated if number in seen else seen).add(number)
    return repeated


def duplicates_of(tree: TreeState) -> list[Duplicates]:
    """Return the groups of files with equal content, of those that were hashed; in no order."""
    # Most contents occur once: the beginning of their digests tells that in less memory.
    repeated = _repeated(int.from_bytes(digest[:8]) for _, _, digest in _hashed(tree))
    groups = defaultdict(list)
    for record, row, digest in _hashed(tree):
        if int.from_bytes(digest[:8]) in repeated:
            groups[digest].append((record, row))
    return [_group(tree, digest, files) for digest, files in groups.items() if len(files) > 1]


def _hashed(tree: TreeState) -> Iterator[tuple[LayerRecord, int, bytes]]:
    for record, row, _ in live_files(tree):
        digest = record.table.digest(row)
        if digest is not None:
            yield record, row, digest


def _group(tree: TreeState, digest: bytes, files: Sequence[tuple[LayerRecord, int]]) -> Duplicates:
    record, row = files[0]
    return Duplicates(
        digest=Digest("sha256", digest.hex()),
        size=record.table.sizes[row],
        paths=tuple(sorted(tree.path_of(one.base + at) for one, at in files)),
    )
