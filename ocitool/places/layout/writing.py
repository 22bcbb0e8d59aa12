"""Writing to a layout: blobs are stored one by one, names change together at the end."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from ocitool.errors import OcitoolError, Refused, StorageError
from ocitool.events import Outcome
from ocitool.fsops import Directory, PartFile, TemporaryFile, scratch_folder
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import familiar
from ocitool.places.layout.exclusive import edit_index, exclusive
from ocitool.places.layout.index import IndexFile, NameChange, set_roots
from ocitool.places.layout.layout import CONTROL, Layout
from ocitool.places.layout.lease import TEMPORARY, Lease
from ocitool.places.layout.partial import PartialBlob


class Writing:
    """A session that writes to a layout (`Target`) and reads from it. A context manager.

    The roots set with `root` take effect in one atomic rewrite of index.json when the block ends
    without an error; `changes` then lists the names that moved. If the block fails, index.json is
    untouched, and blobs that no other process can be using are removed again. Without `clobber`
    a name that would move from another image is Refused. With `keep` the blobs stay even if the
    block fails, for the next try, unless the disk was the reason. Set `durable` to False only for a
    layout that this process deletes again. All methods may be called from several threads.
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
        """Claim blobs: no other process deletes them before this block ends."""
        self._lease.add([descriptor.digest for descriptor in descriptors])

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is stored; if so, mark it as used now."""
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
        """Start or resume a blob that is received in parts; None while another process does so.

        The parts stay in the layout if the transfer breaks off, for the next run.
        """
        return PartialBlob.open(self.control, descriptor, self._publish)

    def ingest_beside(self, descriptor: Descriptor) -> PartialBlob:
        """Start a blob that another process is receiving, with a copy of what arrived there.

        What arrives in addition is lost if the transfer breaks off: the other process has its own.
        """
        name = f"{self._lease.name}.{descriptor.digest.hex}"
        return PartialBlob.beside(self.control, name, descriptor, self._publish)

    def progress_of(self, descriptor: Descriptor) -> int:
        """Return a number that grows while another process is receiving the blob."""
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
        """Let the roots set so far take effect now; the block continues."""
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
        # Also for reused blobs: the process that stored them may not have synced their names yet.
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
        # After a failure of the disk the space is always given back: it may be full.
        if self._keep and not isinstance(error, StorageError):
            return
        with contextlib.suppress(OcitoolError), exclusive(self.layout) as moment:
            # Another writer may have begun to rely on a blob of ours and ended since; it has
            # then changed index.json, and what we stored is left to garbage collection.
            if moment.index == self._index_before:
                moment.delete(self._stored, but_lease=self._lease.name)

    def _sweep(self) -> None:
        """Remove files that a signal orphaned between their creation and their first use."""
        with contextlib.suppress(OcitoolError):
            for name in self._temporary.names():
                if name.startswith(f"{self._lease.name}."):
                    self._temporary.remove(name)


def refuse_moves(changes: Sequence[NameChange], path: str) -> None:
    """Raise Refused when a change moves a name from one image to another."""
    taken = [familiar(change.name) for change in changes if change.old is not None]
    if taken:
        raise Refused(
            f"{', '.join(taken)} already names another image in {path!r}",
            hint="choose another name, or leave out --no-clobber to move this one",
        )


class BlobWriter:
    """Writes content whose digest (sha256) is known only at its end."""

    def __init__(
        self, temporary: TemporaryFile, store: Callable[[TemporaryFile, Descriptor], None]
    ) -> None:
        self._file = temporary
        self._store = store
        self._hasher = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write bytes at the end."""
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
        """Discard the content unless it was committed; harmless when repeated."""
        self._file.discard()


@contextlib.contextmanager
def temporary_layout(folder: str | None) -> Iterator[Writing]:
    """Write to a layout in a private folder in `folder`, which is removed with the block."""
    with (
        scratch_folder(folder) as path,
        Layout.create(f"{path}/layout") as layout,
        Writing(layout, durable=False) as writing,
    ):
        yield writing
