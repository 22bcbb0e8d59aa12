"""From the members of a tar to the columns of a table."""

import hashlib
from collections.abc import Iterable
from typing import Final

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.compression import Codec
from ocitool.formats.tar import Entry, EntryType, TarReader
from ocitool.image.layers import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout, layer_path
from ocitool.inside.table import (
    BLOCK,
    CHARACTER,
    DIGEST_BYTES,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    OPAQUE,
    OTHER,
    SYMLINK,
    WHITEOUT,
    LayerTable,
)
from ocitool.oci import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted

_CODES: Final = {
    EntryType.FILE: FILE,
    EntryType.DIRECTORY: DIRECTORY,
    EntryType.SYMLINK: SYMLINK,
    EntryType.HARD_LINK: HARD_LINK,
    EntryType.CHARACTER: CHARACTER,
    EntryType.BLOCK: BLOCK,
    EntryType.FIFO: FIFO,
    EntryType.OTHER: OTHER,
}
_LINKS: Final = (SYMLINK, HARD_LINK)
_DEVICES: Final = (CHARACTER, BLOCK)
_READ: Final = 1 << 20
_MOST_TEXT: Final = 512 << 20
"""Bytes of names, link targets and attributes that the table of one layer may hold."""


class TooManyMembers(Exception):
    """A layer has more members than are to be looked at."""


class TableBuilder:
    """Makes the table of a layer from its members. Use it once.

    Raises TooManyMembers for more than `most`, LimitExceeded for more than the limits allow, for
    too long paths and too much text, MalformedArchive for a number that no file system can hold.
    """

    def __init__(
        self, codec: Codec, *, most: int | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._most = limits.extracted_entries if most is None else most
        self._stops_early = most is not None
        self.table = LayerTable(codec=codec)
        self._limits = limits
        self._folders = {"": 0}
        # The folder of a name as it is written; most members share it with the one before.
        self._known: dict[str, int] = {}
        self._text = 0

    def read(self, reader: TarReader, *, hashing: bool) -> LayerTable:
        """Read all members; with `hashing` also the content of every file."""
        self.add(reader, hashed_by=reader if hashing else None)
        if reader.has_global_headers:
            self.table.is_copyable = False
        return self.table

    def add(self, entries: Iterable[Entry], *, hashed_by: TarReader | None = None) -> LayerTable:
        """Take members; `hashed_by` is the reader that they come from if it shall hash files."""
        try:
            self._add(entries, hashed_by)
        except OverflowError:
            # A number does not fit into its column.
            row = len(self.table)
            raise MalformedArchive(
                f"member {row + 1} of the layer has too large a number"
            ) from None
        return self.table

    def _add(self, entries: Iterable[Entry], hashed_by: TarReader | None) -> None:
        table, most = self.table, self._most
        add_header, add_data = table.headers.append, table.datas.append
        add_size, add_mode, add_time = table.sizes.append, table.modes.append, table.mtimes.append
        add_uid, add_gid = table.uids.append, table.gids.append
        begin = 0
        for row, entry in enumerate(entries):
            if row == most:
                raise self._too_many()
            kind = self._place(entry)
            size, start = entry.size, entry.data_offset
            add_header(begin)
            add_data(start)
            begin = start + size + (-size & 511)
            add_mode(entry.mode)
            add_uid(entry.uid)
            add_gid(entry.gid)
            add_time(entry.mtime)
            if kind == FILE and entry.sparse_size is None:
                add_size(size)
            else:
                add_size(self._unusual(row, kind, entry))
            if kind > DIRECTORY or entry.xattrs:
                self._details(row, kind, entry)
            if hashed_by is not None:
                self._hash(hashed_by, entry, kind)

    def _too_many(self) -> Exception:
        if self._stops_early:
            return TooManyMembers()
        return LimitExceeded(f"the layer has more than {self._most} members")

    def _place(self, entry: Entry) -> int:
        """Note the path of a member; return its kind."""
        name, table = entry.name, self.table
        kind = _CODES[entry.type]
        head, _, leaf = name.removesuffix("/").rpartition("/")
        parent = self._known.get(head)
        if parent is None or len(name) > 255 or leaf[:1] in ("", ".") or not name.isascii():
            parent, leaf, kind = self._resolve(name, kind)
        table.parents.append(parent)
        table.names.append(leaf)
        table.kinds.append(kind)
        return kind

    def _resolve(self, name: str, kind: int) -> tuple[int, str, int]:
        """Return the folder, the name in it, and the kind of a member whose name is not plain."""
        path = layer_path(name)
        self._check(path)
        if ".." in name and ".." in name.split("/"):
            self.table.is_copyable = False
        head, _, leaf = path.rpartition("/")
        if leaf.startswith(WHITEOUT_PREFIX):
            if leaf == OPAQUE_WHITEOUT:
                return self._folder(head), "", OPAQUE
            hidden = leaf.removeprefix(WHITEOUT_PREFIX)
            # What aufs kept for itself means nothing in an image.
            is_real = is_whiteout(path) or not hidden
            return self._folder(head), hidden if is_real else leaf, WHITEOUT if is_real else OTHER
        parent = self._folder(head)
        written, _, last = name.removesuffix("/").rpartition("/")
        if last == leaf:
            self._known[written] = parent
        return parent, leaf, kind

    def _folder(self, path: str) -> int:
        found = self._folders.get(path)
        if found is None:
            found = self._folders[path] = len(self.table.folders)
            self.table.folders.append(path)
            self._spend(len(path))
        return found

    def _check(self, path: str) -> None:
        if path.isascii() and len(path) <= 255:
            return
        raw = path.encode("utf-8", "surrogateescape")
        longest = max(map(len, raw.split(b"/")))
        self._spend(len(raw))
        if len(raw) > self._limits.path_bytes or longest > self._limits.component_bytes:
            raise LimitExceeded(
                f"the path {quoted(path)} is longer than {self._limits.path_bytes} bytes, or a "
                f"name in it than {self._limits.component_bytes}"
            )

    def _spend(self, count: int) -> None:
        self._text += count
        if self._text > _MOST_TEXT:
            raise LimitExceeded(f"the names in the layer take more than {_MOST_TEXT} bytes")

    def _unusual(self, row: int, kind: int, entry: Entry) -> int:
        """Return the size of a member that is not a plain file, and note what its data takes."""
        size = entry.logical_size if kind == FILE else 0
        if size != entry.size:
            self.table.stored[row] = entry.size
        if entry.sparse:
            self.table.sparse.add(row)
        return size

    def _details(self, row: int, kind: int, entry: Entry) -> None:
        """Note what few members have: links, devices, extended attributes."""
        if kind in _LINKS:
            target = entry.link_name
            if len(target) > self._limits.path_bytes:
                raise LimitExceeded(
                    f"the target of the link {quoted(entry.name)} is longer than "
                    f"{self._limits.path_bytes} bytes"
                )
            self._spend(len(target))
            self.table.links[row] = target
        elif kind in _DEVICES:
            self.table.devices[row] = (entry.device_major, entry.device_minor)
        if entry.xattrs:
            self._spend(sum(len(name) + len(value) for name, value in entry.xattrs.items()))
            self.table.xattrs[row] = entry.xattrs

    def _hash(self, reader: TarReader, entry: Entry, kind: int) -> None:
        """Hash the content of a file; what is not a file, or is sparse, gets no digest."""
        digests = self.table.digests
        if digests is None:
            digests = self.table.digests = bytearray()
        if kind != FILE or entry.sparse_size is not None:
            digests += bytes(DIGEST_BYTES)
            return
        hasher = hashlib.sha256()
        while data := reader.read_data(entry, _READ):
            hasher.update(data)
        digests += hasher.digest()
