"""What a layer holds, entry by entry."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ocitool.formats.compression import DecompressingReader, Readable
from ocitool.formats.tar import Entry, EntryType, StreamInput, TarReader
from ocitool.image.content import Source
from ocitool.image.layers.paths import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout, layer_path
from ocitool.oci import Descriptor

_LINKS: Final = (EntryType.SYMLINK, EntryType.HARD_LINK)
_DRAIN: Final = 1 << 18


class EntryKind(StrEnum):
    """What an entry of a layer is.

    A whiteout hides a path of the layers below, an opaque one all that they have in a folder
    (image-spec layer.md, "Whiteouts").
    """

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARD_LINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "fifo"
    OTHER = "other"
    WHITEOUT = "whiteout"
    OPAQUE = "opaque whiteout"


class LayerEntry(Struct, frozen=True, kw_only=True):
    """One entry of a layer, in the order of its tar; a path may occur again.

    `path` is relative to the root of the image, which is ""; for a whiteout it is the path that is
    hidden. `size` is the bytes of a file once unpacked, 0 for everything else. `mode` is the
    permission bits, `mtime` seconds since 1970. `target` is where a link leads, as it is written.
    """

    path: str
    kind: EntryKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    target: str | None = None


def list_layer(source: Source, layer: Descriptor) -> Iterator[LayerEntry]:
    """Yield the entries of a layer, compressed or not, while it is read.

    The entries are verified only at the end: DigestMismatch or SizeMismatch if the content is
    wrong. NotFound when the source lacks the layer, MalformedArchive for what is not a tar.
    """
    with source.open(layer) as blob:
        yield from layer_entries(blob)
        # What follows the end of the tar belongs to the digest too.
        while blob.read(_DRAIN):
            pass


def layer_entries(raw: Readable) -> Iterator[LayerEntry]:
    """Yield the entries of a layer as it is stored. Raises what `TarReader` raises."""
    reader = DecompressingReader(raw)
    for entry in TarReader(StreamInput(reader.read)):
        yield _layer_entry(entry)
    while reader.read(_DRAIN):
        pass


def _layer_entry(entry: Entry) -> LayerEntry:
    path, kind = layer_path(entry.name), EntryKind(entry.type.value)
    if is_whiteout(path):
        folder, _, leaf = path.rpartition("/")
        kind = EntryKind.OPAQUE if leaf == OPAQUE_WHITEOUT else EntryKind.WHITEOUT
        hidden = leaf.removeprefix(WHITEOUT_PREFIX) if kind is EntryKind.WHITEOUT else ""
        path = "/".join(part for part in (folder, hidden) if part)
    return LayerEntry(
        path=path,
        kind=kind,
        size=entry.logical_size if kind is EntryKind.FILE else 0,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime=entry.mtime,
        target=entry.link_name if entry.type in _LINKS else None,
    )
