"""bundle check: can a bundle be applied to a place? Answered before anything is written."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ocitool.bundles.completed import Completed
from ocitool.bundles.extents import open_set
from ocitool.bundles.files import BundleSet
from ocitool.bundles.inventory import Need, need_of
from ocitool.bundles.stream import BundleStream
from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import NotFound, Unmet, UsageError
from ocitool.events import SILENT, Observer
from ocitool.fsops import translated
from ocitool.image.content import Blob, Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.hashing import check_blobs
from ocitool.places.archive.bundle import BundleImage, BundleList
from ocitool.places.archive.source import ArchiveSource
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.upload import Uploads


class Lacking(Struct, frozen=True, kw_only=True):
    """A blob that neither the bundle nor the place has, and the images that need it.

    `is_required` tells that the bundle was made without it; otherwise it is in a volume that is
    not here.
    """

    digest: str
    size: int
    images: tuple[str, ...]
    is_required: bool


class CheckReport(Struct, frozen=True, kw_only=True):
    """Whether a bundle can be applied to a place; `names` are all images of the bundle.

    `lost_roots` are the digests of the images that lack a blob, and of what is attached to them
    alone.
    """

    bundle: Digest
    names: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    lost_roots: frozenset[str] = frozenset()

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


class NotApplicable(Unmet):
    """A place lacks blobs that a bundle was made without; nothing was written."""

    def __init__(self, what: str, report: CheckReport) -> None:
        blobs = [blob for blob in report.lacking if blob.is_required]
        size = sum(blob.size for blob in blobs)
        count = "a blob" if len(blobs) == 1 else f"{len(blobs)} blobs"
        super().__init__(
            f"{what} lacks {count} ({size} bytes) that this bundle was made without, such as "
            f"{blobs[0].digest}, which {blobs[0].images[0]} needs: nothing was changed",
            hint="load the bundle that it builds on first; or write a need.json by --need-out and "
            "have `ocitool bundle create --need need.json` bring just these: load both together",
        )
        self.report = report


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

    def descriptor(digest: str, size: int) -> Descriptor:
        return Descriptor(media_type="", digest=Digest.parse(digest), size=size)

    inside = [descriptor(blob.digest, blob.size) for blob in listing.blobs]
    required = [descriptor(blob.digest, blob.size) for blob in listing.requires]
    return Outside(
        required=tuple(blob for blob in required if not archive.has(blob)),
        lost=tuple(blob for blob in inside if not archive.has(blob)),
    )


def check_report(
    bundle: BundleSet | BundleStream, outside: Outside, lacking: set[Digest]
) -> CheckReport:
    """Return the report on a bundle of which a place lacks some blobs."""
    listing = bundle.head.listing
    needed_by = listing.needed_by()
    required = {blob.digest for blob in outside.required}
    blobs = tuple(
        Lacking(
            digest=str(blob.digest),
            size=blob.size,
            images=needed_by.get(str(blob.digest), ("no image",)),
            is_required=blob.digest in required,
        )
        for blob in outside.all
        if blob.digest in lacking
    )
    return CheckReport(
        bundle=bundle.head.digest,
        names=listing.names,
        lacking=blobs,
        lost_roots=_lost_roots(listing, {name for blob in blobs for name in blob.images}),
    )


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
    return check_report(bundle, outside, absent_from(layout, outside.all, jobs, observer))


def check_at(
    bundle: BundleSet,
    path: str,
    *,
    beside: Sequence[BundleSet] = (),
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> CheckReport:
    """Check a bundle against the store or layout at a path, where there may be none yet."""
    if not os.path.exists(path) or _is_empty(path):
        return check_layout(bundle, None, beside=beside)
    with Layout.existing(path) as layout:
        return check_layout(bundle, layout, beside=beside, jobs=jobs, observer=observer)


def _is_empty(path: str) -> bool:
    with translated("read", path):
        return os.path.isdir(path) and not os.listdir(path)


def absent_from(
    layout: Layout | None, blobs: Sequence[Descriptor], jobs: int, observer: Observer
) -> set[Digest]:
    """Return which blobs a layout lacks or has damaged."""
    if layout is None:
        return {blob.digest for blob in blobs}
    here = [blob for blob in blobs if layout.has(blob)]
    damaged = {p.subject for p in check_blobs(layout, here, {}, jobs=jobs, observer=observer)}
    sound = {blob.digest for blob in here if str(blob.digest) not in damaged}
    return {blob.digest for blob in blobs} - sound


class Destinations(Protocol):
    """Where the images of a bundle go in registries."""

    def destination(self, name: str) -> Reference:
        """Return where the image of a full name goes."""


class RegistryBlobs:
    """Blobs that a registry has, each in the repository where it was found. A `Source`."""

    def __init__(self) -> None:
        self.places: dict[Digest, Repository] = {}

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob was found."""
        return descriptor.digest in self.places

    def open(self, descriptor: Descriptor) -> Blob:
        """Return the blob from where it was found; NotFound."""
        place = self.places.get(descriptor.digest)
        if place is None:
            raise NotFound(f"blob {descriptor.digest} is not in the registry")
        return place.open(descriptor)


class RegistryCheck:
    """What a registry has of the blobs that a bundle does not bring.

    A blob is looked for in the repository where it is to go, then in those that may have it: where
    the bundle says it came from, where the other images of the bundle go, and where earlier
    commands have seen it.
    """

    def __init__(
        self,
        bundle: BundleSet,
        destinations: Destinations,
        registries: Registries,
        *,
        known: KnownBlobs | None = None,
        jobs: int = DEFAULT_JOBS,
    ) -> None:
        self._listing = bundle.head.listing
        self._origins = {one.digest: one.from_ for one in self._listing.requires}
        self._destinations = destinations
        self._registries = registries
        self._known = known or KnownBlobs()
        self._jobs = jobs
        self._repositories: dict[str, Repository] = {}
        self._answers: dict[tuple[str, Digest], bool] = {}
        self._lock = threading.Lock()
        self.blobs = RegistryBlobs()
        self.holders = Holders()

    def find(self, blobs: Sequence[Descriptor]) -> set[Digest]:
        """Look for blobs; return those that are nowhere. Nothing is written."""
        if not blobs:
            return set()
        wanted = self._wanted({str(blob.digest): blob for blob in blobs})
        lacking: set[Digest] = set()

        def task(blob: Descriptor, targets: Sequence[Reference]) -> Callable[[Stop], None]:
            def run(stop: Stop) -> None:
                stop.check()
                if not self._find(blob, targets):
                    with self._lock:
                        lacking.add(blob.digest)

            return run

        run_all([task(blob, targets) for blob, targets in wanted], self._jobs)
        return lacking

    def _wanted(self, blobs: Mapping[str, Descriptor]) -> list[tuple[Descriptor, list[Reference]]]:
        """Return each blob with the places of the images that need it."""
        order = [
            *(b.digest for b in self._listing.blobs),
            *(b.digest for b in self._listing.requires),
        ]
        found: dict[str, list[Reference]] = {digest: [] for digest in blobs}
        for image in self._listing.images:
            digests = [order[position] for position in image.blobs if order[position] in blobs]
            if image.name is None or not digests:
                continue
            target = self._destinations.destination(image.name)
            if self._is_there(target, image):
                self._take(target, [blobs[digest] for digest in digests])
                continue
            for digest in digests:
                found[digest].append(target)
        return [(blobs[digest], targets) for digest, targets in found.items() if targets]

    def _is_there(self, target: Reference, image: BundleImage) -> bool:
        """Tell whether a tag names the image already: the registry then has all of it."""
        found = self._repository(target).head(target, forbidden_is_absent=True)
        return found is not None and str(found.digest) == image.digest

    def _take(self, target: Reference, blobs: Sequence[Descriptor]) -> None:
        with self._lock:
            for blob in blobs:
                self.blobs.places.setdefault(blob.digest, self._repository(target))
                self.holders.note(target.domain, target.path, [blob.digest])

    def _find(self, blob: Descriptor, targets: Sequence[Reference]) -> bool:
        """Look for a blob where it is to go, and once elsewhere for those that lack it."""
        lacking = [target for target in targets if not self._has(target, blob)]
        for target in targets:
            if target not in lacking:
                self._take(target, [blob])
        if not lacking or self.blobs.has(blob):
            return True
        for candidate in self._candidates(lacking[0], blob):
            if self._has(candidate, blob):
                self._take(candidate, [blob])
                return True
        return False

    def _candidates(self, target: Reference, blob: Descriptor) -> list[Reference]:
        """Return other repositories of the same registry that may have a blob."""
        places = []
        for repository in self._origins.get(str(blob.digest), ()):
            # What an inventory named is here under its own name, all else where its images go.
            with contextlib.suppress(UsageError):
                places.append(Reference.parse(f"{repository}:latest"))
                places.append(self._destinations.destination(f"{repository}:latest"))
        places += [
            Reference(target.domain, path, None, None)
            for path in self._known.repositories(target.domain, blob.digest)
        ]
        found = {p.path: p for p in places if p.domain == target.domain and p.path != target.path}
        return list(found.values())

    def _has(self, target: Reference, blob: Descriptor) -> bool:
        key = (target.repository, blob.digest)
        if key not in self._answers:
            self._answers[key] = Uploads(self._repository(target).session).has(blob)
        return self._answers[key]

    def _repository(self, target: Reference) -> Repository:
        if target.repository not in self._repositories:
            opened = Repository.of(self._registries, target, writing=True)
            self._repositories[target.repository] = opened
        return self._repositories[target.repository]


def check_registry(
    bundle: BundleSet, check: RegistryCheck, beside: Sequence[BundleSet] = ()
) -> CheckReport:
    """Check a bundle against registries: nothing is written, no upload is begun."""
    with open_beside(bundle, beside) as archive:
        outside = outside_of(bundle.head.listing, archive)
    return check_report(bundle, outside, check.find(outside.all))


def loadable(roots: Sequence[Root], report: CheckReport) -> list[Root]:
    """Return the images, and what is attached to them, without those that lack a blob."""
    return [root for root in roots if str(root.descriptor.digest) not in report.lost_roots]
