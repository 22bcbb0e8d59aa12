"""push: images from any source into repositories of registries.

What a registry has already is found out with as few questions as possible: a tag that names the
image says that all of it is there, a manifest that it knows says the same of its blobs.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ocitool.content import Catalog, Root, Shipment, Source
from ocitool.errors import NotFound, OcitoolError, Refused, UsageError
from ocitool.events import Observer, Outcome
from ocitool.fsops import scratch_folder
from ocitool.graph import closure_of, content_of, subject_of
from ocitool.layout import Layout, Writing
from ocitool.parallel import DEFAULT_JOBS
from ocitool.registry import Registries, Repository, RepositoryWriter
from ocitool.registry.upload import Uploads
from ocitool.shipping import (
    CopiedImage,
    called,
    converted,
    described,
    is_attached,
    origins_of,
    report_of,
    restricted_to,
    shipments_of,
    without_orphans,
)
from ocitool.spec import Descriptor, Digest, Manifest, Platform, Reference, mediatype
from ocitool.transfer import Moved, TransferReport, transfer

if TYPE_CHECKING:
    from ocitool.recompress import Conversion

OnFailure = Callable[[Reference, OcitoolError], None]
_NEIGHBOURS = 50
"""How many other images of the store are looked at for layers that a registry may mount."""


class OnExisting(StrEnum):
    """What to do when a tag exists already."""

    OVERWRITE = "overwrite"
    SAME = "same"
    SKIP = "skip"
    ERROR = "error"


class Ending(StrEnum):
    """How the push to one destination ended."""

    PUSHED = "pushed"
    PRESENT = "present"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushing:
    """How images go to a registry.

    `platforms` takes these of an index only. `compression` None keeps what has a manifest and
    compresses other layers with gzip; otherwise one of COMPRESSIONS. `strict` refuses an index
    that lacks some of its children; `attached` takes along what is attached to the images.
    Layers that have to be converted, or fetched again, are kept in the folder `scratch` meanwhile.
    """

    platforms: tuple[Platform, ...] = ()
    compression: str | None = None
    on_existing: OnExisting = OnExisting.OVERWRITE
    strict: bool = False
    attached: bool = False
    jobs: int = DEFAULT_JOBS
    scratch: str | None = None

    def __post_init__(self) -> None:
        if self.compression is not None and self.compression not in mediatype.COMPRESSIONS:
            raise UsageError(
                f"there is no compression {self.compression!r}: {', '.join(mediatype.COMPRESSIONS)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What became of one image at one destination. `moved_from` is what the tag named before."""

    destination: Reference
    ending: Ending
    image: CopiedImage
    moved_from: Digest | None = None
    conversions: "tuple[Conversion, ...]" = ()
    attached: int = 0
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def pinned(self) -> str:
        """The image at its destination by its digest, such as `ghcr.io/a/b@sha256:…`."""
        return f"{self.destination.repository}@{self.image.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cargo:
    """What is ready to go: shipments, where they are read, and what was converted for it."""

    source: Source
    shipments: tuple[Shipment, ...]
    conversions: "tuple[Conversion, ...]"


def push(
    source: Catalog,
    roots: Sequence[Root],
    destinations: Sequence[Reference],
    registries: Registries,
    how: Pushing | None = None,
    *,
    observer: Observer | None = None,
    on_failure: OnFailure | None = None,
) -> list[PushReport]:
    """Push images, to the destinations or, without any, to the names that they have.

    Idempotent: what a registry has is not sent. Refused where `how.on_existing` does not let a
    tag be moved; then nothing was sent to that destination. The first destination that fails ends
    everything, unless `on_failure` is there to hear of it: then the others go on.
    """
    chosen = how or Pushing()
    watcher = observer or Observer()
    early = _Early.for_one(destinations, registries, chosen)
    with _prepared(source, roots, chosen, watcher, early) as cargo:
        reports = []
        pushed: list[Reference] = []
        for shipment, destination in _pairs(cargo.shipments, destinations):
            one = _Push(source, cargo, registries, chosen, watcher, tuple(pushed))
            sent = early.outcomes if early is not None else {}
            try:
                reports.append(one.run(shipment, destination, sent))
            except OcitoolError as error:
                if on_failure is None or registries.stopped:
                    raise
                on_failure(destination, error)
                continue
            pushed.append(destination)
        return reports


class _Early:
    """Sends layers to the destination as soon as they are converted. Thread-safe."""

    def __init__(self, repository: Repository) -> None:
        self._uploads = Uploads(repository.session)
        self.outcomes: dict[Digest, Outcome] = {}

    @classmethod
    def for_one(
        cls, destinations: Sequence[Reference], registries: Registries, how: Pushing
    ) -> "_Early | None":
        """Return what sends early, where no policy could refuse the push afterwards.

        Of several destinations, one that fails must not keep the layers from the others.
        """
        if len(destinations) != 1 or how.on_existing is not OnExisting.OVERWRITE:
            return None
        return cls(Repository.of(registries, destinations[0], writing=True))

    def send(self, descriptor: Descriptor, source: Source) -> None:
        """Send a layer unless it is there."""
        if self._uploads.has(descriptor):
            self.outcomes[descriptor.digest] = Outcome.EXISTED
            return
        self._uploads.put(descriptor, lambda: source.open(descriptor))
        self.outcomes[descriptor.digest] = Outcome.UPLOADED


@contextlib.contextmanager
def _prepared(
    source: Catalog,
    roots: Sequence[Root],
    how: Pushing,
    observer: Observer,
    early: _Early | None,
) -> Iterator[_Cargo]:
    planned = shipments = shipments_of(source, roots, strict=how.strict)
    if not how.attached:
        planned = shipments = [s for s in shipments if not is_attached(s)]
    place: Source = source
    if how.platforms:
        shipments, place = restricted_to(how.platforms, shipments, source)
    for shipment in shipments:
        for child in shipment.closure.missing:
            observer.warn(f"{called(shipment.root)} is pushed without {described(child)}")
    with contextlib.ExitStack() as scratch:
        conversions: list[Conversion] = []
        if _needs_conversion(source, shipments, how):
            from ocitool.recompress import Recompressor

            folder = scratch.enter_context(scratch_folder(how.scratch))
            layout = scratch.enter_context(Layout.create(f"{folder}/layout"))
            writing = scratch.enter_context(Writing(layout, durable=False))
            recompressor = Recompressor(
                place,
                writing,
                jobs=how.jobs,
                observer=observer,
                after=None if early is None else lambda layer: early.send(layer, writing),
            )
            shipments, conversions = converted(source, shipments, recompressor, how.compression)
            place = recompressor.overlay
        shipments = without_orphans(planned, shipments, observer)
        yield _Cargo(source=place, shipments=tuple(shipments), conversions=tuple(conversions))


def _needs_conversion(source: Source, shipments: Sequence[Shipment], how: Pushing) -> bool:
    if how.compression not in (None, mediatype.KEEP):
        return True
    origins = origins_of(source)
    return any(shipment.root.descriptor.digest in origins for shipment in shipments)


def _pairs(
    shipments: Sequence[Shipment], destinations: Sequence[Reference]
) -> Iterator[tuple[Shipment, Reference]]:
    images = [shipment for shipment in shipments if not is_attached(shipment)]
    if not images:
        raise NotFound(
            "there is no image to push",
            hint="artifacts alone are not pushed: name an image, with --referrers if they go along",
        )
    if destinations:
        if len(images) != 1:
            raise UsageError(
                f"{len(images)} images cannot be pushed under one name",
                hint="name one of them, for example docker-archive:FILE:NAME",
            )
        yield from ((images[0], destination) for destination in destinations)
        return
    for image in images:
        if not image.root.names:
            raise UsageError(
                f"{called(image.root)} has no name to push it under", hint="name a destination"
            )
        yield from ((image, Reference.parse(name)) for name in image.root.names)


class _Push:
    """One image to one destination."""

    def __init__(
        self,
        origin: Catalog,
        cargo: _Cargo,
        registries: Registries,
        how: Pushing,
        observer: Observer,
        pushed: tuple[Reference, ...],
    ) -> None:
        self._origin = origin
        self._cargo = cargo
        self._registries = registries
        self._how = how
        self._observer = observer
        self._pushed = pushed

    def run(
        self, shipment: Shipment, destination: Reference, sent: Mapping[Digest, Outcome]
    ) -> PushReport:
        """Push it; `sent` is what has been sent there already."""
        digest = shipment.root.descriptor.digest
        _check_pinned(destination, digest)
        repository = Repository.of(self._registries, destination, writing=True)
        existing = (
            repository.head(destination, forbidden_is_absent=True)
            if destination.tag is not None
            else None
        )
        ending = self._ending(destination, existing, digest)
        shipments = [shipment, *self._attached_to(shipment)]
        report = self._report(shipment, destination, ending, existing, len(shipments) - 1)
        if ending is Ending.SKIPPED:
            return report
        if ending is Ending.PRESENT and len(shipments) == 1:
            settled = {d.digest: Outcome.EXISTED for d in shipment.closure.descriptors}
            return replace(report, transfer=_settled(shipment, settled))
        moved = self._sent(repository, shipments, destination, ending, sent)
        return replace(report, transfer=moved)

    def _ending(
        self, destination: Reference, existing: Descriptor | None, digest: Digest
    ) -> Ending:
        policy = self._how.on_existing
        if existing is None:
            return Ending.PUSHED
        if policy is OnExisting.ERROR:
            raise Refused(
                f"{destination.familiar} exists already: it is {existing.digest}",
                hint="--on-existing same accepts the same image, overwrite moves the tag",
            )
        if existing.digest == digest:
            return Ending.PRESENT
        if policy is OnExisting.SAME:
            raise Refused(
                f"{destination.familiar} is another image already: {existing.digest}, not {digest}",
                hint="push under another tag; --on-existing overwrite moves this one",
            )
        return Ending.SKIPPED if policy is OnExisting.SKIP else Ending.PUSHED

    def _attached_to(self, shipment: Shipment) -> list[Shipment]:
        """Return what is attached to this image, of all that is attached to any."""
        held = {descriptor.digest for descriptor, _ in shipment.closure.documents}
        waiting = [s for s in self._cargo.shipments if is_attached(s)]
        found: list[Shipment] = []
        while fresh := [s for s in waiting if _subject(s) in held]:
            waiting = [s for s in waiting if s not in fresh]
            held |= {d.digest for s in fresh for d, _ in s.closure.documents}
            found += fresh
        return found

    def _sent(
        self,
        repository: Repository,
        shipments: Sequence[Shipment],
        destination: Reference,
        ending: Ending,
        sent: Mapping[Digest, Outcome],
    ) -> TransferReport:
        main = shipments[0].root.descriptor
        tagged = destination.tag is not None and ending is Ending.PUSHED
        remote = isinstance(self._origin, Repository)
        writer = RepositoryWriter(
            repository,
            self._cargo.source,
            tags={main.digest: (str(destination.tag),)} if tagged else {},
            documents={d.digest: m.raw for s in shipments for d, m in s.closure.documents},
            mountable=self._mountable(destination, shipments),
            remote=remote,
            scratch=self._how.scratch,
        )
        settled = _present(writer, shipments, present=ending is Ending.PRESENT) | dict(sent)
        return transfer(
            self._cargo.source,
            writer,
            shipments,
            settled=settled,
            jobs=self._how.jobs,
            observer=self._observer,
        )

    def _mountable(
        self, destination: Reference, shipments: Sequence[Shipment]
    ) -> Mapping[Digest, Sequence[str]]:
        """Return in which repositories of the same registry a blob may be already."""
        blobs = {blob.digest for shipment in shipments for blob in shipment.closure.blobs}
        found: dict[Digest, list[str]] = {}
        siblings = [r.path for r in self._pushed if r.domain == destination.domain]
        origin = self._origin
        if isinstance(origin, Repository) and origin.host.domain == destination.domain:
            siblings.append(origin.session.path)
        for path in siblings:
            if path != destination.path:
                for digest in blobs:
                    found.setdefault(digest, []).append(path)
        if isinstance(origin, Layout):
            for path, digest in _neighbours(origin, destination, blobs):
                found.setdefault(digest, []).append(path)
        return found

    def _report(
        self,
        shipment: Shipment,
        destination: Reference,
        ending: Ending,
        existing: Descriptor | None,
        attached: int,
    ) -> PushReport:
        digest = shipment.root.descriptor.digest
        moved = existing is not None and existing.digest != digest and ending is Ending.PUSHED
        return PushReport(
            destination=destination,
            ending=ending,
            image=report_of(self._cargo.source, [shipment]).images[0],
            moved_from=existing.digest if moved and existing is not None else None,
            conversions=self._cargo.conversions,
            attached=attached,
        )


def _check_pinned(destination: Reference, digest: Digest) -> None:
    if destination.digest is not None and destination.digest != digest:
        raise Refused(
            f"{destination.familiar} asks for another image than the one to push, {digest}",
            hint="leave the digest out of the destination",
        )


def _present(
    writer: RepositoryWriter, shipments: Sequence[Shipment], *, present: bool
) -> dict[Digest, Outcome]:
    """Ask for each manifest once; whoever has one has all that it lists."""
    settled: dict[Digest, Outcome] = {}
    for number, shipment in enumerate(shipments):
        closure = shipment.closure
        if (present and number == 0) or writer.knows(closure.root.digest):
            settled |= {d.digest: Outcome.EXISTED for d in closure.descriptors}
            continue
        for descriptor, document in closure.documents[:-1]:
            if isinstance(document, Manifest) and writer.knows(descriptor.digest):
                settled[descriptor.digest] = Outcome.EXISTED
                settled |= {blob.digest: Outcome.EXISTED for blob in content_of(document)}
    return settled


def _settled(shipment: Shipment, settled: Mapping[Digest, Outcome]) -> TransferReport:
    return TransferReport(
        blobs=tuple(
            Moved(descriptor=d, outcome=settled[d.digest], seconds=0.0)
            for d in shipment.closure.descriptors
        )
    )


def _neighbours(
    layout: Layout, destination: Reference, blobs: set[Digest]
) -> Iterator[tuple[str, Digest]]:
    """Yield where blobs may be that other images of the store, of the same registry, share."""
    looked = 0
    for root in layout.roots():
        paths = [
            reference.path
            for reference in map(Reference.parse, root.names)
            if reference.domain == destination.domain and reference.path != destination.path
        ]
        if not paths:
            continue
        looked += 1
        if looked > _NEIGHBOURS:
            return
        # What is wrong with another image is no reason not to push this one.
        with contextlib.suppress(OcitoolError):
            for blob in closure_of(layout, root.descriptor).blobs:
                if blob.digest in blobs:
                    yield paths[0], blob.digest


def _subject(shipment: Shipment) -> Digest | None:
    root = shipment.root
    return subject_of(root, shipment.closure.document(root.descriptor.digest))
