"""The members of one layer, as columns: a million of them take little more than their names."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, overload

from msgspec import Struct, field

from ocitool.formats.compression import Codec
from ocitool.image.layers import EntryKind

FILE, DIRECTORY, SYMLINK, HARD_LINK, CHARACTER, BLOCK, FIFO, OTHER, WHITEOUT, OPAQUE = range(10)
"""What `kinds` of a table holds for each member."""
KINDS: Final = (
    EntryKind.FILE,
    EntryKind.DIRECTORY,
    EntryKind.SYMLINK,
    EntryKind.HARD_LINK,
    EntryKind.CHARACTER,
    EntryKind.BLOCK,
    EntryKind.FIFO,
    EntryKind.OTHER,
    EntryKind.WHITEOUT,
    EntryKind.OPAQUE,
)
"""The words for the numbers in `kinds`."""
DIGEST_BYTES: Final = 32
_NOT_HASHED: Final = bytes(DIGEST_BYTES)


def _longs() -> "array[int]":
    return array("q")


class LayerTable(Struct, kw_only=True, eq=False):
    """The members of one layer, in the order of its tar. A row is the number of a member, from 0.

    A path is in two parts: `parents[row]` is the index of its folder in `folders`, of which the
    first is the root "", and `names[row]` is its last component, "" for the root. Both are as
    `layer_path` spells them, surrogateescape keeps bytes that are not UTF-8. A whiteout has the
    path that it hides, an opaque one that of the folder.

    `kinds` are the numbers above. `sizes` are the bytes of files once unpacked, 0 for everything
    else; `stored` has the bytes of data in the tar of those members where it is another number,
    such as the files in `sparse`. `headers` is the offset of a member's first byte in the
    uncompressed tar, its extension headers included, `datas` that of its data. `digests` has the
    SHA-256 of each file's content, 32 bytes a row, zeros where it was not hashed; `checks` has the
    CRC-32, -1 where that is not known.

    `exact_mtimes` has the times in digits that have more of them than a float.

    `diff_id` is the digest of the tar, if it was computed. `verified` tells whether all bytes were
    read and were what the layer's digest says. `is_copyable` tells whether a member means the same
    in another tar: no PAX header applies to several members, and no name has ".." in it.
    """

    codec: Codec
    tar_size: int = 0
    diff_id: str | None = None
    verified: bool = False
    is_copyable: bool = True
    folders: list[str] = field(default_factory=lambda: [""])
    names: list[str] = field(default_factory=list)
    parents: "array[int]" = field(default_factory=lambda: array("I"))
    kinds: bytearray = field(default_factory=bytearray)
    sizes: "array[int]" = field(default_factory=_longs)
    modes: "array[int]" = field(default_factory=lambda: array("H"))
    uids: "array[int]" = field(default_factory=_longs)
    gids: "array[int]" = field(default_factory=_longs)
    mtimes: "array[float]" = field(default_factory=lambda: array("d"))
    headers: "array[int]" = field(default_factory=_longs)
    datas: "array[int]" = field(default_factory=_longs)
    stored: dict[int, int] = field(default_factory=dict)
    sparse: set[int] = field(default_factory=set)
    links: dict[int, str] = field(default_factory=dict)
    xattrs: dict[int, Mapping[str, bytes]] = field(default_factory=dict)
    devices: dict[int, tuple[int, int]] = field(default_factory=dict)
    exact_mtimes: dict[int, str] = field(default_factory=dict)
    digests: bytearray | None = None
    checks: "array[int] | None" = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def paths(self) -> "Paths":
        """The path of each row; the root is ""."""
        return Paths(self)

    def path(self, row: int) -> str:
        """Return the path of a member, for a whiteout the one that it hides."""
        folder, name = self.folders[self.parents[row]], self.names[row]
        return f"{folder}/{name}" if folder and name else folder or name

    def stored_size(self, row: int) -> int:
        """Return how many bytes of data a member has in the tar."""
        return self.stored.get(row, self.sizes[row])

    def digest(self, row: int) -> bytes | None:
        """Return the SHA-256 of a file's content, None if it was not hashed."""
        if self.digests is None:
            return None
        found = bytes(self.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES])
        return None if found == _NOT_HASHED else found

    def set_digest(self, row: int, digest: bytes) -> None:
        """Note the SHA-256 of a file's content."""
        if self.digests is None:
            self.digests = bytearray(DIGEST_BYTES * len(self))
        self.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES] = digest

    def check(self, row: int) -> int | None:
        """Return the CRC-32 of a file's content, None if it is not known."""
        found = -1 if self.checks is None else self.checks[row]
        return None if found < 0 else found

    def set_check(self, row: int, check: int) -> None:
        """Note the CRC-32 of a file's content."""
        if self.checks is None:
            self.checks = array("q", [-1]) * len(self)
        self.checks[row] = check


class Paths(Sequence[str]):
    """The paths of a table's rows, put together when they are asked for."""

    def __init__(self, table: LayerTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self._table.path(one) for one in range(*row.indices(len(self)))]
        return self._table.path(row)

    def __iter__(self) -> Iterator[str]:
        return map(self._table.path, range(len(self)))
