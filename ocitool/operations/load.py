"""load and copy: images from any source into a layout.

First everything is planned, then blobs move, names come last; what had to be converted or is
missing is in the report.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError
from ocitool.events import Observer
from ocitool.image.content import Catalog, PlannedImage, Root, Source, synthesized_images
from ocitool.oci import Platform
from ocitool.places.layout import Layout, NameChange, Writing
from ocitool.places.layout.writing import refuse_moves
from ocitool.transfer.copy import transfer
from ocitool.transfer.plan import (
    CopyReport,
    check_names,
    convert,
    drop_orphans,
    is_attached,
    make_report,
    plan_images,
    select_platforms,
)
from ocitool.transfer.recompress import COMPRESSIONS, KEEP, Recompressor


def load(
    source: Catalog,
    layout: Layout,
    *,
    roots: Sequence[Root] | None = None,
    name: str | None = None,
    platforms: Sequence[Platform] = (),
    compression: str | None = None,
    clobber: bool = True,
    strict: bool = False,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> CopyReport:
    """Bring images into a layout, all of them or none.

    `roots` chooses among what the source offers (default: everything). `name` replaces the names
    of the one image there is. `compression` None keeps what has a manifest and compresses other
    layers with gzip; otherwise one of COMPRESSIONS. `clobber` False refuses to move a name.
    `strict` refuses an index whose children are not all there.
    """
    if compression is not None and compression not in COMPRESSIONS:
        raise UsageError(f"there is no compression {compression!r}: {', '.join(COMPRESSIONS)}")
    watcher = observer or Observer()
    planned = plan_images(source, source.roots() if roots is None else roots, strict=strict)
    before = planned
    place: Source = source
    if platforms:
        planned, place = select_platforms(platforms, planned, source)
    check_names(source, planned, watcher)
    if name is not None:
        planned = _renamed(planned, name)
    if not clobber:
        _refuse_known_moves(source, layout, planned, compression)
    with Writing(layout, clobber=clobber) as writing:
        recompressor = Recompressor(place, writing, jobs=jobs, observer=watcher)
        planned, conversions = convert(source, planned, recompressor, compression)
        planned = drop_orphans(before, planned, watcher)
        moved_bytes = transfer(
            recompressor.layered,
            writing,
            [_labelled(image, layout) for image in planned],
            known_outcomes=recompressor.known_outcomes,
            jobs=jobs,
            observer=watcher,
        )
    return make_report(
        recompressor.layered,
        planned,
        conversions=conversions,
        moved=writing.changes,
        transfer=moved_bytes,
    )


def _renamed(planned: Sequence[PlannedImage], name: str) -> list[PlannedImage]:
    images = [image for image in planned if not is_attached(image)]
    if len(images) != 1:
        raise UsageError(
            f"one name cannot be given to {len(images)} images",
            hint="load them first, then name each with `ocitool tag`",
        )
    renamed = replace(images[0], root=replace(images[0].root, names=(name,), label=None))
    return [renamed if image is images[0] else image for image in planned]


def _refuse_known_moves(
    source: Catalog, layout: Layout, planned: Sequence[PlannedImage], compression: str | None
) -> None:
    """Refuse early where the digest is known before anything is converted."""
    if compression not in (None, KEEP):
        return
    synthesized = synthesized_images(source)
    present = {name: root.descriptor.digest for root in layout.roots() for name in root.names}
    changes = [
        NameChange(name=name, old=present[name], new=image.root.descriptor.digest)
        for image in planned
        if image.root.descriptor.digest not in synthesized
        for name in image.root.names
        if present.get(name) not in (None, image.root.descriptor.digest)
    ]
    refuse_moves(changes, layout.path)


def _labelled(image: PlannedImage, layout: Layout) -> PlannedImage:
    """Let a bare tag be the name where names need no repository: in a layout not our own."""
    root = image.root
    if layout.is_store or root.names or root.label is None:
        return image
    return replace(image, root=replace(root, names=(root.label,)))
