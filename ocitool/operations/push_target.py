"""One destination of a push: what is there already, what goes, and how it ended.

A tag that names the image says that all of it is there; a manifest that the registry knows says the
same of its blobs.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import OcitoolError, Refused
from ocitool.events import Observer, Outcome
from ocitool.image.content import Catalog, Shipment, Source
from ocitool.image.graph import closure_of, content_of, subject_of
from ocitool.oci import Descriptor, Digest, Manifest, Reference
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository, RepositoryWriter
from ocitool.places.registry.referrers import cosign_subject
from ocitool.transfer.copy import Moved, TransferReport, transfer
from ocitool.transfer.plan import CopiedImage, is_attached, report_of

if TYPE_CHECKING:
    from ocitool.transfer.recompress import Conversion

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


class PushReport(Struct, frozen=True, kw_only=True):
    """What became of one image at one destination. `moved_from` is what the tag named before.

    `kept` is the other image that the tag still names, where the push was skipped for it.
    """

    destination: Reference
    ending: Ending
    image: CopiedImage
    moved_from: Digest | None = None
    kept: Digest | None = None
    conversions: "tuple[Conversion, ...]" = ()
    attached: int = 0
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def digest(self) -> Digest:
        """What the destination names now."""
        return self.kept or self.image.digest

    @property
    def pinned(self) -> str:
        """The image at its destination by its digest, such as `ghcr.io/a/b@sha256:…`."""
        return f"{self.destination.repository}@{self.digest}"


class Cargo(Struct, frozen=True, kw_only=True):
    """What is ready to go: shipments, where they are read, and what was converted for it.

    `origin` is the place from which it came before any conversion.
    """

    origin: Catalog
    source: Source
    shipments: tuple[Shipment, ...]
    conversions: "tuple[Conversion, ...]"


class Delivery:
    """Brings images of a cargo to destinations, one after the other.

    What one destination has, another one of the same registry may mount from it. `companions` go
    with the images to which they belong.
    """

    def __init__(
        self,
        cargo: Cargo,
        registries: Registries,
        *,
        companions: Sequence[Shipment],
        on_existing: OnExisting,
        jobs: int,
        scratch: str | None,
        observer: Observer,
    ) -> None:
        self._cargo = cargo
        self._companions = companions
        self._registries = registries
        self._on_existing = on_existing
        self._jobs = jobs
        self._scratch = scratch
        self._observer = observer
        self._pushed: list[Reference] = []

    def bring(
        self, shipment: Shipment, destination: Reference, sent: Mapping[Digest, Outcome]
    ) -> PushReport:
        """Push one image to one destination; `sent` is what has been sent there already.

        Refused where the policy does not let a tag be moved; then nothing was sent.
        """
        report = self._brought(shipment, destination, sent)
        self._pushed.append(destination)
        return report

    def _brought(
        self, shipment: Shipment, destination: Reference, sent: Mapping[Digest, Outcome]
    ) -> PushReport:
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
        policy = self._on_existing
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
        waiting = list(self._companions)
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
        tags = {s.root.descriptor.digest: _signature_tags(s) for s in shipments[1:]}
        remote = isinstance(self._cargo.origin, Repository)
        writer = RepositoryWriter(
            repository,
            self._cargo.source,
            tags=tags | {main.digest: (str(destination.tag),) if tagged else ()},
            documents={d.digest: m.raw for s in shipments for d, m in s.closure.documents},
            mountable=self._mountable(destination, shipments),
            remote=remote,
            scratch=self._scratch,
        )
        settled = _present(writer, shipments, present=ending is Ending.PRESENT) | dict(sent)
        return transfer(
            self._cargo.source,
            writer,
            shipments,
            settled=settled,
            jobs=self._jobs,
            observer=self._observer,
        )

    def _mountable(
        self, destination: Reference, shipments: Sequence[Shipment]
    ) -> Mapping[Digest, Sequence[str]]:
        """Return in which repositories of the same registry a blob may be already."""
        blobs = {blob.digest for shipment in shipments for blob in shipment.closure.blobs}
        found: dict[Digest, list[str]] = {}
        siblings = [r.path for r in self._pushed if r.domain == destination.domain]
        origin = self._cargo.origin
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
            kept=existing.digest if existing is not None and ending is Ending.SKIPPED else None,
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


def is_companion(shipment: Shipment) -> bool:
    """Tell whether it is no image of its own: attached to one, or a signature by cosign's name."""
    return is_attached(shipment) or bool(_signature_tags(shipment))


def _signature_tags(shipment: Shipment) -> tuple[str, ...]:
    """Return the tags by which cosign finds it, if all its names are of that kind."""
    tags = [name.rpartition(":")[2] for name in shipment.root.names]
    found = tuple(dict.fromkeys(tag for tag in tags if cosign_subject(tag) is not None))
    return found if len(found) == len(set(tags)) else ()


def _subject(shipment: Shipment) -> Digest | None:
    """Return what it is attached to, by its manifest or by its name."""
    root = shipment.root
    found = subject_of(root, shipment.closure.document(root.descriptor.digest))
    tags = _signature_tags(shipment)
    return found if found is not None or not tags else cosign_subject(tags[0])
