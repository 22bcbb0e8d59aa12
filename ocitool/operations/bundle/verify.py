"""bundle verify: prove that a bundle arrived whole, or say exactly what of it is lost."""

import time

from msgspec import Struct

from ocitool.bundles.extents import members_of
from ocitool.bundles.files import BundleSet
from ocitool.bundles.inventory import Need, need_of
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import OcitoolError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Root, Source
from ocitool.image.graph import closure_of
from ocitool.image.wholeness import require_whole
from ocitool.oci import Digest
from ocitool.operations.bundle.damage import Damage
from ocitool.operations.bundle.mending import mended
from ocitool.places.archive.bundle import DOCUMENT, BundleBlob, BundleList
from ocitool.places.archive.sections import blob_path
from ocitool.places.archive.source import ArchiveSource, PromisedBlobs


class BundleReport(Struct, frozen=True, kw_only=True):
    """What was found in the files of one bundle.

    `lost` are blobs that should be inside and are not, or are damaged; `lost_volumes` are the
    numbers of volumes that are not here; `whole` and `lost_images` are what the images are called
    that can be loaded from these files (with what a delta requires) and that cannot.
    `rebuilt_volumes` are lost or damaged, and the parity volume gives them back.
    """

    digest: Digest
    listing: BundleList
    files: tuple[str, ...]
    volumes: int
    damage: tuple[Damage, ...]
    lost_volumes: tuple[int, ...]
    rebuilt_volumes: tuple[int, ...]
    lost: tuple[BundleBlob, ...]
    whole: tuple[str, ...]
    lost_images: tuple[str, ...]
    size: int
    seconds: float
    signer: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or lost, not even a volume that the parity gives back."""
        return not (self.damage or self.lost or self.lost_volumes)

    @property
    def need(self) -> Need:
        """What a further bundle has to bring."""
        return need_of(self.digest, ((blob.digest, blob.size) for blob in self.lost))


def verify_bundle(
    bundle: BundleSet, *, jobs: int = DEFAULT_JOBS, observer: Observer = SILENT
) -> BundleReport:
    """Check every byte of the files of a bundle; nothing is changed. StorageError from the disk.

    The layers are not unpacked: `verify` of the loaded image checks their diff IDs.
    """
    begin = time.monotonic()
    listing = bundle.head.listing
    found = mended(bundle, jobs=jobs, observer=observer)
    archive = ArchiveSource(members_of(found.bundle))
    held = {blob.digest for blob in listing.blobs if archive.holds(Digest.parse(blob.digest))}
    lost = tuple(blob for blob in listing.blobs if blob.digest not in held)
    damage = [*found.damage, *_check_graph(archive, bundle, {blob.digest for blob in lost})]
    needed_by = listing.needed_by()
    bad = {name for blob in lost for name in needed_by.get(blob.digest, ())}
    bad |= {name for one in damage if one.kind == DOCUMENT for name in one.images}
    return BundleReport(
        digest=bundle.head.digest,
        listing=listing,
        files=tuple(file.what for file in bundle.files),
        volumes=bundle.volumes,
        damage=tuple(damage),
        lost_volumes=bundle.lost_volumes,
        rebuilt_volumes=found.rebuilt,
        lost=lost,
        whole=tuple(name for name in listing.names if name not in bad),
        lost_images=tuple(name for name in listing.names if name in bad),
        size=sum(file.size for file in bundle.files),
        seconds=time.monotonic() - begin,
    )


def _check_graph(archive: ArchiveSource, bundle: BundleSet, lost: set[str]) -> list[Damage]:
    """Follow the documents of each image: the bundle's list has to have all that they list.

    An image with a blob that is `lost` is told already.
    """
    source = PromisedBlobs(archive, bundle.head.listing)
    needed_by = bundle.head.listing.needed_by()
    told = {name for digest in lost for name in needed_by.get(digest, ())}
    found = []
    for root in bundle.head.listing.roots():
        names = needed_by.get(str(root.descriptor.digest), ())
        message = _problem(source, root) if not told & set(names) else None
        if message is not None:
            found.append(
                Damage(
                    file=bundle.what,
                    member=blob_path(root.descriptor.digest),
                    kind=DOCUMENT,
                    message=f"{root.called}: {message}",
                    images=names,
                )
            )
    return found


def _problem(source: Source, root: Root) -> str | None:
    try:
        closure = closure_of(source, root.descriptor)
        require_whole(source, root, closure)
    except OcitoolError as error:
        return error.message
    return None
