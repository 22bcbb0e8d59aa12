"""Write images as an archive to a file, a stream, or an engine."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ocitool.errors import UsageError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Catalog, Root
from ocitool.images.locations import RECEIVERS, Place
from ocitool.images.opening import receiver_of
from ocitool.oci import Platform
from ocitool.operations.engine_limits import refuse_unfit
from ocitool.operations.save import UNIVERSAL, pack, save, save_file
from ocitool.transfer.counted import CountedPieces
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport


def deliver(
    source: Catalog,
    roots: Sequence[Root],
    target: Place,
    options: TransferOptions | None = None,
    *,
    form: str = UNIVERSAL,
    featured: Platform | None = None,
    write: Callable[[bytes], object] | None = None,
    observer: Observer = SILENT,
) -> CopyReport:
    """Write images to a place that takes archives; return a report. See `pack`.

    Refused for an engine that cannot hold one of them; nothing is sent then.

    `write` gets the bytes if the place is "-".
    """
    if target.kind in RECEIVERS:
        with (
            receiver_of(target) as engine,
            pack(
                source, roots, options, form=form, featured=featured, observer=observer
            ) as archive,
        ):
            refuse_unfit(engine, archive.images)
            counted = CountedPieces(archive.pieces)
            for line in engine.load(counted):
                observer.remark(f"{target.kind}: {line}")
            return replace(archive.report, written=counted.count)
    if target.path != "-":
        return save_file(
            source, roots, target.path, options, form=form, featured=featured, observer=observer
        )
    if write is None:
        raise UsageError("an archive is not written to '-' here", hint="name a file")
    return save(source, roots, write, options, form=form, featured=featured, observer=observer)
