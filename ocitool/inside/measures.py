"""A layer in numbers, and the waste of all layers together."""

from collections import Counter
from typing import Self

from msgspec import Struct

from ocitool.formats.compression import Codec
from ocitool.inside.state import TreeState
from ocitool.inside.table import OPAQUE, WHITEOUT, LayerTable
from ocitool.inside.tree import MergedTree
from ocitool.inside.waste import hidden
from ocitool.oci import Descriptor

_DELETIONS = ("deleted", "opaque")
_LARGEST = 3


class LayerMeasure(Struct, frozen=True, kw_only=True):
    """A layer in numbers; sizes in bytes.

    `tar_size` is the uncompressed tar, `diff_id` its digest. `file_bytes` is the logical size of
    the regular files, hard links counted once and a path that occurs twice as its last occurrence.
    `entries` counts the members, whiteouts included; `sparse_files` those that no image tool loads.
    """

    codec: Codec
    stored_size: int
    tar_size: int
    diff_id: str
    file_bytes: int
    entries: int
    whiteouts: int
    sparse_files: int

    @classmethod
    def of(cls, layer: Descriptor, table: LayerTable) -> Self:
        """Return the numbers of a layer with this table."""
        tree = MergedTree()
        record = tree.apply(1, table)
        repeated = sum(table.sizes[row] for row, _ in hidden(record))
        return cls(
            codec=table.codec,
            stored_size=layer.size,
            tar_size=table.tar_size,
            diff_id=table.diff_id or "",
            file_bytes=sum(table.sizes) - repeated,
            entries=len(table),
            whiteouts=table.kinds.count(WHITEOUT) + table.kinds.count(OPAQUE),
            sparse_files=len(table.sparse),
        )


class HiddenBytes(Struct, frozen=True, kw_only=True):
    """Bytes of a layer that another one (or itself) hides, by deleting or by replacing files."""

    layer: int
    hidden_by: int
    is_deleted: bool
    bytes: int


class WasteMeasure(Struct, frozen=True, kw_only=True):
    """The bytes of all files in all layers, and how many of them cannot be seen in the image.

    `largest` are the pairs of layers with most of these bytes, the first one with the most.
    """

    file_bytes: int
    wasted_bytes: int
    largest: tuple[HiddenBytes, ...]

    @classmethod
    def of(cls, tree: TreeState) -> Self:
        """Return the numbers of a tree with all layers."""
        sums: Counter[tuple[int, int, bool]] = Counter()
        for record in tree.records:
            for row, index in hidden(record):
                fate = tree.fates[index]
                key = record.number, fate.layer, fate.how in _DELETIONS
                sums[key] += record.table.sizes[row]
        return cls(
            file_bytes=sum(sum(record.table.sizes) for record in tree.records),
            wasted_bytes=sum(sums.values()),
            largest=tuple(
                HiddenBytes(layer=layer, hidden_by=by, is_deleted=is_deleted, bytes=count)
                for (layer, by, is_deleted), count in sums.most_common(_LARGEST)
            ),
        )
