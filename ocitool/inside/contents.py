"""How much a layer holds, without what it hides."""

from msgspec import Struct

from ocitool.inside.table import DIRECTORY, OPAQUE, WHITEOUT, LayerTable

_NOT_COUNTED = (DIRECTORY, WHITEOUT, OPAQUE)


class LayerContent(Struct, frozen=True, kw_only=True):
    """What a layer adds: files, links and devices, and the bytes of the files."""

    files: int
    bytes: int


def content_of(table: LayerTable) -> LayerContent:
    """Count what a layer adds; of several members of one path the last one counts."""
    last = {place: row for row, place in enumerate(zip(table.parents, table.names, strict=True))}
    rows = [row for row in last.values() if table.kinds[row] not in _NOT_COUNTED]
    return LayerContent(files=len(rows), bytes=sum(table.sizes[row] for row in rows))
