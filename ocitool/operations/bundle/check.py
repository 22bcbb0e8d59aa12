"""bundle check: can a bundle be applied to a place? Answered before anything is written."""

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final

from msgspec import Struct

from ocitool.bundles.completed import Completed
from ocitool.bundles.extents import open_set
from ocitool.bundles.files import BundleSet
from ocitool.bundles.inventory import Need, need_of
from ocitool.bundles.mapping import destinations
from ocitool.bundles.stream import BundleStream
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound, Unmet
from ocitool.events import SILENT, Observer
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.oci.amounts import counted, size_text
from ocitool.operations.hashing import check_blobs
from ocitool.places.archive.bundle import BundleList
from ocitool.places.archive.source import ArchiveSource
from ocitool.places.layout import Layout


class Lacking(Struct, frozen=True, kw_only=True):
    """A blob that neither the bundle nor the place has, and the images that need it.

    `is_required` tells that the bundle was made without it; otherwise it is in a volume that is
    not here. `is_damaged` tells that the place has it, but not with the bytes of its digest.
    """

    digest: str
    size: int
    images: tuple[str, ...]
    is_required: bool
    is_damaged: bool = False


class CheckReport(Struct, frozen=True, kw_only=True):
    """Whether a bundle can be applied to a place; `names` are all images of the bundle.

    `lost_roots` are the digests of the images that lack a blob, and of what is attached to them
    alone. `lost_volumes` are the numbers of those of the `volumes` that are not here,
    and `builds_on` the lists of the bundles that this one was made against.
    """

    bundle: Digest
    names: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    lost_roots: frozenset[str] = frozenset()
    volumes: int = 0
    lost_volumes: tuple[int, ...] = ()
    builds_on: tuple[str, ...] = ()

    @property
    def applies(self) -> bool:
        """Whether the place has all that the bundle was made without."""
        return not any(blob.is_required for blob in self.lacking)

    @property
    def lost_images(self) -> tuple[str, ...]:
        """What the images are called that cannot be loaded."""
        names = {name for blob in self.lacking for name in blob.images}
        return tuple(name for name in self.names if name in names)

    @property
    def need(self) -> Need:
        """What a further bundle has to bring."""
        return need_of(self.bundle, ((blob.digest, blob.size) for blob in self.lacking))


_NAMED: Final = 3
RULES: Final = "change the rules of --map"
_NEED: Final = (
    "write a need.json by --need-out and have `ocitool bundle create --need need.json` bring just "
    "these: load both together"
)
_FIRST: Final = f"load the bundle that it builds on first{{}}; or {_NEED}"
_WHICH: Final = " ({}: `ocitool bundle show FILE` tells the list of a file)"
_TOGETHER: Final = (
    f"load it together with the bundle that it builds on: that replaces what is damaged; or {_NEED}"
)


class NotApplicable(Unmet):
    """A place lacks blobs that a bundle was made without; nothing was written."""

    def __init__(self, what: str, report: CheckReport) -> None:
        blobs = [blob for blob in report.lacking if blob.is_required]
        size = sum(blob.size for blob in blobs)
        count = counted(len(blobs), "blob")
        damaged = sum(blob.is_damaged for blob in blobs)
        has = f"lacks, or has damaged ({damaged})," if damaged else "lacks"
        super().__init__(
            f"{what} {has} {count} ({size_text(size)}) that this bundle was made without, such as "
            f"{blobs[0].digest}, which {blobs[0].images[0]} needs: nothing was changed",
            hint=_TOGETHER if damaged else _FIRST.format(_which(report.builds_on)),
        )
        self.report = report


def _which(lists: Sequence[str]) -> str:
    return _WHICH.format(", ".join(lists[:_NAMED])) if lists else ""


class Outside(Struct, frozen=True, kw_only=True):
    """The blobs that have to come from elsewhere: required ones, and those of lost volumes."""

    required: tuple[Descriptor, ...]
    lost: tuple[Descriptor, ...]

    @property
    def all(self) -> tuple[Descriptor, ...]:
        """Both together."""
        return self.required + self.lost


Readable = ArchiveSource | Completed


@contextlib.contextmanager
def open_beside(bundle: BundleSet, beside: Sequence[BundleSet] = ()) -> Iterator[Readable]:
    """Open a bundle for reading; others that are loaded with it give what it does not bring.

    Two deltas may each need what the other one brings, and then only both together apply.
    """
    with contextlib.ExitStack() as stack:
        source: Readable = stack.enter_context(open_set(bundle))
        for other in beside:
            source = Completed(source, stack.enter_context(open_set(other)))
        yield source


def outside_of(listing: BundleList, archive: Readable) -> Outside:
    """Return which blobs of a bundle are not in its files, or in those that complete it."""

    inside = [blob.descriptor for blob in listing.blobs]
    return Outside(
        required=tuple(blob for blob in required_by(listing) if not archive.has(blob)),
        lost=tuple(blob for blob in inside if not archive.has(blob)),
    )


def required_by(listing: BundleList) -> list[Descriptor]:
    """Return the blobs that a bundle was made without."""
    return [blob.descriptor for blob in listing.requires]


def check_report(
    bundle: BundleSet | BundleStream,
    outside: Outside,
    lacking: Container[Digest],
    damaged: Container[Digest] = (),
) -> CheckReport:
    """Return the report on a bundle of which a place lacks some blobs, or has them damaged."""
    listing = bundle.head.listing
    needed_by = listing.needed_by()
    required = {blob.digest for blob in outside.required}
    blobs = tuple(
        Lacking(
            digest=str(blob.digest),
            size=blob.size,
            images=needed_by.get(str(blob.digest), ("no image",)),
            is_required=blob.digest in required,
            is_damaged=blob.digest in damaged,
        )
        for blob in outside.all
        if blob.digest in lacking
    )
    return CheckReport(
        bundle=bundle.head.digest,
        names=listing.names,
        lacking=blobs,
        lost_roots=_lost_roots(listing, {name for blob in blobs for name in blob.images}),
        volumes=bundle.volumes if isinstance(bundle, BundleSet) else 0,
        lost_volumes=bundle.lost_volumes if isinstance(bundle, BundleSet) else (),
        builds_on=listing.builds_on,
    )


def parts_of(listing: BundleList, report: CheckReport) -> list[Descriptor]:
    """Return the blobs of the images that lack one, each once, without those that are lacking."""
    lost, lacking = set(report.lost_images), {blob.digest for blob in report.lacking}
    positions = {p for image in listing.images if image.called in lost for p in image.blobs}
    return [
        blob.descriptor
        for position, blob in enumerate(listing.blobs)
        if position in positions and blob.digest not in lacking
    ]


def _lost_roots(listing: BundleList, lost: set[str]) -> frozenset[str]:
    """Return the digests of images that are lost, and of what no other image has attached."""
    digests: dict[bool, set[str]] = {True: set(), False: set()}
    for image in listing.images:
        found = {image.digest, *(entry.digest for entry in image.attached)}
        digests[image.called in lost] |= found
    return frozenset(digests[True] - digests[False])


def check_layout(
    bundle: BundleSet,
    layout: Layout | None,
    *,
    beside: Sequence[BundleSet] = (),
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> CheckReport:
    """Check a bundle against a store or layout (None: there is none yet).

    Blobs that must be there are hashed: one that is damaged counts as lacking. `beside` are other
    bundles that are to be loaded with it.
    """
    with open_beside(bundle, beside) as archive:
        outside = outside_of(bundle.head.listing, archive)
    return check_of(bundle, outside, layout, jobs=jobs, observer=observer)


def check_of(
    bundle: BundleSet | BundleStream,
    outside: Outside,
    layout: Layout | None,
    *,
    jobs: int,
    observer: Observer,
) -> CheckReport:
    """Return the report on a bundle of which some blobs have to be in a layout."""
    damaged = damaged_in(layout, outside.all, jobs, observer)
    absent = {blob.digest for blob in outside.all if layout is None or not layout.has(blob)}
    return check_report(bundle, outside, absent | damaged, damaged)


def check_names(listing: BundleList, destination: Callable[[str], Reference]) -> None:
    """Raise UsageError where different images would get one name."""
    named = ((one.name, Digest.parse(one.digest)) for one in listing.images if one.name is not None)
    destinations(named, destination, hint=RULES)


def check_at(
    bundle: BundleSet,
    path: str,
    *,
    beside: Sequence[BundleSet] = (),
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> CheckReport:
    """Check a bundle against the store or layout at a path, where there may be none yet."""
    with layout_at(path) as layout:
        return check_layout(bundle, layout, beside=beside, jobs=jobs, observer=observer)


@contextlib.contextmanager
def layout_at(path: str | None) -> Iterator[Layout | None]:
    """Yield the layout at a path; None where there is none yet, or one that was not finished."""
    try:
        layout = Layout.existing(path) if path is not None else None
    except NotFound:
        layout = None
    with layout or contextlib.nullcontext():
        yield layout


def damaged_in(
    layout: Layout | None, blobs: Sequence[Descriptor], jobs: int, observer: Observer
) -> set[Digest]:
    """Return which blobs a layout has with other bytes than those of their digest."""
    if layout is None:
        return set()
    here = [blob for blob in blobs if layout.has(blob)]
    damaged = {p.subject for p in check_blobs(layout, here, {}, jobs=jobs, observer=observer)}
    return {blob.digest for blob in here if str(blob.digest) in damaged}


def loadable(roots: Sequence[Root], report: CheckReport) -> list[Root]:
    """Return the images, and what is attached to them, without those that lack a blob."""
    return [root for root in roots if str(root.descriptor.digest) not in report.lost_roots]
