"""zstd:chunked: a zstd layer with its table of contents in a frame that decoders skip.

containers/storage, pkg/chunked: annotations of the layer say where the table lies and what its
stored bytes hash to.
"""

import io
import re
from typing import Final

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.formats.compression import Codec, DecompressingReader
from ocitool.image.content import OpenRange
from ocitool.inside.ranges.reading import read_range
from ocitool.inside.ranges.toc import MOST_BYTES, NoTable, TocFile, check_digest, parse_toc
from ocitool.oci import Descriptor
from ocitool.oci.quoting import quoted

_PREFIXES: Final = ("io.github.containers.zstd-chunked", "io.containers.zstd-chunked")
"""How its annotations begin; the second is what podman 4 writes."""
# Offset, length, length once unpacked, and the kind of table.
_FIELDS: Final = re.compile(r"(\d{1,18}):(\d{1,18}):(\d{1,18}):1", re.ASCII)


def is_zstd_chunked(layer: Descriptor) -> bool:
    """Tell whether the manifest promises such a table."""
    return _annotation(layer, "manifest-checksum") is not None


def _annotation(layer: Descriptor, name: str) -> str | None:
    found = (layer.annotations.get(f"{prefix}.{name}") for prefix in _PREFIXES)
    return next((text for text in found if text is not None), None)


def read_zstd_chunked(layer: Descriptor, open_range: OpenRange) -> list[TocFile]:
    """Return the members of a layer.

    Raises DigestMismatch unless the table is the one that the manifest promises, NoTable if the
    layer has to be read whole, NoRanges, and MalformedDocument for a wrong table.
    """
    what = f"the table of contents of layer {layer.digest.short}"
    position = _annotation(layer, "manifest-position") or ""
    found = _FIELDS.fullmatch(position)
    if found is None:
        raise NoTable(f"its table of contents, at {quoted(position)}, has an unknown form")
    start, length, size = map(int, found.groups())
    if not 0 < start < start + length <= layer.size:
        raise MalformedDocument(f"{what} lies outside of it, at {position}")
    if size > MOST_BYTES:
        raise LimitExceeded(f"{what} has {size} bytes, more than {MOST_BYTES}")
    packed = read_range(open_range, start, start + length)
    check_digest(packed, _annotation(layer, "manifest-checksum") or "", what)
    raw = _unpacked(packed, size)
    if len(raw) != size:
        raise MalformedDocument(f"{what} has {len(raw)} bytes, not {size}")
    return parse_toc(raw, what, end=start)


def _unpacked(packed: bytes, size: int) -> bytes:
    """Return what a table unpacks to, at most one byte more than it should."""
    reader = DecompressingReader(io.BytesIO(packed), Codec.ZSTD)
    parts, left = [], size + 1
    while left and (part := reader.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
