"""One member of a tar, and what a tar may cost its reader."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ocitool.errors import MalformedArchive

_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class NotATar(MalformedArchive):
    """The very first block is no tar header: the bytes are something else."""


class TarLimits(Struct, frozen=True, kw_only=True):
    """What a tar may cost its reader.

    `extension_bytes` bounds all extension headers of one member together, in bytes with their
    padding, and also what global headers may leave behind.
    """

    extension_bytes: int = 1 << 20


DEFAULT_TAR_LIMITS: Final = TarLimits()


class EntryType(StrEnum):
    """What a member is. `OTHER` is a type this parser does not know; its data is still framed."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"
    OTHER = "other"


class Entry(Struct, frozen=True, gc=False):
    """One member of a tar, its extension headers already applied.

    Names are the archive's own, neither normalised nor trusted (a directory may end in "/"), with
    bytes that are not UTF-8 kept by surrogateescape. `size` is the data that follows in the
    archive; only a sparse file has another `logical_size`. `mode` is the permission bits alone.
    `mtime` is in seconds and may be negative or fractional. Offsets are bytes from the beginning of
    the archive; `header_offset` is that of the member's own header, after its extension headers.
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

    @property
    def sparse(self) -> bool:
        """Tell whether the data is a map of a sparse file rather than its content."""
        return self.sparse_size is not None

    @property
    def logical_size(self) -> int:
        """The file's size once unpacked, in bytes."""
        return self.size if self.sparse_size is None else self.sparse_size
