"""One destination of a push: what it has already, what is sent, and the result.

If a tag already names the image, the registry has all of it; if the registry has a manifest, it
has all blobs of that manifest.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from ocitool.errors import OcitoolError, Refused
from ocitool.events import Outcome
from ocitool.image.attached import tags_of_attached
from ocitool.image.content import Catalog, PlannedImage
from ocitool.image.graph import closure_of, content_of
from ocitool.oci import Descriptor, Digest, Manifest, Reference
from ocitool.operations.push_names import Pair
from ocitool.operations.push_report import Ending, OnExisting, PushReport, RefusedArtifact
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository, RepositoryWriter
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.writing import SubjectRefused
from ocitool.transfer.copy import Moved, TransferReport
from ocitool.transfer.derived import DerivedImages, bases_of
from ocitool.transfer.pipeline import Pipeline
from ocitool.transfer.plan import Attachments, subject_of
from ocitool.transfer.remote import RemoteImages
from ocitool.transfer.report import report_image

_NEIGHBOURS = 50
"""How many other images of the store are looked at for layers that a registry may mount."""


class TagPusher:
    """Pushes prepared images to destinations, one after the other.

    What one destination has, another one of the same registry may mount from it: `holders` knows
    those of this run, `known` those of earlier commands. `replacing`: see `RepositoryWriter`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        registries: Registries,
        *,
        on_existing: OnExisting,
        holders: Holders | None = None,
        known: KnownBlobs | None = None,
        replacing: str | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._registries = registries
        self._on_existing = on_existing
        self._holders = holders or Holders()
        self._known = known or KnownBlobs()
        self._replacing = replacing
        self._asked: dict[Reference, Descriptor | None] = {}

    @property
    def overwrites(self) -> bool:
        """Whether no tag that exists could be a reason not to push."""
        return self._on_existing is OnExisting.OVERWRITE

    def repository(self, destination: Reference) -> Repository:
        """Return the repository of a destination, to write into."""
        return Repository.of(self._registries, destination, writing=True)

    def ask_first(self, pair: Pair) -> PushReport | None:
        """Return the report of a push that the tag there rules out, before anything is converted.

        Refused where the policy says so. None for an image that has to be pushed, or looked at.
        """
        existing = self._existing(pair.destination)
        digest = pair.image.root.descriptor.digest
        ending = ending_of(pair.destination, existing, digest, self._on_existing)
        if ending is not Ending.SKIPPED and (
            existing is None or not self._pipeline.needs_conversion
        ):
            return None
        return self._report(pair, Ending.SKIPPED, existing, 0)

    def foresee(self, pair: Pair, *, is_final: bool) -> PushReport:
        """Return how a push would end, as far as that is known; Refused where it would be.

        Without `is_final` the image gets another digest, which a tag cannot name yet.
        """
        existing = self._existing(pair.destination)
        digest = pair.image.root.descriptor.digest
        if is_final or self._on_existing is not OnExisting.SAME:
            ending = ending_of(pair.destination, existing, digest, self._on_existing)
            if ending in (Ending.SKIPPED, Ending.PRESENT):
                return self._report(pair, ending, existing, 0)
        return report_planned(pair, is_final=is_final)

    def push(self, pair: Pair, attached: Attachments, sent: Mapping[Digest, Moved]) -> PushReport:
        """Push one image to one destination, with what is attached to it.

        `sent` is what has been sent there already. Refused where the policy does not let a tag be
        moved; then nothing was sent.
        """
        image, _, destination = pair
        digest = image.root.descriptor.digest
        _check_pinned(destination, digest)
        existing = self._existing(destination)
        ending = ending_of(destination, existing, digest, self._on_existing)
        planned = [image, *attached.of(image)]
        report = self._report(pair, ending, existing, len(planned) - 1)
        if ending is Ending.SKIPPED:
            return report
        if ending is Ending.PRESENT and len(planned) == 1:
            report = replace(report, transfer=_report_present(image))
        else:
            report = _count_new(self._send_all(report, planned, sent), planned[1:])
        there = planned if not report.refused else planned[:1]
        self._holders.note(destination.domain, destination.path, _blobs(there))
        self._known.learn(destination.domain, destination.path, _blobs(there))
        return report

    def _send_all(
        self, report: PushReport, planned: Sequence[PlannedImage], sent: Mapping[Digest, Moved]
    ) -> PushReport:
        """Send the image, the first of `planned`, and what is attached to it."""
        main = planned[0].root.descriptor

        def send(images: Sequence[PlannedImage]) -> TransferReport:
            return self._send(main, images, report.destination, report.ending, sent)

        try:
            return replace(report, transfer=send(planned))
        except SubjectRefused:
            # The image is worth having without what cannot be attached to it there.
            return _send_each(report, send, planned)

    def _existing(self, destination: Reference) -> Descriptor | None:
        """Return what a tag names now; each is asked for once."""
        if destination.tag is None:
            return None
        if destination not in self._asked:
            repository = self.repository(destination)
            self._asked[destination] = repository.head(destination, forbidden_is_absent=True)
        return self._asked[destination]

    def _send(
        self,
        main: Descriptor,
        planned: Sequence[PlannedImage],
        destination: Reference,
        ending: Ending,
        sent: Mapping[Digest, Moved],
    ) -> TransferReport:
        tagged = destination.tag is not None and ending is Ending.PUSHED
        tags = {s.root.descriptor.digest: _tags_of(s) for s in planned}
        writer = RepositoryWriter(
            self.repository(destination),
            self._pipeline.source,
            tags=tags | {main.digest: (str(destination.tag),) if tagged else ()},
            documents={d.digest: m.raw for s in planned for d, m in s.closure.documents},
            mountable=self._mountable(destination, planned),
            holders=self._holders,
            remote=any(isinstance(base, RemoteImages) for base in self._bases),
            scratch=self._pipeline.options.scratch,
            replacing=self._replacing,
        )
        present = main.digest if ending is Ending.PRESENT else None
        known = _present(writer, planned, present=present, held=self._held_in(destination))
        known |= {digest: moved.outcome for digest, moved in sent.items()}
        report = self._pipeline.transfer(writer, planned, known)
        blobs = tuple(sent.get(moved.descriptor.digest, moved) for moved in report.blobs)
        return replace(report, blobs=blobs)

    def _mountable(
        self, destination: Reference, planned: Sequence[PlannedImage]
    ) -> Mapping[Digest, Sequence[str]]:
        """Return, for each blob, repositories of the same registry that may have it already."""
        blobs = _blobs(planned)
        found: dict[Digest, list[str]] = {digest: [] for digest in blobs}
        for digest, paths in found.items():
            paths.extend(_read_from(self._pipeline.origin, digest, destination.domain))
            paths.extend(self._known.repositories(destination.domain, digest))
        for base in self._bases:
            if isinstance(base, Layout):
                for path, digest in _neighbours(base, destination, blobs):
                    found[digest].append(path)
        return {d: [path for path in p if path != destination.path] for d, p in found.items()}

    @property
    def _bases(self) -> tuple[Catalog, ...]:
        return bases_of(self._pipeline.origin)

    def _held_in(self, destination: Reference) -> AbstractSet[Digest]:
        """Return what is in the repository, because new images were made from images there."""
        origin = self._pipeline.origin
        if not isinstance(origin, DerivedImages):
            return frozenset()
        return origin.held_in(destination.domain, destination.path)

    def _report(
        self, pair: Pair, ending: Ending, existing: Descriptor | None, attached: int
    ) -> PushReport:
        digest = pair.image.root.descriptor.digest
        moved = existing is not None and existing.digest != digest and ending is Ending.PUSHED
        return PushReport(
            destination=_by_digest(pair.destination, digest),
            name=pair.name,
            ending=ending,
            image=report_image(pair.image),
            moved_from=existing.digest if moved and existing is not None else None,
            kept=existing.digest if existing is not None and ending is Ending.SKIPPED else None,
            conversions=tuple(self._pipeline.conversions),
            attached=attached,
        )


def report_planned(pair: Pair, *, is_final: bool) -> PushReport:
    """Return the report of a push that is only planned."""
    digest = pair.image.root.descriptor.digest
    return PushReport(
        destination=_by_digest(pair.destination, digest) if is_final else pair.destination,
        name=pair.name,
        ending=Ending.PLANNED,
        image=report_image(pair.image),
        is_final=is_final,
    )


def _read_from(origin: Catalog, digest: Digest, domain: str) -> Iterator[str]:
    """Yield the repository of a registry that a blob is read from, if it is read from one."""
    base = origin.base_of(digest) if isinstance(origin, DerivedImages) else origin
    if isinstance(base, RemoteImages) and base.repository.host.domain == domain:
        yield base.repository.session.path


def _blobs(planned: Sequence[PlannedImage]) -> set[Digest]:
    return {blob.digest for image in planned for blob in image.closure.blobs}


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


def _count_new(report: PushReport, attached: Sequence[PlannedImage]) -> PushReport:
    """Return the report with how many of the attached artifacts were not there before."""
    new = {m.descriptor.digest for m in report.transfer.blobs if m.outcome is not Outcome.EXISTED}
    count = sum(one.root.descriptor.digest in new for one in attached)
    return replace(report, attached_new=count)


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
            hint="another tag keeps both; --on-existing overwrite moves this one",
        )
    return Ending.SKIPPED if policy is OnExisting.SKIP else Ending.PUSHED


def _by_digest(destination: Reference, digest: Digest) -> Reference:
    """Return the name of an image that goes into a repository without a tag: its digest."""
    named = destination.tag is not None or destination.digest is not None
    return destination if named else destination.with_digest(digest)


def _check_pinned(destination: Reference, digest: Digest) -> None:
    if destination.digest is not None and destination.digest != digest:
        raise Refused(
            f"{destination.familiar} has the digest of another image; the one to push is {digest}",
            hint=f"that is {destination.repository}@{digest}; `ocitool push --by-digest` takes "
            f"{destination.familiar_repository} alone, and sets no tag",
        )


def _present(
    writer: RepositoryWriter,
    planned: Sequence[PlannedImage],
    *,
    present: Digest | None,
    held: AbstractSet[Digest] = frozenset(),
) -> dict[Digest, Outcome]:
    """Ask for each manifest once: a registry that has a manifest has all that it lists.

    One list tells of all that is attached to an image that is there. `held` was read from there;
    beside it, documents are new, and not asked for.
    """
    known_outcomes: dict[Digest, Outcome] = {}
    for image in planned:
        closure, root, subject = image.closure, image.closure.root.digest, _subject(image)
        here = {d.digest: Outcome.EXISTED for d in closure.descriptors if d.digest in held}
        if (
            root == present
            or root in here
            or (subject in known_outcomes and writer.lists(subject, root))
            or (not here and writer.knows(root))
        ):
            known_outcomes |= {d.digest: Outcome.EXISTED for d in closure.descriptors}
            if subject is not None and not writer.is_listed(subject, root):
                del known_outcomes[root]
            continue
        known_outcomes |= here
        for descriptor, document in closure.documents[:-1] if not here else ():
            if isinstance(document, Manifest) and writer.knows(descriptor.digest):
                known_outcomes[descriptor.digest] = Outcome.EXISTED
                known_outcomes |= {blob.digest: Outcome.EXISTED for blob in content_of(document)}
    return known_outcomes


def _subject(image: PlannedImage) -> Digest | None:
    """Return what an artifact is attached to by its manifest."""
    document = image.closure.document(image.root.descriptor.digest)
    return document.subject.digest if document is not None and document.subject else None


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
