"""index.json of a layout, decoded once for each state that it had."""

import hashlib

from ocitool.errors import IntegrityError, MalformedDocument, NotFound
from ocitool.fsops import Directory, Stamp
from ocitool.places.layout.index import IndexFile, index_limit

INDEX_FILE = "index.json"
REBUILD_HINT = "`ocitool verify --repair` rebuilds it from the reflog, the pins and the blobs"


class IndexReader:
    """Reads index.json when it has changed. Thread-safe."""

    def __init__(self, folder: Directory) -> None:
        self._folder = folder
        self._seen: tuple[Stamp, IndexFile] | None = None
        self._decoded: tuple[bytes, IndexFile] = (b"", IndexFile())

    def read(self, *, is_store: bool) -> IndexFile:
        """Return its current content; IntegrityError when it is missing, MalformedDocument."""
        stamp, seen = Stamp.of(self._folder, INDEX_FILE), self._seen
        if seen is not None and seen[0] == stamp:
            return seen[1]
        index = self._read(is_store=is_store)
        # Decoding ten thousand entries takes as long as everything else that `tag` does.
        if stamp is not None and stamp.is_stable and Stamp.of(self._folder, INDEX_FILE) == stamp:
            self._seen = (stamp, index)
        return index

    def note(self, data: bytes, index: IndexFile) -> None:
        """Note what index.json was written from, so that it need not be decoded again."""
        self._decoded = _hash(data), index

    def _read(self, *, is_store: bool) -> IndexFile:
        hint = REBUILD_HINT if is_store else None
        try:
            return self._decode(is_store=is_store)
        except NotFound as error:
            # A layout is made with its index, so a missing one does not mean "no images".
            message = f"{self._folder.child(INDEX_FILE)!r} is missing"
            raise IntegrityError(message, hint=hint) from error
        except MalformedDocument as error:
            message = f"{self._folder.path}/{error.message}"
            raise MalformedDocument(message, hint=error.hint or hint) from error

    def _decode(self, *, is_store: bool) -> IndexFile:
        limit = index_limit(is_store=is_store)
        data = self._folder.read_file(INDEX_FILE, limit)
        # A server asks again and again while the stamp of a new file is not stable.
        known, index = self._decoded
        if known != _hash(data):
            index = IndexFile.parse(data, what=INDEX_FILE, limit=limit, is_store=is_store)
            self.note(data, index)
        return index


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
