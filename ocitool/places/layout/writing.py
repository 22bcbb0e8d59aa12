"""A writer's time in a layout: blobs go in one by one, names change together at the end."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ocitool.errors import OcitoolError, Refused, StorageError
from ocitool.events import Outcome
from ocitool.fsops import Directory, PartFile, TemporaryFile
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import familiar
from ocitool.places.layout.exclusive import edit_index, exclusive
from ocitool.places.layout.index import IndexFile, NameChange, set_roots
from ocitool.places.layout.layout import CONTROL, Layout
from ocitool.places.layout.lease import TEMPORARY, Lease
from ocitool.places.layout.partial import PartialBlob


class Writing:
    """One writer's lease on a layout, as a place to write to (`Target`) and to read from.

    Use it as a context manager. What `root` was told takes effect in one atomic rewrite of
    index.json when the block ends without an error; `changes` then lists the names that moved.
    When the block fails, index.json is untouched and blobs that nobody else can be using are
    removed again. Without `clobber` it fails with Refused where a name would move from another
    image. With `keep` the blobs of a block that fails stay, for whoever tries again, unless the
    disk is what failed. A layout that ends with this process need not be `durable`. All methods
    may be called from several threads.
    """

    def __init__(
        self, layout: Layout, *, clobber: bool = True, keep: bool = False, durable: bool = True
    ) -> None:
        self.layout = layout
        self._clobber = clobber
        self._keep = keep
        self._durable = durable
        self.control: Directory = layout.folder.subdirectory(CONTROL, create=True)
        self.changes: list[NameChange] = []
        self._roots: list[tuple[Descriptor, tuple[str, ...]]] = []
        self._stored: list[Digest] = []
        self._algorithms: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self.control.close)
            self._lease = Lease.take(self.control, self.layout.observer)
            undo.callback(self._lease.release)
            self._temporary = self.control.subdirectory(TEMPORARY, create=True, lasting=False)
            undo.callback(self._temporary.close)
            self._index_before = self.layout.index()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self._roll_back(error)
            else:
                try:
                    self._commit()
                except BaseException as failure:
                    self._roll_back(failure)
                    raise
        finally:
            self._sweep()
            self._temporary.close()
            self._lease.release()
            self.control.close()

    def announce(self, descriptors: Sequence[Descriptor]) -> None:
        """Claim blobs, so that no other process deletes them before this block ends."""
        self._lease.add([descriptor.digest for descriptor in descriptors])

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is stored; what is there is touched, for it is in use."""
        if not self.layout.has(descriptor):
            return False
        self.layout.blob_folder(descriptor.digest.algorithm).touch(descriptor.digest.hex)
        with self._lock:
            self._algorithms.add(descriptor.digest.algorithm)
        return True

    def put(self, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Outcome:
        """Store the content, durably. Idempotent; publishes only after the verified end."""
        if self.has(descriptor):
            return Outcome.EXISTED
        temporary = self._temporary_file()
        try:
            with open_blob() as blob:
                while part := blob.read():
                    temporary.write(part)
            self._publish(temporary, descriptor.digest)
        finally:
            temporary.discard()
        return Outcome.STORED

    def ingest(self, descriptor: Descriptor) -> PartialBlob | None:
        """Begin or go on with a blob that comes in parts; None while another process is at it.

        What has come stays in the layout when the work breaks off, for the next try.
        """
        return PartialBlob.open(self.control, descriptor, self._publish)

    def progress_of(self, descriptor: Descriptor) -> int:
        """Return a number that grows as long as another process gets on with a blob."""
        return PartialBlob.progress_of(self.control, descriptor)

    def writer(self) -> "BlobWriter":
        """Return a writer for content whose digest is known only at its end."""
        return BlobWriter(self._temporary_file(), self._store)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return a blob of the layout as a stream that verifies itself."""
        return self.layout.open(descriptor)

    def root(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        """Make a stored manifest a root under these names when the block ends."""
        with self._lock:
            self._roots.append((descriptor, tuple(names)))

    def checkpoint(self) -> None:
        """Let what `root` was told so far take effect now, and the block go on."""
        self._commit()
        with self._lock:
            self._stored.clear()
        self._index_before = self.layout.index()

    def _temporary_file(self) -> TemporaryFile:
        return TemporaryFile.create(self._temporary, f"{self._lease.name}.")

    def _store(self, temporary: TemporaryFile, descriptor: Descriptor) -> None:
        """Claim a blob that is complete, and publish it unless it is stored already."""
        self.announce([descriptor])
        if not self.has(descriptor):
            self._publish(temporary, descriptor.digest)

    def _publish(self, temporary: TemporaryFile | PartFile, digest: Digest) -> None:
        folder = self.layout.blob_folder(digest.algorithm, create=True)
        temporary.publish(folder, digest.hex, durable=self._durable)
        with self._lock:
            self._stored.append(digest)
            self._algorithms.add(digest.algorithm)

    def _commit(self) -> None:
        # The names of reused blobs too: who stored them may still be on the way to this line.
        for algorithm in sorted(self._algorithms):
            self.layout.blob_folder(algorithm).sync()
        if self._roots:
            self.changes += edit_index(self.layout, self._set_roots)
            self._roots = []

    def _set_roots(self, index: IndexFile) -> tuple[IndexFile, list[NameChange]]:
        entries, changes = set_roots(index.entries, self._roots, is_store=self.layout.is_store)
        if not self._clobber:
            refuse_moves(changes, self.layout.path)
        return index.with_entries(entries), changes

    def _roll_back(self, error: BaseException) -> None:
        # A disk that is full gets its space back.
        if self._keep and not isinstance(error, StorageError):
            return
        with contextlib.suppress(OcitoolError), exclusive(self.layout) as moment:
            # Another writer may have begun to rely on a blob of ours and ended since; it has
            # then changed index.json, and what we stored is left to garbage collection.
            if moment.index == self._index_before:
                moment.delete(self._stored, but_lease=self._lease.name)

    def _sweep(self) -> None:
        """Remove what a signal cut off between making a file and taking charge of it."""
        with contextlib.suppress(OcitoolError):
            for name in self._temporary.names():
                if name.startswith(f"{self._lease.name}."):
                    self._temporary.remove(name)


def refuse_moves(changes: Sequence[NameChange], path: str) -> None:
    """Raise Refused when a change moves a name from one image to another."""
    taken = [familiar(change.name) for change in changes if change.old is not None]
    if taken:
        raise Refused(
            f"{', '.join(taken)} names another image in {path!r} already",
            hint="choose another name, or leave out --no-clobber to move this one",
        )


class BlobWriter:
    """Content on its way into a layout, named by its sha256 when it is complete."""

    def __init__(
        self, temporary: TemporaryFile, store: Callable[[TemporaryFile, Descriptor], None]
    ) -> None:
        self._file = temporary
        self._store = store
        self._hasher = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._file.write(data)
        self._hasher.update(data)
        self._size += len(data)

    def commit(self, media_type: str) -> Descriptor:
        """Store the content durably, claim it, and return its descriptor."""
        digest = Digest.from_hasher("sha256", self._hasher)
        descriptor = Descriptor(media_type=media_type, digest=digest, size=self._size)
        self._store(self._file, descriptor)
        return descriptor

    def close(self) -> None:
        """Drop what was not committed; harmless when repeated."""
        self._file.discard()
