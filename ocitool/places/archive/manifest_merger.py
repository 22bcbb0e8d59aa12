"""Merge the images of manifest.json with the roots of index.json: equal configs, one image."""

from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.image.content import Root
from ocitool.oci import Digest
from ocitool.oci.annotations import beside
from ocitool.places.archive.docker import DockerImage

Holders = dict[Digest, list[tuple[int, int]]]
"""By config: the positions of roots that have an image of it, and how many layers that has."""


class _Merge(Struct):
    """Where an image of manifest.json belongs: a root, and the names of all roots like it."""

    position: int
    layers: int
    known: set[str]
    added: dict[str, None] = field(default_factory=dict)


class ManifestMerger:
    """Merges the images of manifest.json into the roots of index.json, by their configs."""

    def __init__(self, roots: Sequence[Root], holders: Holders) -> None:
        self._roots: list[Root | None] = list(roots)
        self._holders = holders
        self._merges: dict[Digest, _Merge] = {}

    def merge(self, image: DockerImage, config: Digest) -> bool:
        """Add the image's names to its root; False when no root has its config and layers."""
        merge = self._merges.get(config)
        if merge is None or merge.layers < len(image.layers):
            merge = self._find_root(config, len(image.layers))
        if merge is None:
            return False
        # Several manifests may have one config; those that index.json names keep their names.
        merge.added.update((name, None) for name in image.names if name not in merge.known)
        return True

    def _find_root(self, config: Digest, layers: int) -> _Merge | None:
        self._apply_names(config)
        fitting = [
            (position, count, root)
            for position, count in self._holders.get(config, ())
            if (root := self._roots[position]) is not None and count >= layers
        ]
        if not fitting:
            return None
        merge = self._merges[config] = _Merge(
            position=fitting[0][0],
            layers=min(count for _, count, _ in fitting),
            known={name for _, _, root in fitting for name in root.names},
        )
        self._drop(config, layers)
        return merge

    def take_over(self, image: DockerImage, config: Digest) -> tuple[str, ...]:
        """Drop roots that lack layers of the image; return their names, the last root's first."""
        return self._drop(config, len(image.layers))

    def _drop(self, config: Digest, layers: int) -> tuple[str, ...]:
        # Docker 25.0.0 wrote OCI manifests without their layers (moby#47065).
        names: tuple[str, ...] = ()
        for position, count in self._holders.get(config, ()):
            root = self._roots[position]
            if root is not None and count < layers:
                self._roots[position] = None
                names = (*root.names, *names)
        return names

    def append(self, root: Root, image: DockerImage, config: Digest) -> None:
        """Take in a root that was made for an image."""
        self._holders.setdefault(config, []).append((len(self._roots), len(image.layers)))
        self._roots.append(root)

    def _apply_names(self, config: Digest) -> None:
        merge = self._merges.pop(config, None)
        root = self._roots[merge.position] if merge is not None else None
        if merge is not None and root is not None:
            names = (*root.names, *merge.added)
            label = None if names else root.label
            others = beside((root.label, *root.other_names), names, label)
            named = replace(root, names=names, label=label, other_names=others)
            self._roots[merge.position] = named

    def roots(self) -> list[Root]:
        """Return the roots with their names."""
        for config in tuple(self._merges):
            self._apply_names(config)
        return [root for root in self._roots if root is not None]
