"""Give names to images of a layout."""

from collections.abc import Sequence

from ocitool.errors import NotFound
from ocitool.image.content import Root
from ocitool.image.graph import closure_of
from ocitool.places.layout import Layout, NameChange, Writing


def tag(layout: Layout, root: Root, names: Sequence[str]) -> list[NameChange]:
    """Make names point to an image, all in one change; return which names moved.

    NotFound if another process removed the image or a part of it meanwhile.
    """
    closure = closure_of(layout, root.descriptor)
    with Writing(layout) as writing:
        writing.announce(closure.descriptors)
        for descriptor in closure.descriptors:
            if not writing.has(descriptor):
                raise NotFound(f"blob {descriptor.digest} was removed by another process")
        writing.root(root.descriptor, names)
    return writing.changes
