"""An OCI image layout directory, opened for reading (image-spec image-layout.md)."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from msgspec import Struct

from ocitool.errors import (
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
)
from ocitool.events import SILENT, Observer
from ocitool.fsops import Directory, Stamp, replace_file
from ocitool.image.content import Blob, ReadAt, Root
from ocitool.image.entries import attach_entries, root_of
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import familiar
from ocitool.oci.version import LAYOUT_BYTES, LAYOUT_VERSION, check_layout_version
from ocitool.places.layout import blob_files
from ocitool.places.layout.cache import CACHE, Cache
from ocitool.places.layout.index import IndexFile, entry_names
from ocitool.places.layout.index_reader import INDEX_FILE, REBUILD_HINT, IndexReader
from ocitool.places.layout.lease import TEMPORARY
from ocitool.places.layout.lock import LOCK_TIMEOUT, locked
from ocitool.places.layout.pins import Pin, read_pins
from ocitool.places.layout.reflog import REFLOG, FormerName, former_names

BLOBS = "blobs"
CONTROL = ".ocitool"
LAYOUT_FILE = "oci-layout"
STORE_FILE = "store.json"
_HEX = re.compile("[0-9a-f]+").fullmatch


class Listing(Struct, frozen=True):
    """The names below blobs/: `blobs` as digest texts, `odd` the paths not named by a digest."""

    blobs: AbstractSet[str]
    odd: tuple[tuple[str, ...], ...]


class Layout:
    """A layout directory, opened for reading. Safe to use from several threads.

    `is_store` tells a store (made by `create(store=True)`) from a layout of another tool: only in
    a store are names full references, and only there is an image without a name dangling.
    """

    def __init__(self, folder: Directory, observer: Observer = SILENT) -> None:
        folder.share_as_it_is()
        self.folder = folder
        self.observer = observer
        self.patience = LOCK_TIMEOUT
        """For how many seconds a change waits for other processes; then it raises LockBusy."""
        self._blob_folders: dict[str, Directory] = {}
        # Algorithms whose folder is known to be durable: the process that made a folder may have
        # died before its name was on the disk.
        self._lasting: set[str] = set()
        self.index_reader = IndexReader(folder)
        self._lock = threading.Lock()
        try:
            self.control: Directory | None = folder.subdirectory(CONTROL)
        except NotFound:
            self.control = None
        self.is_store = self.control is not None and self.control.size_of(STORE_FILE) is not None

    @classmethod
    def existing(cls, path: str, *, observer: Observer = SILENT) -> "Layout":
        """Open an existing layout; NotFound if there is none, IntegrityError for another folder.

        `observer` is told if a change of the layout waits for another process.
        """
        try:
            folder = Directory.open(path)
        except NotFound as error:
            raise NotFound(f"there is no image layout at {path!r}") from error
        try:
            # The version file is written last, so where it exists all the rest does, too.
            _check_version(folder)
            return cls(folder, observer)
        except BaseException:
            folder.close()
            raise

    @classmethod
    def create(cls, path: str, *, store: bool = False, observer: Observer = SILENT) -> "Layout":
        """Open a layout, making it if it is absent. Several processes may do so at once.

        Refused for a folder that holds other files. `observer` is as for `existing`.
        """
        folder = Directory.create(path, 0o700 if store else 0o777)
        try:
            folder.share_as_it_is()
            present = folder.names()
            if LAYOUT_FILE not in present or CONTROL not in present:
                _initialise(folder, present, store=store)
            return cls(folder, observer)
        except BaseException:
            folder.close()
            raise

    @property
    def path(self) -> str:
        """The path that the user gave, for messages."""
        return self.folder.path

    def close(self) -> None:
        """Close all open folders; harmless when repeated."""
        with self._lock:
            folders, self._blob_folders = list(self._blob_folders.values()), {}
        for folder in folders:
            folder.close()
        if self.control is not None:
            self.control.close()
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def index(self) -> IndexFile:
        """Return the current content of index.json."""
        return self.index_reader.read(is_store=self.is_store)

    def roots(self) -> tuple[Root, ...]:
        """Return the images and artifacts of index.json, one for each digest, in its order."""
        grouped: dict[Digest, list[Descriptor]] = {}
        for entry in attach_entries(self.index().entries):
            grouped.setdefault(entry.digest, []).append(entry)
        return tuple(root_of(entries) for entries in grouped.values())

    def resolve(self, name: str) -> Root:
        """Return the root with exactly this name, label or digest.

        NotFound when there is none; Refused when the name stands for two images.
        """
        found: dict[Digest, list[Descriptor]] = {}
        for entry in attach_entries(self.index().entries):
            if name in entry_names(entry) or name == str(entry.digest):
                found.setdefault(entry.digest, []).append(entry)
        if not found:
            raise NotFound(f"there is no image {familiar(name)!r} in {self.path!r}")
        if len(found) > 1:
            digests = [str(digest) for digest in found]
            raise Refused(
                f"{familiar(name)!r} names more than one image in {self.path!r}: "
                f"{', '.join(digests)}",
                hint=f"name one by its digest: oci:{self.path}@{digests[0]}",
            )
        return root_of(next(iter(found.values())))

    def former_names(self) -> dict[str, FormerName]:
        """Return the last name that each digest lost, by the text of the digest."""
        if self.control is None:
            return {}
        return former_names(self.control, self.current_names())

    def current_names(self) -> dict[str, str]:
        """Return the digest behind every name of index.json; for an entry its first name counts."""
        return {
            name: str(entry.digest)
            for entry in self.index().entries
            for name in entry_names(entry)[:1]
        }

    def pins(self) -> tuple[Pin, ...]:
        """Return the pins, expired ones too."""
        return read_pins(self.control) if self.control is not None else ()

    def cache(self, kind: str, most: int | None = None) -> Cache:
        """Return the cache of one kind of fact; with `most`, of no more facts than that."""
        return Cache(self.control, kind, most)

    def cache_folder(self, name: str) -> str:
        """Return where a folder is, or may be made, that can be deleted at any time."""
        return os.path.join(self.path, CONTROL, CACHE, name)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a regular file with the right name and size exists."""
        return self.blob_size(descriptor.digest) == descriptor.size

    def touch(self, digest: Digest) -> None:
        """Mark a blob as used now, if this user may."""
        with contextlib.suppress(OcitoolError):
            self.blob_folder(digest.algorithm).touch(digest.hex)

    def blob_size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes; None if it is absent."""
        try:
            return self.blob_folder(digest.algorithm).size_of(digest.hex)
        except NotFound:
            return None

    def open_blob(self, digest: Digest) -> tuple[int, int]:
        """Return (file descriptor, size) of a blob, unverified; NotFound if it is absent."""
        try:
            return self.blob_folder(digest.algorithm).open_file(digest.hex)
        except NotFound as error:
            raise NotFound(f"blob {digest} is missing from {self.path!r}") from error

    def open(self, descriptor: Descriptor) -> Blob:
        """Return a blob as a stream that verifies itself; NotFound if it is absent."""
        return blob_files.stream(self._file_of(descriptor), descriptor, self._repair_hint())

    def positioned(self, descriptor: Descriptor) -> AbstractContextManager[ReadAt]:
        """Return a block in which a blob can be read at any offset, not verified."""
        return blob_files.positioned(self._file_of(descriptor))

    def stamp(self, descriptor: Descriptor) -> str | None:
        """Return a text that changes whenever the file of a blob may, if one can be told."""
        stamp = Stamp.of(self.blob_folder(descriptor.digest.algorithm), descriptor.digest.hex)
        return stamp.text if stamp is not None else None

    def _file_of(self, descriptor: Descriptor) -> blob_files.BlobFile:
        file, size = self.open_blob(descriptor.digest)
        where = f"blob {descriptor.digest.short} in {self.path!r}"
        return blob_files.sized(file, size, descriptor, where, self._repair_hint())

    def _repair_hint(self) -> str:
        place = "" if self.is_store else f" oci:{self.path}"
        return (
            f"`ocitool verify{place}` lists all damage; `ocitool verify{place} --repair-from SRC` "
            "fetches what is damaged from where it is whole"
        )

    def blob_digests(self) -> Iterator[Digest]:
        """Yield the digest of every file below blobs/ that is named by one, sorted by name."""
        for _, digest in self.blob_files():
            if digest is not None:
                yield digest

    def blob_files(self) -> Iterator[tuple[str, Digest | None]]:
        """Yield the path of everything below blobs/, and its digest if it is named by one."""
        try:
            with self.folder.subdirectory(BLOBS) as blobs:
                found = [(name, blobs.size_of(name) is None) for name in blobs.names()]
        except NotFound:
            return
        for algorithm, is_folder in found:
            if not is_folder:
                yield f"{BLOBS}/{algorithm}", None
                continue
            for name in self.blob_folder(algorithm).names():
                yield f"{BLOBS}/{algorithm}/{name}", _digest_named(algorithm, name)

    def listing(self) -> "Listing":
        """Return the names below blobs/ in one pass, in no particular order; opens no file."""
        found: set[str] = set()
        odd: list[tuple[str, ...]] = []
        try:
            with self.folder.subdirectory(BLOBS) as blobs:
                algorithms = [(name, blobs.kind(name) == "folder") for name in blobs.names()]
        except NotFound:
            return Listing(frozenset(), ())
        for algorithm, is_folder in algorithms:
            if not is_folder:
                odd.append((BLOBS, algorithm))
                continue
            names = self.blob_folder(algorithm).unordered_names()
            good = _of_digests(names, {"sha256": 64, "sha512": 128}.get(algorithm))
            found.update([f"{algorithm}:{name}" for name in good])
            if len(good) < len(names):
                odd += [(BLOBS, algorithm, name) for name in sorted(set(names) - set(good))]
        return Listing(found, tuple(odd))

    def blob_folder(self, algorithm: str, *, create: bool = False) -> Directory:
        """Return the folder blobs/ALGORITHM, which stays open as long as the layout."""
        with self._lock:
            folder = self._blob_folders.get(algorithm)
            if folder is None or (create and algorithm not in self._lasting):
                with self.folder.subdirectory(BLOBS, create=create) as blobs:
                    opened = blobs.subdirectory(algorithm, create=create)
                if folder is None:
                    folder = self._blob_folders[algorithm] = opened
                else:
                    opened.close()
                if create:
                    self._lasting.add(algorithm)
            return folder


def _of_digests(names: list[str], length: int | None) -> list[str]:
    """Return the names that consist of `length` hex digits."""
    good = [name for name in names if len(name) == length]
    # One match over all of them takes a fraction of a match for each of 100,000 names.
    if _HEX("".join(good)):
        return good
    return [name for name in good if _HEX(name)]


def _digest_named(algorithm: str, name: str) -> Digest | None:
    try:
        return Digest(algorithm, name)
    except IntegrityError:
        return None


def _check_version(folder: Directory) -> None:
    try:
        data = folder.read_file(LAYOUT_FILE, LAYOUT_BYTES)
    except NotFound as error:
        present = folder.names()
        _refuse_lost_version(folder)
        if not present or CONTROL in present:
            raise NotFound(f"the image layout at {folder.path!r} is still empty") from error
        raise IntegrityError(
            f"{folder.path!r} is not an OCI image layout: it has no file {LAYOUT_FILE!r}"
        ) from error
    check_layout_version(data, f"{folder.path}/{LAYOUT_FILE}")


def _refuse_lost_version(folder: Directory) -> None:
    """Raise IntegrityError for a store without its version file: it is not one that is being made.

    While a store is made it has neither blobs nor a reflog.
    """
    try:
        with folder.subdirectory(CONTROL) as control:
            used = control.size_of(STORE_FILE) is not None and control.kind(REFLOG) is not None
    except NotFound:
        return
    if used:
        message = f"the store at {folder.path!r} has lost its file {LAYOUT_FILE!r}"
        raise IntegrityError(message, hint=REBUILD_HINT)


def _initialise(folder: Directory, present: list[str], *, store: bool) -> None:
    foreign = [name for name in present if name != CONTROL]
    if foreign and LAYOUT_FILE not in present and not _was_begun(folder, present):
        raise Refused(
            f"{folder.path!r} holds other files and is not an image layout",
            hint="name an empty or a new folder",
        )
    with (
        folder.subdirectory(CONTROL, create=True) as control,
        control.subdirectory(TEMPORARY, create=True, lasting=False) as staging,
        locked(control),
    ):
        if LAYOUT_FILE not in folder.names():
            _refuse_lost_version(folder)
        if store and LAYOUT_FILE not in present:
            replace_file(control, STORE_FILE, b'{"version":1}\n', staging=staging)
        folder.subdirectory(BLOBS, create=True).close()
        if folder.size_of(INDEX_FILE) is None:
            replace_file(folder, INDEX_FILE, IndexFile().encode(), staging=staging)
        if folder.size_of(LAYOUT_FILE) is None:
            replace_file(folder, LAYOUT_FILE, LAYOUT_VERSION, staging=staging)


def _was_begun(folder: Directory, present: list[str]) -> bool:
    # Another process, alive or killed, makes the control folder first and the rest after it.
    return CONTROL in present or CONTROL in folder.names()
