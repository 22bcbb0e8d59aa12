"""load and copy: images from any source into a layout.

First everything is planned, then blobs move, names come last; what had to be converted or is
missing is in the report.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError
from ocitool.events import Observer
from ocitool.image.content import Catalog, Root, Shipment, Source, synthesized_images
from ocitool.oci import Platform
from ocitool.places.layout import Layout, NameChange, Writing
from ocitool.places.layout.writing import refuse_moves
from ocitool.transfer.copy import transfer
from ocitool.transfer.plan import (
    CopyReport,
    converted,
    is_attached,
    report_of,
    restricted_to,
    shipments_of,
    without_orphans,
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
    shipments = shipments_of(source, source.roots() if roots is None else roots, strict=strict)
    planned = shipments
    place: Source = source
    if platforms:
        shipments, place = restricted_to(platforms, shipments, source)
    if name is not None:
        shipments = _renamed(shipments, name)
    if not clobber:
        _refuse_known_moves(source, layout, shipments, compression)
    with Writing(layout, clobber=clobber) as writing:
        recompressor = Recompressor(place, writing, jobs=jobs, observer=watcher)
        shipments, conversions = converted(source, shipments, recompressor, compression)
        shipments = without_orphans(planned, shipments, watcher)
        moved_bytes = transfer(
            recompressor.overlay,
            writing,
            [_labelled(shipment, layout) for shipment in shipments],
            settled=recompressor.settled,
            jobs=jobs,
            observer=watcher,
        )
    return report_of(
        recompressor.overlay,
        shipments,
        conversions=conversions,
        moved=writing.changes,
        transfer=moved_bytes,
    )


def _renamed(shipments: Sequence[Shipment], name: str) -> list[Shipment]:
    images = [shipment for shipment in shipments if not is_attached(shipment)]
    if len(images) != 1:
        raise UsageError(
            f"one name cannot be given to {len(images)} images",
            hint="load them first, then name each with `ocitool tag`",
        )
    renamed = replace(images[0], root=replace(images[0].root, names=(name,), label=None))
    return [renamed if shipment is images[0] else shipment for shipment in shipments]


def _refuse_known_moves(
    source: Catalog, layout: Layout, shipments: Sequence[Shipment], compression: str | None
) -> None:
    """Refuse early where the digest is known before anything is converted."""
    if compression not in (None, KEEP):
        return
    synthesized = synthesized_images(source)
    present = {name: root.descriptor.digest for root in layout.roots() for name in root.names}
    changes = [
        NameChange(name=name, old=present[name], new=shipment.root.descriptor.digest)
        for shipment in shipments
        if shipment.root.descriptor.digest not in synthesized
        for name in shipment.root.names
        if present.get(name) not in (None, shipment.root.descriptor.digest)
    ]
    refuse_moves(changes, layout.path)


def _labelled(shipment: Shipment, layout: Layout) -> Shipment:
    """Let a bare tag be the name where names need no repository: in a layout not our own."""
    root = shipment.root
    if layout.own or root.names or root.label is None:
        return shipment
    return replace(shipment, root=replace(root, names=(root.label,)))
