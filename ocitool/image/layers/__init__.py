"""Looking inside layers: what a layer's tar holds and what its members mean.

`listing` lists the entries of a layer, `extraction` unpacks layers into a folder, and `tree` walks
a folder like a process that has it as its root.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.image.layers.extraction import Extracted as Extracted
    from ocitool.image.layers.extraction import Extraction as Extraction
    from ocitool.image.layers.extraction import Keep as Keep
    from ocitool.image.layers.listing import EntryKind as EntryKind
    from ocitool.image.layers.listing import LayerEntry as LayerEntry
    from ocitool.image.layers.listing import layer_entries as layer_entries
    from ocitool.image.layers.listing import list_layer as list_layer
    from ocitool.image.layers.paths import OPAQUE_WHITEOUT as OPAQUE_WHITEOUT
    from ocitool.image.layers.paths import WHITEOUT_PREFIX as WHITEOUT_PREFIX
    from ocitool.image.layers.paths import is_whiteout as is_whiteout
    from ocitool.image.layers.paths import layer_path as layer_path
    from ocitool.image.layers.tree import Spot as Spot
    from ocitool.image.layers.tree import Tree as Tree
    from ocitool.image.layers.tree import prune as prune
    from ocitool.image.layers.unpacking import Pieces as Pieces
    from ocitool.image.layers.unpacking import unpacked as unpacked

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "extraction": "Extracted Extraction Keep",
        "listing": "EntryKind LayerEntry layer_entries list_layer",
        "paths": "OPAQUE_WHITEOUT WHITEOUT_PREFIX is_whiteout layer_path",
        "tree": "Spot Tree prune",
        "unpacking": "Pieces unpacked",
    },
)
