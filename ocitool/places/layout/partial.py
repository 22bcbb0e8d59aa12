"""A blob that is received in parts, over several connections or in several runs.

`.ocitool/ingest/ALGORITHM-HEX` holds the bytes at their offsets, and a journal beside it lists the
ranges received. The journal is not trusted: the digest of the whole decides in the end. The bytes
before the first gap are hashed as they arrive, so a blob received in order is never read back.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Self

from ocitool.errors import DigestMismatch, IntegrityError, NotFound, Refused
from ocitool.fsops import Directory, PartFile, translated
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout.lease import TEMPORARY

INGEST = "ingest"
_JOURNAL_BYTES = 16 << 20
_READ = 1 << 20
_SYNCED_AT_ONCE = 8 << 20
"""Bytes that are handed to the disk at a time, so that the sync at the end finds little to do."""


class PartialBlob:
    """A blob that is being received by this process. Thread-safe."""

    def __init__(
        self,
        part: PartFile,
        descriptor: Descriptor,
        publish: Callable[[PartFile, Digest], None],
    ) -> None:
        self._part = part
        self._descriptor = descriptor
        self._publish = publish
        self._ranges = Ranges()
        self._front = self._synced = 0
        self._hasher = descriptor.digest.hasher()
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._take_up()

    @classmethod
    def open(
        cls,
        control: Directory,
        descriptor: Descriptor,
        publish: Callable[[PartFile, Digest], None],
    ) -> Self | None:
        """Start or resume a blob; None while another process is receiving it."""
        folder = control.subdirectory(INGEST, create=True, lasting=False)
        part = PartFile.open(folder, _name(descriptor.digest))
        if part is None:
            return None
        try:
            return cls(part, descriptor, publish)
        except BaseException:
            part.close()
            raise

    @classmethod
    def beside(
        cls,
        control: Directory,
        name: str,
        descriptor: Descriptor,
        publish: Callable[[PartFile, Digest], None],
    ) -> Self:
        """Start a blob in a temporary file `name`, with what another process has received of it."""
        folder = control.subdirectory(TEMPORARY, create=True, lasting=False)
        part = PartFile.open(folder, name)
        if part is None:
            raise Refused(f"{control.child(TEMPORARY)}/{name} is in use by another process")
        blob = cls(part, descriptor, publish)
        try:
            # What cannot be copied is fetched.
            with contextlib.suppress(NotFound, IntegrityError):
                blob._copy_received(control)
        except BaseException:
            blob.discard()
            raise
        return blob

    @staticmethod
    def progress_of(control: Directory, descriptor: Descriptor) -> int:
        """Return a number that grows while a process is receiving the blob."""
        with contextlib.suppress(NotFound), control.subdirectory(INGEST) as folder:
            return PartFile.journal_size(folder, _name(descriptor.digest))
        return 0

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges (start, end) that are still missing."""
        with self._lock:
            return self._ranges.gaps(self._descriptor.size)

    @property
    def front(self) -> int:
        """How many bytes from the first on have been received and hashed."""
        return self._front

    def readable(self) -> int:
        """Return a descriptor of the file, which the caller closes; it outlives `commit`."""
        return self._part.duplicate()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at `offset`, and note the range in the journal."""
        self._part.write_at(offset, data)
        end = offset + len(data)
        self._part.note(b"%d %d\n" % (offset, end))
        with self._lock:
            self._ranges.add(offset, end)
        self._grow(offset, data)

    def commit(self) -> None:
        """Verify the blob and store it; DigestMismatch discards everything received."""
        with self._hashing:
            self._hash_up_to_a_gap()
        actual = self._hasher.hexdigest()
        digest = self._descriptor.digest
        if self._front != self._descriptor.size or actual != digest.hex:
            self._part.discard()
            raise DigestMismatch(
                f"the content received for {digest} hashes to {digest.algorithm}:{actual}",
                hint="run the command again: the damaged content was discarded",
            )
        self._publish(self._part, digest)

    def discard(self) -> None:
        """Discard everything received; harmless when repeated."""
        self._part.discard()

    def close(self) -> None:
        """Keep everything received for the next run; harmless when repeated."""
        self._part.close()

    def _copy_received(self, control: Directory) -> None:
        name = _name(self._descriptor.digest)
        with control.subdirectory(INGEST) as folder:
            # A line is in the journal only when its bytes are in the file.
            notes = folder.read_file(PartFile.journal_name(name), _JOURNAL_BYTES)
            file, size = folder.open_file(name)
        try:
            for start, end in _noted(notes, min(size, self._descriptor.size)):
                self._copy_range(file, start, end)
        finally:
            os.close(file)

    def _copy_range(self, file: int, start: int, end: int) -> None:
        while start < end:
            with translated("read", _name(self._descriptor.digest)):
                data = os.pread(file, min(_READ, end - start), start)
            if not data:
                return
            self.write(start, data)
            start += len(data)

    def _take_up(self) -> None:
        size = min(self._part.size(), self._descriptor.size)
        for start, end in _noted(self._part.notes(_JOURNAL_BYTES), size):
            self._ranges.add(start, end)
        if self._part.size() > self._descriptor.size:
            self._ranges = Ranges()
            self._part.empty()

    def _grow(self, offset: int, data: bytes | memoryview) -> None:
        # A thread that is hashing already continues up to the next gap.
        if not self._hashing.acquire(blocking=False):
            return
        try:
            if offset == self._front:
                self._hasher.update(data)
                self._front += len(data)
            else:
                self._hash_up_to_a_gap()
            if self._front - self._synced >= _SYNCED_AT_ONCE:
                self._part.begin_to_sync(self._synced, self._front)
                self._synced = self._front
        finally:
            self._hashing.release()

    def _hash_up_to_a_gap(self) -> None:
        while True:
            with self._lock:
                end = self._ranges.end_of(self._front)
            if end <= self._front:
                return
            while self._front < end:
                part = self._part.read_at(self._front, min(_READ, end - self._front))
                if not part:
                    return
                self._hasher.update(part)
                self._front += len(part)


def _noted(notes: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a journal that lie in a file of `size` bytes."""
    for line in notes.split(b"\n"):
        first, _, last = line.partition(b" ")
        if first.isdigit() and last.isdigit() and int(first) < int(last) <= size:
            yield int(first), int(last)


def _name(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


class Ranges:
    """A set of byte numbers, as sorted ranges that do not touch."""

    def __init__(self) -> None:
        self._known: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Add the bytes from `start` up to `end`."""
        kept = []
        for first, last in self._known:
            if last < start or first > end:
                kept.append((first, last))
            else:
                start, end = min(start, first), max(end, last)
        self._known = sorted([*kept, (start, end)])

    def end_of(self, position: int) -> int:
        """Return where the range ends that holds a byte; the position itself when none does."""
        for first, last in self._known:
            if first <= position < last:
                return last
        return position

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """Return what is not in the set, below `size`."""
        found, position = [], 0
        for first, last in self._known:
            if first > position:
                found.append((position, first))
            position = max(position, last)
        if position < size:
            found.append((position, size))
        return found
