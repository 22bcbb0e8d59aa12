"""A layout of another tool, in whose index.json one name may stand on several entries."""

from collections.abc import Mapping

from ocitool.errors import NotFound
from ocitool.image.content import Root
from ocitool.image.entries import Entries, arrange, entry_root
from ocitool.oci import Digest, mediatype
from ocitool.oci.annotations import base_name
from ocitool.places.layout import Layout
from ocitool.transfer.layered import LayeredSource


class ArrangedLayout(LayeredSource):
    """A layout, and the indexes that were made for it. Read it as any other source."""

    def __init__(self, layout: Layout, entries: Entries) -> None:
        super().__init__(layout)
        self._layout = layout
        self._entries = entries
        for raw in entries.indexes.values():
            self.add(raw, mediatype.OCI_INDEX)

    @property
    def remarks(self) -> Mapping[Digest, tuple[str, ...]]:
        """What was made or left out to offer a root, by its digest."""
        return self._entries.remarks

    def roots(self) -> tuple[Root, ...]:
        """Return the images and artifacts of the layout."""
        return self._entries.roots

    def resolve(self, name: str) -> Root:
        """Return the root with this name, label or digest.

        NotFound when there is none; Refused when the name stands for several images.
        """
        try:
            return self._entries.resolve(name, self._layout.path)
        except NotFound:
            return self._layout.resolve(name)


def arranged(layout: Layout) -> Layout | ArrangedLayout:
    """Return the layout, arranged where its entries share names or have names that are wrong.

    A store keeps its names itself and is never arranged.
    """
    if layout.is_store:
        return layout
    listed = layout.index().entries
    entries = arrange(list(map(entry_root, listed)), join_nameless=True)
    own_names = not any(base_name(entry.annotations) for entry in listed)
    if own_names and not entries.remarks and entries.roots == entries.originals:
        return layout
    return ArrangedLayout(layout, entries)
