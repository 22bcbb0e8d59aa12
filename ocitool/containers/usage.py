"""How much containers occupy besides their images."""

from ocitool.containers.bundles import ROOT_FOLDER, UPPER_FOLDER
from ocitool.containers.records import Container
from ocitool.containers.staging import TREES
from ocitool.errors import NotFound, StorageError
from ocitool.fsops import Directory, tree_size
from ocitool.places.layout import Layout


def written_bytes(container: Container) -> int | None:
    """Return the bytes of the container's writable layer; None if its bundle cannot be read.

    A container that shares nothing has a copy of the whole image, which counts.
    """
    try:
        with Directory.open(container.bundle) as bundle:
            return tree_size(bundle, ROOT_FOLDER if container.tree is None else UPPER_FOLDER)
    except (NotFound, StorageError):
        return None


def tree_bytes(layout: Layout) -> int:
    """Return the bytes of the unpacked images that containers share."""
    if layout.control is None or layout.control.kind(TREES) is None:
        return 0
    return tree_size(layout.control, TREES)
