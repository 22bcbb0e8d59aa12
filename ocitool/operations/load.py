"""load and copy: images from any source into a layout.

Everything is planned first, then blobs are copied, and names are set last. The report says what
was converted and what is missing.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.events import Observer
from ocitool.image.content import Catalog, PlannedImage, Root
from ocitool.operations.measuring import note_tar_sizes
from ocitool.places.layout import Layout, NameChange, Writing
from ocitool.places.layout.writing import refuse_moves
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.report import CopyReport


def load(
    source: Catalog,
    layout: Layout,
    options: TransferOptions | None = None,
    *,
    roots: Sequence[Root] | None = None,
    clobber: bool = True,
    keep: bool = False,
    observer: Observer | None = None,
) -> CopyReport:
    """Load images into a layout, all of them or none.

    `roots` are the images to load (default: all that the source offers). Without `clobber`, moving
    a name from another image is refused. With `keep` what was stored before a failure stays, for
    the next try.
    """
    pipeline = Pipeline(source, options, observer)
    pipeline.plan(source.roots() if roots is None else roots)
    if not clobber:
        _refuse_known_moves(pipeline, layout)
    with Writing(layout, clobber=clobber, keep=keep) as writing:
        pipeline.convert(writing)
        labelled = [_use_label(image, layout) for image in pipeline.images]
        transferred = pipeline.transfer(writing, labelled)
    note_tar_sizes(layout, pipeline.images, pipeline.observer)
    return pipeline.report(moved=writing.changes, transfer=transferred)


def _refuse_known_moves(pipeline: Pipeline, layout: Layout) -> None:
    """Refuse moves before any conversion, for images whose digest is known already."""
    if pipeline.options.changes_compression:
        return
    present = {name: root.descriptor.digest for root in layout.roots() for name in root.names}
    synthesized = {image.root.descriptor.digest for image in pipeline.synthesized}
    changes = [
        NameChange(name=name, old=present[name], new=image.root.descriptor.digest)
        for image in pipeline.images
        if image.root.descriptor.digest not in synthesized
        for name in image.root.names
        if present.get(name) not in (None, image.root.descriptor.digest)
    ]
    refuse_moves(changes, layout.path)


def _use_label(image: PlannedImage, layout: Layout) -> PlannedImage:
    """Use a bare tag as the name, except in a store: only there a name needs a repository."""
    root = image.root
    if layout.is_store or root.names or root.label is None:
        return image
    return replace(image, root=replace(root, names=(root.label,)))
