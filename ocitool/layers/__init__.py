"""Looking inside layers: what a layer's tar holds and what its members mean.

Imports `tarstream` and `compression`; knows no place.
"""

from ocitool.layers.measure import LayerMeasure, measure_layer
from ocitool.layers.paths import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout, layer_path
from ocitool.layers.unpacking import unpacked

__all__ = [
    "OPAQUE_WHITEOUT",
    "WHITEOUT_PREFIX",
    "LayerMeasure",
    "is_whiteout",
    "layer_path",
    "measure_layer",
    "unpacked",
]
