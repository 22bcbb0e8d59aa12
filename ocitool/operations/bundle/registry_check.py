"""What a registry has of the blobs that a bundle does not bring; nothing is written."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ocitool.bundles.files import BundleSet
from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import NotFound, UsageError
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.bundle.check import CheckReport, check_report, open_beside, outside_of
from ocitool.places.archive.bundle import BundleImage
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.upload import Uploads


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
