"""One destination of a push: what it has already, what is sent, and the result.

If a tag already names the image, the registry has all of it; if the registry has a manifest, it
has all blobs of that manifest.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import OcitoolError, Refused
from ocitool.events import Outcome
from ocitool.image.attached import is_in, tags_of_attached
from ocitool.image.content import PlannedImage
from ocitool.image.graph import closure_of, content_of
from ocitool.oci import Descriptor, Digest, Manifest, Reference, mediatype
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository, RepositoryWriter
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.writing import SubjectRefused
from ocitool.transfer.copy import Moved, TransferReport
from ocitool.transfer.pipeline import Pipeline
from ocitool.transfer.plan import subject_of
from ocitool.transfer.remote import RemoteImages
from ocitool.transfer.report import Conversion, CopiedImage, report_image

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


class RefusedArtifact(Struct, frozen=True, kw_only=True):
    """An attached artifact that the registry of an image did not take, and why."""

    digest: Digest
    error: SubjectRefused


class PushReport(Struct, frozen=True, kw_only=True):
    """The result for one image at one destination. `moved_from` is what the tag named before.

    `kept` is the other image that the tag still names, if the push was skipped because of it.
    """

    destination: Reference
    ending: Ending
    image: CopiedImage
    moved_from: Digest | None = None
    kept: Digest | None = None
    conversions: tuple[Conversion, ...] = ()
    attached: int = 0
    refused: tuple[RefusedArtifact, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def digest(self) -> Digest:
        """What the destination names now."""
        return self.kept or self.image.digest

    @property
    def pinned(self) -> str:
        """The image at its destination by its digest, such as `ghcr.io/a/b@sha256:…`."""
        return f"{self.destination.repository}@{self.digest}"


class TagPusher:
    """Pushes prepared images to destinations, one after the other.

    A destination may mount blobs from an earlier one in the same registry, also from one of an
    earlier command, as far as it is `known`. The `attached`
    artifacts are pushed with their images.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        registries: Registries,
        *,
        attached: Sequence[PlannedImage],
        on_existing: OnExisting,
        known: KnownBlobs | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._attached = attached
        self._registries = registries
        self._on_existing = on_existing
        self._known = known or KnownBlobs()
        self._pushed: list[Reference] = []

    def push(
        self, image: PlannedImage, destination: Reference, sent: Mapping[Digest, Outcome]
    ) -> PushReport:
        """Push one image to one destination; `sent` is what has been sent there already.

        Refused, before anything is sent, if the policy does not allow the tag to be moved.
        """
        report = self._push(image, destination, sent)
        self._pushed.append(destination)
        there = [moved.descriptor for moved in report.transfer.blobs]
        blobs = [one.digest for one in there if not mediatype.is_document(one.media_type)]
        self._known.learn(destination.domain, destination.path, blobs)
        return report

    def _push(
        self, image: PlannedImage, destination: Reference, sent: Mapping[Digest, Outcome]
    ) -> PushReport:
        digest = image.root.descriptor.digest
        _check_pinned(destination, digest)
        repository = Repository.of(self._registries, destination, writing=True)
        existing = (
            repository.head(destination, forbidden_is_absent=True)
            if destination.tag is not None
            else None
        )
        ending = ending_of(destination, existing, digest, self._on_existing)
        planned = [image, *self._attached_to(image)]
        report = self._report(image, destination, ending, existing, len(planned) - 1)
        if ending is Ending.SKIPPED:
            return report
        if ending is Ending.PRESENT and len(planned) == 1:
            return replace(report, transfer=_report_present(image))

        def send(images: Sequence[PlannedImage]) -> TransferReport:
            main = image.root.descriptor
            return self._send(repository, main, images, destination, ending, sent)

        try:
            return replace(report, transfer=send(planned))
        except SubjectRefused:
            # The image is worth having without what cannot be attached to it there.
            return _send_each(report, send, planned)

    def _attached_to(self, image: PlannedImage) -> list[PlannedImage]:
        """Return the attached artifacts that belong to this image."""
        held = {str(descriptor.digest) for descriptor, _ in image.closure.documents}
        waiting = [(s, subject) for s in self._attached if (subject := subject_of(s)) is not None]
        found: list[PlannedImage] = []
        while fresh := [s for s, subject in waiting if is_in(subject, held)]:
            waiting = [pair for pair in waiting if pair[0] not in fresh]
            held |= {str(d.digest) for s in fresh for d, _ in s.closure.documents}
            found += fresh
        return found

    def _send(
        self,
        repository: Repository,
        main: Descriptor,
        planned: Sequence[PlannedImage],
        destination: Reference,
        ending: Ending,
        sent: Mapping[Digest, Outcome],
    ) -> TransferReport:
        tagged = destination.tag is not None and ending is Ending.PUSHED
        tags = {s.root.descriptor.digest: _tags_of(s) for s in planned}
        writer = RepositoryWriter(
            repository,
            self._pipeline.source,
            tags=tags | {main.digest: (str(destination.tag),) if tagged else ()},
            documents={d.digest: m.raw for s in planned for d, m in s.closure.documents},
            mountable=self._mountable(destination, planned),
            remote=isinstance(self._pipeline.origin, RemoteImages),
            scratch=self._pipeline.options.scratch,
        )
        present = main.digest if ending is Ending.PRESENT else None
        known = _present(writer, planned, present=present) | dict(sent)
        return self._pipeline.transfer(writer, planned, known)

    def _mountable(
        self, destination: Reference, planned: Sequence[PlannedImage]
    ) -> Mapping[Digest, Sequence[str]]:
        """Return, for each blob, repositories of the same registry that may have it already."""
        blobs = {blob.digest for image in planned for blob in image.closure.blobs}
        found: dict[Digest, list[str]] = {}
        siblings = [r.path for r in self._pushed if r.domain == destination.domain]
        origin = self._pipeline.origin
        if isinstance(origin, RemoteImages):
            repository = origin.repository
            if repository.host.domain == destination.domain:
                siblings.append(repository.session.path)
        for path in siblings:
            if path != destination.path:
                for digest in blobs:
                    found.setdefault(digest, []).append(path)
        for digest in blobs:
            for path in self._known.repositories(destination.domain, digest):
                if path != destination.path:
                    found.setdefault(digest, []).append(path)
        if isinstance(origin, Layout):
            for path, digest in _neighbours(origin, destination, blobs):
                found.setdefault(digest, []).append(path)
        return found

    def _report(
        self,
        image: PlannedImage,
        destination: Reference,
        ending: Ending,
        existing: Descriptor | None,
        attached: int,
    ) -> PushReport:
        digest = image.root.descriptor.digest
        moved = existing is not None and existing.digest != digest and ending is Ending.PUSHED
        return PushReport(
            destination=destination,
            ending=ending,
            image=report_image(image),
            moved_from=existing.digest if moved and existing is not None else None,
            kept=existing.digest if existing is not None and ending is Ending.SKIPPED else None,
            conversions=tuple(self._pipeline.conversions),
            attached=attached,
        )


def _send_each(
    report: PushReport,
    send: Callable[[Sequence[PlannedImage]], TransferReport],
    planned: Sequence[PlannedImage],
) -> PushReport:
    """Send an image, and then what is attached to it one by one, as far as it is taken."""
    moved = {one.descriptor.digest: one for one in send(planned[:1]).blobs}
    refused = []
    for artifact in planned[1:]:
        try:
            moved |= {one.descriptor.digest: one for one in send([artifact]).blobs}
        except SubjectRefused as error:
            digest = artifact.root.descriptor.digest
            refused.append(RefusedArtifact(digest=digest, error=error))
    return replace(
        report,
        attached=report.attached - len(refused),
        refused=tuple(refused),
        transfer=TransferReport(blobs=tuple(moved.values())),
    )


def ending_of(
    destination: Reference, existing: Descriptor | None, digest: Digest, policy: OnExisting
) -> Ending:
    """Return how a push ends at a tag that names `existing`; Refused where it must not move."""
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
            f"{destination.familiar} names another image: {existing.digest}, not {digest}",
            hint="push under another tag; --on-existing overwrite moves this one",
        )
    return Ending.SKIPPED if policy is OnExisting.SKIP else Ending.PUSHED


def _check_pinned(destination: Reference, digest: Digest) -> None:
    if destination.digest is not None and destination.digest != digest:
        raise Refused(
            f"{destination.familiar} has the digest of another image; the one to push is {digest}",
            hint="leave the digest out of the destination",
        )


def _present(
    writer: RepositoryWriter, planned: Sequence[PlannedImage], *, present: Digest | None
) -> dict[Digest, Outcome]:
    """Ask for each manifest once: a registry that has a manifest has all that it lists."""
    known_outcomes: dict[Digest, Outcome] = {}
    for image in planned:
        closure = image.closure
        if closure.root.digest == present or writer.knows(closure.root.digest):
            known_outcomes |= {d.digest: Outcome.EXISTED for d in closure.descriptors}
            continue
        for descriptor, document in closure.documents[:-1]:
            if isinstance(document, Manifest) and writer.knows(descriptor.digest):
                known_outcomes[descriptor.digest] = Outcome.EXISTED
                known_outcomes |= {blob.digest: Outcome.EXISTED for blob in content_of(document)}
    return known_outcomes


def _report_present(image: PlannedImage) -> TransferReport:
    return TransferReport(
        blobs=tuple(
            Moved(descriptor=descriptor, outcome=Outcome.EXISTED, seconds=0.0)
            for descriptor in image.closure.descriptors
        )
    )


def _neighbours(
    layout: Layout, destination: Reference, blobs: set[Digest]
) -> Iterator[tuple[str, Digest]]:
    """Yield repositories of the registry whose images, by the store, have some of the blobs."""
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
        # A damaged other image must not prevent this push.
        with contextlib.suppress(OcitoolError):
            for blob in closure_of(layout, root.descriptor).blobs:
                if blob.digest in blobs:
                    yield paths[0], blob.digest


def _tags_of(image: PlannedImage) -> tuple[str, ...]:
    """Return the tags under which clients look for an attached artifact."""
    subject = subject_of(image)
    return tags_of_attached(image.root, subject) if subject is not None else ()
