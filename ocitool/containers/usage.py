"""How much containers occupy besides their images."""

from ocitool.containers.bundles import ROOT_FOLDER, UPPER_FOLDER
from ocitool.containers.records import Container
from ocitool.containers.staging import TREES
from ocitool.errors import NotFound, StorageError
from ocitool.fsops import Directory, tree_usage
from ocitool.places.layout import Layout


def written_bytes(container: Container) -> int | None:
    """Return the bytes that the container's writable layer takes; None if it cannot be read.

    They are counted in blocks, so that holes of files are none; hard links count once. A container
    that shares nothing has a copy of the whole image, which counts.
    """
    try:
        with Directory.open(container.bundle) as bundle:
            return tree_usage(bundle, ROOT_FOLDER if container.tree is None else UPPER_FOLDER)
    except (NotFound, StorageError):
        return None


def root_bytes(layout: Layout, container: Container) -> int | None:
    """Return the bytes of all files of a container, those of its image too; None as above."""
    written = written_bytes(container)
    if written is None or container.tree is None or layout.control is None:
        return written
    try:
        with layout.control.subdirectory(TREES) as trees:
            return written + tree_usage(trees, container.tree)
    except NotFound:
        return written


def tree_bytes(layout: Layout) -> int:
    """Return the bytes of the unpacked images that containers share."""
    if layout.control is None or layout.control.kind(TREES) is None:
        return 0
    return tree_usage(layout.control, TREES)
