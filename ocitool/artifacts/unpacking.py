"""Unpacking the tar of a folder into an empty private folder, without trusting its content.

Only regular files, folders, and links that stay inside are made. Owners and times are ignored, and
of the mode only the nine permission bits apply, less the umask. If it fails, the caller discards
everything.
"""

from ocitool.artifacts.paths import Parts, parts_of, stays_inside
from ocitool.errors import DigestMismatch, IntegrityError, LimitExceeded, MalformedArchive
from ocitool.formats.compression import CHUNK_SIZE, DecompressingReader
from ocitool.formats.tar import Entry, EntryType, NotATar, StreamInput, TarReader
from ocitool.fsops import Directory, TemporaryFile, make_hard_link, make_link
from ocitool.image.content import Blob
from ocitool.oci import Digest
from ocitool.oci.limits import Limits
from ocitool.oci.quoting import quoted


class NotThatFolder(Exception):
    """The blob is not a tar with its members below the title. Raised before anything is made."""


class Unpacking:
    """Unpacks the folders of one pull; the limits apply to all together. Not thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def unpack(self, blob: Blob, title: Parts, root: Directory, promised: Digest | None) -> None:
        """Make the folder `title` below `root` from its blob.

        The members are below `title`, or below its last part. `promised` is the expected digest of
        the tar. Raises NotThatFolder, IntegrityError for members that are unsafe or damaged,
        LimitExceeded for too many of them.
        """
        reader = _Hashing(DecompressingReader(blob), promised)
        tar = TarReader(StreamInput(reader.read))
        first = True
        try:
            for entry in tar:
                below = _below(parts_of(entry.name, self._limits), title)
                if below is None:
                    raise _misplaced(entry, title) if not first else NotThatFolder
                first = False
                self._count(entry)
                _Member(tar, entry, title, self._limits).make(below, root)
        except NotATar as error:
            raise NotThatFolder from error
        reader.finish()
        if first:
            raise NotThatFolder

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        self._bytes += entry.size
        limits = self._limits
        if self._entries > limits.extracted_entries:
            raise LimitExceeded(f"the folders hold more than {limits.extracted_entries} files")
        if self._bytes > limits.extracted_bytes:
            raise LimitExceeded(f"the folders hold more than {limits.extracted_bytes} bytes")


class _Hashing:
    def __init__(self, raw: DecompressingReader, promised: Digest | None) -> None:
        self._raw = raw
        self._promised = promised
        self._hasher = promised.hasher() if promised is not None else None

    def read(self, size: int) -> bytes:
        part = self._raw.read(size)
        if self._hasher is not None:
            self._hasher.update(part)
        return part

    def finish(self) -> None:
        """Read to the end, so that every checksum is verified, and compare the digest."""
        while self.read(CHUNK_SIZE):
            pass
        if self._promised is None or self._hasher is None:
            return
        actual = Digest.from_hasher(self._promised.algorithm, self._hasher)
        if actual != self._promised:
            raise DigestMismatch(
                f"the folder unpacks to a tar of {actual}; {self._promised} was promised"
            )


class _Member:
    """The current member of a tar."""

    def __init__(self, tar: TarReader, entry: Entry, title: Parts, limits: Limits) -> None:
        self._tar = tar
        self._entry = entry
        self._title = title
        self._limits = limits

    def make(self, path: Parts, root: Directory) -> None:
        """Make the member at `path` below the folder; () is the folder itself."""
        kind = self._entry.type
        if kind is EntryType.DIRECTORY:
            self._folder(root, path).close()
            return
        if not path:
            raise self._refused("is not a folder, although it has the folder's name")
        with self._folder(root, path[:-1]) as parent:
            if parent.kind(path[-1]) is not None:
                raise self._refused("is in it twice")
            if kind is EntryType.FILE and not self._entry.sparse:
                self._file(parent, path[-1])
            elif kind is EntryType.SYMLINK:
                self._link(parent, path)
            elif kind is EntryType.HARD_LINK:
                self._second_name(root, parent, path)
            else:
                raise self._refused(f"is a {'sparse file' if self._entry.sparse else kind}")

    def _folder(self, root: Directory, path: Parts) -> Directory:
        try:
            return open_folder(root, (*self._title, *path))
        except IntegrityError as error:
            raise self._refused("goes through a link or a file") from error

    def _file(self, parent: Directory, name: str) -> None:
        temporary = TemporaryFile.create(parent, ".ocitool-")
        try:
            while part := self._tar.read_data(self._entry, CHUNK_SIZE):
                temporary.write(part)
            temporary.publish(parent, name, self._entry.mode & 0o777)
        finally:
            temporary.discard()

    def _link(self, parent: Directory, path: Parts) -> None:
        target = self._entry.link_name
        if not stays_inside(path, target):
            raise self._refused(f"is a link that leads out of it, to {quoted(target)}")
        make_link(parent, path[-1], target)

    def _second_name(self, root: Directory, parent: Directory, path: Parts) -> None:
        target = _below(parts_of(self._entry.link_name, self._limits), self._title)
        if not target:
            raise self._refused("is a hard link that leads out of it")
        with self._folder(root, target[:-1]) as other:
            if other.kind(target[-1]) != "file":
                raise self._refused("is a hard link, but not to a file before it")
            make_hard_link(other, target[-1], parent, path[-1])

    def _refused(self, what: str) -> IntegrityError:
        title = "/".join(self._title) or "."
        return MalformedArchive(f"the folder {quoted(title)}: {quoted(self._entry.name)} {what}")


def open_folder(root: Directory, path: Parts) -> Directory:
    """Open a folder below another, making missing folders; links are not followed."""
    folder = root.subdirectory(".")
    for name in path:
        with folder:
            folder = folder.subdirectory(name, create=True, lasting=False)
    return folder


def _below(path: Parts, title: Parts) -> Parts | None:
    """Return the path inside the folder: oras-go writes the whole title, oras-py its last part."""
    for prefix in (title, title[-1:]):
        if path[: len(prefix)] == prefix:
            return path[len(prefix) :]
    return None


def _misplaced(entry: Entry, title: Parts) -> IntegrityError:
    name = "/".join(title)
    return MalformedArchive(f"the folder {quoted(name)} holds {quoted(entry.name)}, outside of it")
