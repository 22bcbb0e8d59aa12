"""Members of an archive by their path, with links resolved inside the archive.

Nothing of an archive is ever written to a disk under its own name: a path is only a key here.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.tar import Entry, EntryType
from ocitool.fsops import Stamp, translated
from ocitool.image.content import ReadAt
from ocitool.oci.limits import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted
from ocitool.places.archive.chunks import Chunks

INDEX_FILE = "index.json"
MAX_LINKS = 40
NAMES_BYTES = 32 << 20
"""How many bytes all names and link targets of an archive may have together: they are kept."""

MANY_PATHS = 1000
_BLOB_PATH = re.compile(r"blobs/[a-z0-9+._-]+/[0-9a-f]+")


class Member(Struct, frozen=True, kw_only=True):
    """A regular file of an archive: its path as written there, and where its bytes are.

    `chunks` are the names of the files that have them, of an archive that was cut into several.
    """

    path: str
    size: int
    offset: int = 0
    chunks: str | None = None


class TarMembers:
    """The members of a plain tar whose bytes can be read at any offset. Thread-safe."""

    def __init__(self, file: int, what: str, chunks: Chunks | None = None) -> None:
        self.what: str = what
        self._chunks = chunks
        self.first_paths: list[str] = []
        self._file = file
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._ambiguous: set[str] = set()
        self._names_size = 0
        self._end = 0

    def add(self, entry: Entry) -> None:
        """Take note of one entry of the tar; folders and devices are ignored.

        MalformedArchive for a sparse file, LimitExceeded when the names become too many.
        """
        self._names_size += len(entry.name) + len(entry.link_name)
        if self._names_size > NAMES_BYTES:
            raise LimitExceeded(f"{self.what}: its names exceed {NAMES_BYTES} bytes")
        path = _clean(entry.name)
        if path and len(self.first_paths) < MANY_PATHS:
            self.first_paths.append(path)
        if entry.sparse:
            raise MalformedArchive(f"{self.what}: member {quoted(entry.name)} is sparse")
        if entry.type is EntryType.SYMLINK:
            self._add_once(path, link=os.path.join(os.path.dirname(path), entry.link_name))
        elif entry.type is EntryType.HARD_LINK:
            self._add_once(path, link="/" + entry.link_name)
        elif entry.type is EntryType.FILE:
            offset = entry.data_offset
            chunks = self._chunks.span(offset, entry.size) if self._chunks is not None else None
            member = Member(
                path=entry.name,
                size=entry.size,
                offset=offset,
                chunks=chunks,
            )
            self._end = max(self._end, offset + entry.size)
            self._add_once(path, member=member)

    def _add_once(
        self, path: str, *, member: Member | None = None, link: str | None = None
    ) -> None:
        known = path in self._members or path in self._links
        # A blob's name is its digest, so a second copy can only be the same bytes or be refused.
        if known and not (member is not None and _BLOB_PATH.fullmatch(path)):
            self._ambiguous.add(path)
        if member is not None:
            self._members[path] = member
        elif link is not None:
            self._links[path] = link

    def damage_hint(self, offset: int) -> str | None:
        """Return what to do about damage there, if the archive was cut into chunks."""
        return self._chunks.damage_hint(offset) if self._chunks is not None else None

    def files_by_folder(self) -> dict[str, list[str]]:
        """Return the names of the files and links of each folder, by its path."""
        found: dict[str, list[str]] = {}
        for path in (*self._members, *self._links):
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, []).append(name)
        return found

    def find(self, path: str) -> Member | None:
        """Return the regular file that a path leads to, links followed; None when absent.

        MalformedArchive when links form a loop or leave the archive, and when the archive holds
        two members of that path.
        """
        return first_found(path, self._find)

    def _find(self, path: str) -> Member | None:
        resolved = resolved_path(path, self._link_at, self.what)
        self._refuse_ambiguous(resolved)
        return self._members.get(resolved)

    def _refuse_ambiguous(self, path: str) -> None:
        if path in self._ambiguous:
            raise MalformedArchive(
                f"{self.what} holds two members called {quoted(path)}; loaders disagree on "
                "which one counts (docker takes the last)"
            )

    def _link_at(self, path: str) -> str | None:
        target = self._links.get(path)
        if target is not None:
            self._refuse_ambiguous(path)
        return target

    def open(self, member: Member) -> tuple[Callable[[int], bytes], Callable[[], None]]:
        """Return how to read a member's bytes once, and how to be done with it."""
        position = member.offset
        end = member.offset + member.size

        def read(count: int) -> bytes:
            nonlocal position
            with translated("read", self.what):
                part = os.pread(self._file, min(count, end - position), position)
            position += len(part)
            return part

        return read, _nothing

    @contextlib.contextmanager
    def positioned(self, member: Member) -> Iterator[ReadAt]:
        """Return a block in which a member can be read at any offset."""

        def read_at(offset: int, size: int) -> bytes:
            count = max(0, min(size, member.size - offset))
            return os.pread(self._file, count, member.offset + offset)

        with translated("read", self.what):
            yield read_at

    def located(self, member: Member) -> tuple[int, int]:
        """Return a file descriptor, which the caller closes, and where a member begins in it."""
        with translated("open", self.what):
            return os.dup(self._file), member.offset

    def stamp(self, member: Member) -> str | None:
        """Return a text that changes whenever the bytes of a member may; None if it cannot."""
        stamp = Stamp.of_file(self._file)
        text = stamp.text if stamp is not None else None
        return None if text is None else f"{text}:{member.offset}:{member.size}"

    @property
    def is_cut(self) -> bool:
        """Whether the file has become too short for its members since it was opened."""
        with translated("read", self.what):
            return os.fstat(self._file).st_size < self._end

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class Members(Protocol):
    """The members of an archive, to be found by their paths and read."""

    @property
    def what(self) -> str:
        """What the user calls the archive."""

    @property
    def first_paths(self) -> Sequence[str]:
        """The paths of some members, to say what the archive is."""

    def find(self, path: str) -> Member | None:
        """Return the regular file that a path leads to; None when absent."""

    def open(self, member: Member) -> tuple[Callable[[int], bytes], Callable[[], None]]:
        """Return how to read a member's bytes once, and how to be done with it."""

    def positioned(self, member: Member) -> contextlib.AbstractContextManager[ReadAt]:
        """Return a block in which a member can be read at any offset."""

    def located(self, member: Member) -> tuple[int, int]:
        """Return a file descriptor, which the caller closes, and where a member begins in it."""

    def stamp(self, member: Member) -> str | None:
        """Return a text that changes whenever the bytes of a member may; None if it cannot."""

    def close(self) -> None:
        """Close the archive."""


def read_member(members: Members, member: Member, limit: int) -> bytes:
    """Return the bytes of a small member; MalformedArchive beyond `limit` or when it is cut."""
    if member.size > limit:
        raise MalformedArchive(
            f"{members.what}: {quoted(member.path)} is {member.size} bytes; the limit is {limit}"
        )
    read, close = members.open(member)
    try:
        parts = []
        while part := read(1 << 20):
            parts.append(part)
    finally:
        close()
    data = b"".join(parts)
    if len(data) != member.size:
        raise MalformedArchive(f"{members.what}: {quoted(member.path)} is cut short")
    return data


def read_head(members: Members, member: Member, size: int) -> bytes:
    """Return the first bytes of a member, at most `size`."""
    read, close = members.open(member)
    try:
        return read(min(size, member.size))
    finally:
        close()


def read_document_member(
    members: Members, path: str, limits: Limits = DEFAULT_LIMITS
) -> bytes | None:
    """Return the bytes of a well-known document such as index.json, or None when absent."""
    member = members.find(path)
    return None if member is None else read_member(members, member, limits.docker_manifest_bytes)


def first_found(path: str, find: Callable[[str], Member | None]) -> Member | None:
    """Return what a path leads to as it is written or, for archives of Windows, as it is meant.

    `docker save` on Windows has written backslashes into manifest.json, and some tools into names
    of members.
    """
    spellings = dict.fromkeys((path, path.replace("\\", "/"), path.replace("/", "\\")))
    return next((member for text in spellings if (member := find(text)) is not None), None)


def resolved_path(path: str, link_at: Callable[[str], str | None], what: str) -> str:
    """Return the path that a path leads to when `link_at` tells where each link points."""
    _check_path(path, what)
    todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if not done:
                raise MalformedArchive(f"{what}: {quoted(path)} leads out of the archive")
            done.pop()
            continue
        done.append(part)
        target = link_at("/".join(done))
        if target is None:
            continue
        links += 1
        if links > MAX_LINKS:
            raise MalformedArchive(f"{what}: the links at {quoted(path)} form a loop")
        _check_path("/".join((target, *todo)), what)
        done = []
        todo += [part for part in target.split("/") if part not in ("", ".")][::-1]
    return "/".join(done)


def _check_path(path: str, what: str) -> None:
    """Refuse what a file system does not take; a longer path would also cost its length squared."""
    if "\0" in path or len(path) > DEFAULT_LIMITS.path_bytes:
        raise MalformedArchive(f"{what}: {quoted(path)} is not the path of a file")


def _clean(name: str) -> str:
    """Return the one spelling of a member's name: `./x`, `/x` and `x/` are all `x`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _nothing() -> None:
    """Release nothing: the archive keeps its file open."""
