"""What the layers of an image delete or replace of the base below them."""

from collections.abc import Iterator

from ocitool.image.choosing import PlatformImage
from ocitool.image.content import InRepository, Root
from ocitool.inside.image import look_inside
from ocitool.inside.scanning import TableCache
from ocitool.inside.waste import wastes
from ocitool.operations.edit.images import Read
from ocitool.transfer.derived import bases_of


def replaced_files(
    read: Read, image: PlatformImage, below: int, tables: TableCache | None
) -> Iterator[str]:
    """Yield what the layers of an image do to files of its `below` lowest layers, in words.

    Layers in a registry are not fetched for that.
    """
    if any(isinstance(base, InRepository) for base in bases_of(read.catalog)):
        return
    inside = look_inside(read.catalog, Root(descriptor=image.descriptor), cache=tables)
    counts = {"deletes": 0, "replaces": 0}
    for waste in wastes(inside.tree):
        if waste.layer <= below < waste.hidden_by:
            counts["deletes" if waste.how in ("deleted", "opaque") else "replaces"] += waste.files
    for verb, count in counts.items():
        if count:
            files = "file" if count == 1 else "files"
            yield f"the image for {image.platform} {verb} {count} {files} of its old base"
