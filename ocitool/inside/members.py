"""From the members of a tar to the columns of a table."""

import hashlib
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.checksums import crc32
from ocitool.formats.compression import Codec
from ocitool.formats.tar import Entry, EntryType, TarReader
from ocitool.image.layers import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout, layer_path
from ocitool.inside.hashes import Hashes
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
_ODD: Final = ("", ".")
"""How names begin that `layer_path` may have to spell in another way, or that are whiteouts."""
_SHORT: Final = 255
_READ: Final = 1 << 20
_MOST_TEXT: Final = 256 << 20
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

    def read(self, reader: TarReader, hashes: Hashes = Hashes.NONE) -> LayerTable:
        """Read all members, and the content of every file if it is to be hashed."""
        take = {
            Hashes.NONE: None,
            Hashes.CHECKS: partial(self._check_content, reader),
        }.get(hashes, partial(self._hash_content, reader))
        self.add(reader, take)
        if reader.has_global_headers:
            self.table.is_copyable = False
        return self.table

    def add(
        self, entries: Iterable[Entry], take: Callable[[Entry, bool], None] | None = None
    ) -> LayerTable:
        """Take members; `take` is called for each, and told whether it is a file with content."""
        try:
            self._add(entries, take)
        except OverflowError:
            # A number does not fit into its column.
            row = len(self.table.kinds)
            raise MalformedArchive(f"member {row} of the layer has too large a number") from None
        return self.table

    def _add(self, entries: Iterable[Entry], take: Callable[[Entry, bool], None] | None) -> None:
        # One loop without calls for what most members are: a layer may have a million of them.
        table, most, known = self.table, self._most, self._known
        add_header, add_data = table.headers.append, table.datas.append
        add_size, add_mode, add_time = table.sizes.append, table.modes.append, table.mtimes.append
        add_uid, add_gid, add_kind = table.uids.append, table.gids.append, table.kinds.append
        add_parent, add_name, file = table.parents.append, table.names.append, EntryType.FILE
        begin = 0
        for row, entry in enumerate(entries):
            if row == most:
                raise self._too_many()
            name, type_, size, start = entry.name, entry.type, entry.size, entry.data_offset
            head, _, leaf = name.rpartition("/")
            parent = known.get(head)
            kind = FILE
            if parent is None or type_ is not file or leaf[:1] in _ODD or not name.isascii():
                parent, leaf, kind = self._place(name, _CODES[type_])
            add_kind(kind)
            add_parent(parent)
            add_name(leaf)
            add_header(begin)
            add_data(start)
            begin = start + size + (-size & 511)
            add_mode(entry.mode)
            add_uid(entry.uid)
            add_gid(entry.gid)
            add_time(entry.mtime)
            if kind or entry.sparse_size is not None or entry.xattrs or entry.exact_mtime:
                add_size(self._unusual(row, kind, entry))
            else:
                add_size(size)
            if take is not None:
                take(entry, kind == FILE and entry.sparse_size is None)

    def _too_many(self) -> Exception:
        if self._stops_early:
            return TooManyMembers()
        return LimitExceeded(f"the layer has more than {self._most} members")

    def _place(self, name: str, kind: int) -> tuple[int, str, int]:
        """Return the folder, the name in it, and the kind of any member."""
        head, _, leaf = name.removesuffix("/").rpartition("/")
        parent = self._known.get(head)
        if parent is None or leaf[:1] in _ODD or len(name) > _SHORT or not name.isascii():
            return self._resolve(name, kind)
        return parent, leaf, kind

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
        """Return the size of a member that is not a plain file, and note what else it has."""
        size = entry.logical_size if kind == FILE else 0
        if size != entry.size:
            self.table.stored[row] = entry.size
        if entry.sparse:
            self.table.sparse.add(row)
        if entry.exact_mtime is not None:
            self._spend(len(entry.exact_mtime))
            self.table.exact_mtimes[row] = entry.exact_mtime
        if kind > DIRECTORY or entry.xattrs:
            self._details(row, kind, entry)
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

    def _hash_content(self, reader: TarReader, entry: Entry, has_content: bool) -> None:
        """Hash the content of a file; what is not a file, or is sparse, gets no digest."""
        if self.table.digests is None:
            self.table.digests = bytearray()
        if not has_content:
            self.table.digests += bytes(DIGEST_BYTES)
            return
        hasher, left = hashlib.sha256(), entry.size
        while left:
            data = reader.read_data(entry, _READ)
            hasher.update(data)
            left -= len(data)
        self.table.digests += hasher.digest()

    def _check_content(self, reader: TarReader, entry: Entry, has_content: bool) -> None:
        """Note the checksum of a file; what is not a file, or is sparse, gets none."""
        if self.table.checks is None:
            self.table.checks = array("q")
        check, left = (0, entry.size) if has_content else (-1, 0)
        while left:
            data = reader.read_data(entry, _READ)
            check = crc32(data, check)
            left -= len(data)
        self.table.checks.append(check)
