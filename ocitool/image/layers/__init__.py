"""Looking inside layers: what a layer's tar holds and what its members mean.

`listing` lists the entries of a layer, `extraction` unpacks layers into a folder, and `tree` walks
a folder like a process that has it as its root.
"""

from ocitool.image.layers.extraction import Extracted, Extraction, Keep
from ocitool.image.layers.listing import EntryKind, LayerEntry, layer_entries, list_layer
from ocitool.image.layers.paths import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout, layer_path
from ocitool.image.layers.tree import Spot, Tree, prune
from ocitool.image.layers.unpacking import Pieces, unpacked

__all__ = [
    "OPAQUE_WHITEOUT",
    "WHITEOUT_PREFIX",
    "EntryKind",
    "Extracted",
    "Extraction",
    "Keep",
    "LayerEntry",
    "Pieces",
    "Spot",
    "Tree",
    "is_whiteout",
    "layer_entries",
    "layer_path",
    "list_layer",
    "prune",
    "unpacked",
]
