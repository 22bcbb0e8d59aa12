"""What a load, save, pull or copy did."""

from collections.abc import Sequence

from msgspec import Struct, field

from ocitool.image.content import PlannedImage
from ocitool.oci import Descriptor, Digest, Platform
from ocitool.places.layout import NameChange
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.plan import independent
from ocitool.transfer.platforms import planned_manifests


class Conversion(Struct, frozen=True, kw_only=True):
    """A manifest that became another one. `layers` counts those whose bytes changed.

    `old` is None if the archive had no manifest and one was made.
    """

    old: Digest | None
    new: Digest
    layers: int
    compression: str


class CopiedImage(Struct, frozen=True, kw_only=True):
    """One image that was copied: its names, what it is, and what it lacks.

    `image_id` is the digest of the config, docker's image ID, when the image is for one platform.
    `label` is what the source called an image that has no full name.
    """

    names: tuple[str, ...]
    label: str | None
    digest: Digest
    media_type: str
    image_id: Digest | None
    platforms: tuple[Platform, ...]
    missing: tuple[Descriptor, ...] = ()


class CopyReport(Struct, frozen=True, kw_only=True):
    """What a load, save or copy did. `attached` counts the artifacts copied with the images.

    `transfer` is empty if an archive was written. Of
    an archive `written` is the number of its bytes, and `layer_compression` says how the layers in
    it are compressed: gzip, zstd, none, other.
    """

    images: tuple[CopiedImage, ...]
    attached: int = 0
    conversions: tuple[Conversion, ...] = ()
    moved: tuple[NameChange, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)
    written: int = 0
    layer_compression: tuple[str, ...] = ()


def report_image(image: PlannedImage) -> CopiedImage:
    """Return the report on one image."""
    root = image.root
    images = planned_manifests(image)
    single = len(images) == 1 and images[0].descriptor.digest == root.descriptor.digest
    return CopiedImage(
        names=root.names,
        label=root.label,
        digest=root.descriptor.digest,
        media_type=root.descriptor.media_type,
        image_id=images[0].manifest.config.digest if single else None,
        platforms=tuple(one.platform for one in images),
        missing=image.closure.missing,
    )


def report_copy(
    images: Sequence[PlannedImage],
    *,
    conversions: Sequence[Conversion] = (),
    moved: Sequence[NameChange] = (),
    transfer: TransferReport | None = None,
) -> CopyReport:
    """Return the report on images that were copied."""
    reported = [report_image(image) for image in independent(images)]
    return CopyReport(
        images=tuple(reported),
        attached=len(images) - len(reported),
        conversions=tuple(conversions),
        moved=tuple(moved),
        transfer=transfer or TransferReport(),
    )


def merge_reports(reports: Sequence[CopyReport]) -> CopyReport:
    """Return what several loads or copies into one place did, together."""
    return CopyReport(
        images=tuple(image for report in reports for image in report.images),
        attached=sum(report.attached for report in reports),
        conversions=tuple(one for report in reports for one in report.conversions),
        moved=tuple(change for report in reports for change in report.moved),
        transfer=TransferReport(blobs=tuple(m for one in reports for m in one.transfer.blobs)),
    )
