"""Which layers two images share: by digest, then by diff ID, never by their place in the stack."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from ocitool.image.instructions import step_words
from ocitool.inside.differences import LayerChanges, LayerOf, SharedLayer
from ocitool.oci import ImageConfig, Manifest


def layers_of(manifest: Manifest, config: ImageConfig) -> tuple[LayerOf, ...]:
    """Return the layers of an image, the lowest first."""
    steps, diff_ids = config.layer_history(), config.diff_ids
    return tuple(
        LayerOf(
            number=n + 1,
            digest=layer.digest,
            diff_id=diff_ids[n] if n < len(diff_ids) else None,
            stored=layer.size,
            instruction=step_words(step) if n < len(steps) and (step := steps[n]) else "",
        )
        for n, layer in enumerate(manifest.layers)
    )


def compare_layers(a: Sequence[LayerOf], b: Sequence[LayerOf]) -> LayerChanges:
    """Match the layers of two images; each is matched once, equal ones in their order."""
    matched: list[SharedLayer] = []
    left_a, left_b = _match(a, b, lambda layer: layer.digest, matched)
    left_a, left_b = _match(left_a, left_b, lambda layer: layer.diff_id, matched)
    return LayerChanges(
        shared=tuple(sorted(matched, key=lambda one: one.a.number)),
        only_a=tuple(left_a),
        only_b=tuple(left_b),
    )


def _match(
    a: Sequence[LayerOf],
    b: Sequence[LayerOf],
    key: Callable[[LayerOf], Hashable],
    matched: list[SharedLayer],
) -> tuple[list[LayerOf], list[LayerOf]]:
    """Add the pairs with equal keys to `matched`; return the layers that have no partner."""
    waiting: dict[Hashable, list[LayerOf]] = defaultdict(list)
    for layer in reversed(b):
        if key(layer) is not None:
            waiting[key(layer)].append(layer)
    left: list[LayerOf] = []
    taken: set[int] = set()
    for layer in a:
        partners = waiting.get(key(layer))
        if partners:
            partner = partners.pop()
            taken.add(partner.number)
            matched.append(SharedLayer(a=layer, b=partner))
        else:
            left.append(layer)
    return left, [layer for layer in b if layer.number not in taken]
