"""What is odd about the layers of an image: told, and never in the way of the numbers."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound, OcitoolError

_MOST: Final = 100
"""How many problems of one kind are kept for each layer; the rest is counted."""

BROKEN: Final[Mapping[str, type[OcitoolError]]] = {"missing": NotFound, "damaged": IntegrityError}
"""The kinds of layers that ought to be readable and are not, and which error that is.

Layers of any other kind cannot be read by their nature.
"""


class Problem(Struct, frozen=True, kw_only=True):
    """One oddity. `kind` is a word, `text` a sentence without the path, `layer` counts from 1.

    Of the tree: stray_whiteout, through_symlink, cross_layer_hard_link, hard_link_to_nothing,
    link_loop, below_a_file, root_replaced. Of a layer, with the path "": encrypted, foreign,
    missing, not_a_layer, damaged.
    """

    layer: int
    path: str
    kind: str
    text: str


class Problems:
    """The problems found so far, of each layer and kind at most some."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._counts: Counter[tuple[int, str]] = Counter()

    def add(self, layer: int, kind: str, path: str, text: str) -> None:
        """Note a problem."""
        self._counts[layer, kind] += 1
        if self._counts[layer, kind] <= _MOST:
            self._found.append(Problem(layer=layer, path=path, kind=kind, text=text))

    def all(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the layers, with how many more there are."""
        more = [
            Problem(layer=layer, path="", kind=kind, text=f"and {count - _MOST} more like these")
            for (layer, kind), count in self._counts.items()
            if count > _MOST
        ]
        return tuple(sorted([*self._found, *more], key=lambda problem: problem.layer))
