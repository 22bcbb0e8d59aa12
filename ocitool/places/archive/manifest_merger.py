"""manifest.json and index.json of one archive, brought together by the configs they share."""

from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.image.content import Root
from ocitool.oci import Digest
from ocitool.places.archive.docker import DockerImage

Holders = dict[Digest, list[tuple[int, int]]]
"""By config: the positions of roots that have an image of it, and how many layers that has."""


class _Joint(Struct):
    """Where an image of manifest.json belongs: a root, and the names of all roots like it."""

    position: int
    layers: int
    known: set[str]
    added: dict[str, None] = field(default_factory=dict)


class Joining:
    """Brings the images of manifest.json and the roots of index.json together, by their configs."""

    def __init__(self, roots: Sequence[Root], holders: Holders) -> None:
        self._roots: list[Root | None] = list(roots)
        self._holders = holders
        self._joints: dict[Digest, _Joint] = {}

    def join(self, image: DockerImage, config: Digest) -> bool:
        """Add the image's names to its root; False when no root has its config and layers."""
        joint = self._joints.get(config)
        if joint is None or joint.layers < len(image.layers):
            joint = self._found(config, len(image.layers))
        if joint is None:
            return False
        # Several manifests may have one config; those that index.json names keep their names.
        joint.added.update((name, None) for name in image.names if name not in joint.known)
        return True

    def _found(self, config: Digest, layers: int) -> _Joint | None:
        self._settle(config)
        fitting = [
            (position, count, root)
            for position, count in self._holders.get(config, ())
            if (root := self._roots[position]) is not None and count >= layers
        ]
        if not fitting:
            return None
        joint = self._joints[config] = _Joint(
            position=fitting[0][0],
            layers=min(count for _, count, _ in fitting),
            known={name for _, _, root in fitting for name in root.names},
        )
        self._drop(config, layers)
        return joint

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

    def _settle(self, config: Digest) -> None:
        joint = self._joints.pop(config, None)
        root = self._roots[joint.position] if joint is not None else None
        if joint is not None and root is not None:
            names = (*root.names, *joint.added)
            label = None if names else root.label
            self._roots[joint.position] = replace(root, names=names, label=label)

    def roots(self) -> list[Root]:
        """Return the roots with their names."""
        for config in tuple(self._joints):
            self._settle(config)
        return [root for root in self._roots if root is not None]
