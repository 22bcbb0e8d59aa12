"""One member of a tar, and the limits of reading."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ocitool.errors import MalformedArchive

_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class NotATar(MalformedArchive):
    """The first block is not a tar header: the data has another format."""


class TarLimits(Struct, frozen=True, kw_only=True):
    """Limits of reading a tar.

    `extension_bytes` limits all extension headers of one member together, in bytes with their
    padding, and also the records that global headers keep.
    """

    extension_bytes: int = 1 << 20


DEFAULT_TAR_LIMITS: Final = TarLimits()


class EntryType(StrEnum):
    """The kind of a member. `OTHER` is an unknown type; its data is skipped correctly, too."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"
    OTHER = "other"


class Entry(Struct, frozen=True, gc=False):
    """One member of a tar, with its extension headers applied.

    Names are those of the archive, neither normalised nor trusted (a directory may end in "/");
    surrogateescape keeps bytes that are not UTF-8. `size` counts the data that follows in the
    archive; only a sparse file has a different `logical_size`. `mode` is only the permission bits.
    `mtime` is in seconds and may be negative or fractional; `exact_mtime` is the same in digits if
    it has more of them than a float can hold. `sparse_map` is where the parts of a sparse file
    belong, as `offset,size,offset,size,...` and unchecked; None if the map is in its data. Offsets
    are bytes from the beginning of the archive; `header_offset` is that of the member's own header,
    after its extension headers.
    """

    name: str
    type: EntryType
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    link_name: str
    user_name: str
    group_name: str
    device_major: int
    device_minor: int
    header_offset: int
    data_offset: int
    xattrs: Mapping[str, bytes] = _NO_XATTRS
    sparse_size: int | None = None
    sparse_map: bytes | None = None
    exact_mtime: str | None = None

    @property
    def sparse(self) -> bool:
        """Whether the member is a sparse file: its data is a map and the parts without holes."""
        return self.sparse_size is not None

    @property
    def logical_size(self) -> int:
        """The size of the unpacked file in bytes."""
        return self.size if self.sparse_size is None else self.sparse_size
