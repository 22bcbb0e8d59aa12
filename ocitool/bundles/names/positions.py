"""Which values of a document are images, by the rules of Kubernetes, compose, Kustomize and imgpkg.

Fields are looked up as YAML means them: an alias is the value that it stands for, and `<<` brings
the fields of other mappings, behind those that a mapping has itself.
"""

from collections.abc import Iterator
from typing import Final

from ocitool.bundles.names.found import Form
from ocitool.bundles.names.tree import CONTAINERS, MERGE, Fields, Items, Node, Scalar
from ocitool.errors import LimitExceeded

_KUSTOMIZATIONS: Final = ("Kustomization", "Component")
_CHANGES: Final = ("newName", "newTag", "digest")
_LOCK: Final = ("ImagesLock", "imgpkg.carvel.dev/")
_LONGEST_CHAIN: Final = 100

Position = tuple[Form, Node]
"""A value that is an image, or the mapping whose fields make one, and by which rule."""


class Document:
    """The tree of one document, in which fields are looked up."""

    def __init__(self, root: Node) -> None:
        self.root = root
        # What was looked up is kept: the same few mappings may be merged into very many.
        self._found: dict[tuple[int, str], Node | None] = {}

    @property
    def kind(self) -> str:
        """The field `kind`, empty where there is none."""
        return self.text(self.root, "kind")

    @property
    def is_kustomization(self) -> bool:
        """Whether it is a Kustomization or is written like one."""
        images = self.field(self.root, "images")
        return self.kind in _KUSTOMIZATIONS or (not self.kind and self._are_changes(images))

    def field(self, node: Node | None, key: str, depth: int = 0) -> Node | None:
        """Return the value of a field, also of one that `<<` brings, or None.

        LimitExceeded for a longer chain of merges than anything sound has; `depth` is for those.
        """
        if not isinstance(node, Fields):
            return None
        if depth > _LONGEST_CHAIN:
            raise LimitExceeded(f"more than {_LONGEST_CHAIN} mappings are merged in a chain")
        place = (id(node), key)
        if place not in self._found:
            # Known before it is looked for, which ends a chain that leads back to itself.
            self._found[place] = None
            self._found[place] = self._look_up(node, key, depth)
        return self._found[place]

    def text(self, node: Node | None, key: str) -> str:
        """Return the text of a field; it is empty when there is none."""
        found = self.field(node, key)
        return found.value if isinstance(found, Scalar) else ""

    def mappings(self) -> Iterator[Fields]:
        """Yield every mapping once, at any depth."""
        return (node for node in self.collections() if isinstance(node, Fields))

    def collections(self) -> Iterator[Fields | Items]:
        """Yield every mapping and every sequence once, at any depth."""
        seen: set[int] = set()
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            # A node is met again where an alias leads to it, and perhaps inside itself.
            if isinstance(node, Scalar) or id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            if isinstance(node, Fields):
                waiting.extend(entry.value for entry in node.entries)
            else:
                waiting.extend(node.items)

    def positions(self) -> Iterator[Position]:
        """Yield where the images of the document stand."""
        images = _items(self.field(self.root, "images"))
        kind, version = _LOCK
        if self.kind == kind and self.text(self.root, "apiVersion").startswith(version):
            yield from (("lock", item) for item in images)
            return
        if self.is_kustomization:
            yield from (("kustomize", item) for item in images)
        if not self.kind:
            yield from self._services()
        for node in self.mappings():
            yield from self._of_pod(node)

    def _look_up(self, node: Fields, key: str, depth: int) -> Node | None:
        merged: list[Node] = []
        for entry in node.entries:
            if entry.key == key:
                return entry.value
            if entry.key == MERGE:
                merged += _several(entry.value)
        found = (self.field(one, key, depth + 1) for one in merged)
        return next((value for value in found if value is not None), None)

    def _of_pod(self, node: Fields) -> Iterator[Position]:
        """Yield the images of the containers and of the volumes that stand in a mapping."""
        for entry in node.entries:
            if entry.key in CONTAINERS:
                for container in _items(entry.value):
                    yield from _image("kubernetes", self.field(container, "image"))
            elif entry.key == "volumes":
                for volume in _items(entry.value):
                    reference = self.field(self.field(volume, "image"), "reference")
                    yield from _image("kubernetes", reference)

    def _services(self) -> Iterator[Position]:
        """Yield the images of the services of compose, those that `<<` brings among them."""
        seen: set[int] = set()
        waiting = [self.field(self.root, "services")]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, Fields) or id(node) in seen:
                continue
            seen.add(id(node))
            for entry in node.entries:
                if entry.key == MERGE:
                    waiting.extend(_several(entry.value))
                else:
                    yield from _image("compose", self.field(entry.value, "image"))

    def _are_changes(self, images: Node | None) -> bool:
        """Tell whether a list is one of Kustomize, whose file need not say what it is."""
        return any(
            self.field(item, "name") is not None
            and any(self.field(item, key) is not None for key in _CHANGES)
            for item in _items(images)
        )


def _image(form: Form, value: Node | None) -> Iterator[Position]:
    if value is not None and not (isinstance(value, Scalar) and not value.value):
        yield form, value


def _items(node: Node | None) -> list[Node]:
    return node.items if isinstance(node, Items) else []


def _several(node: Node) -> list[Node]:
    return node.items if isinstance(node, Items) else [node]
