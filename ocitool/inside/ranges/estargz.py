"""eStargz: a gzip layer whose last member of the tar is its table of contents.

github.com/containerd/stargz-snapshotter, docs/estargz.md: the last 51 bytes are an empty gzip
member whose extra field says where the member with the table begins.
"""

import io
import re
from typing import Final

from ocitool.errors import MalformedDocument
from ocitool.formats.compression import DecompressingReader
from ocitool.formats.tar import Entry, StreamInput, TarReader
from ocitool.image.content import OpenRange
from ocitool.inside.ranges.reading import read_range
from ocitool.inside.ranges.toc import (
    MOST_BYTES,
    Chunk,
    NoTable,
    TocEntry,
    TocFile,
    check_digest,
    parse_toc,
)
from ocitool.oci import Descriptor, Digest

TOC_DIGEST: Final = "containerd.io/snapshot/stargz/toc.digest"
_TOC_NAME: Final = "stargz.index.json"
_FOOTER: Final = 51
# A header of 10 bytes with an extra field of 26: subfield SG of 22 bytes, then an empty stream.
_FOOTER_OF_TOC: Final = re.compile(
    rb"\x1f\x8b\x08\x04.{6}\x1a\x00SG\x16\x00([0-9a-f]{16})STARGZ", re.DOTALL
)


def read_estargz(layer: Descriptor, open_range: OpenRange) -> list[TocFile]:
    """Return the members of a layer, that with its table among them.

    Raises DigestMismatch unless the table is the one that the manifest promises, NoTable if the
    layer has to be read whole, NoRanges, and MalformedDocument for a wrong table.
    """
    end = layer.size - _FOOTER
    footer = _FOOTER_OF_TOC.match(read_range(open_range, end, layer.size)) if end > 0 else None
    if footer is None:
        raise NoTable("its table of contents is not in it")
    start = int(footer.group(1), 16)
    what = f"the table of contents of layer {layer.digest.short}"
    if not 0 <= start < end:
        raise MalformedDocument(f"{what} begins at byte {start} of {end}")
    packed = read_range(open_range, start, end)
    reader = TarReader(StreamInput(DecompressingReader(io.BytesIO(packed)).read))
    entry = next(iter(reader), None)
    if entry is None or entry.name != _TOC_NAME:
        raise MalformedDocument(f"{what} is not where the end of the layer says")
    raw = reader.read_whole(entry, limit=MOST_BYTES)
    check_digest(raw, layer.annotations[TOC_DIGEST], what)
    return [*parse_toc(raw, what, end=start), _own_member(entry, raw, start, end)]


def _own_member(entry: Entry, raw: bytes, start: int, end: int) -> TocFile:
    """Return the member that holds the table: containers see it, and the table lacks it."""
    digest = Digest.of(raw)
    about = TocEntry(
        name=entry.name,
        type="reg",
        size=entry.size,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        digest=str(digest),
    )
    return TocFile(about, (Chunk(start, end, entry.data_offset, entry.size, digest),))
