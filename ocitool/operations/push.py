"""push: images from any source into repositories of registries.

Everything is planned, and converted if necessary; then each destination gets what it lacks.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from ocitool.bundles.mapping import Below, Mapping
from ocitool.errors import OcitoolError
from ocitool.events import Observer, Outcome
from ocitool.image.content import Catalog, PlannedImage, Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.oci.amounts import counted
from ocitool.operations.push_names import Pair, pairs
from ocitool.operations.push_report import OnExisting, PushReport
from ocitool.operations.push_target import TagPusher, report_planned
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.upload import Uploads
from ocitool.transfer.copy import Moved
from ocitool.transfer.counted import Counted
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.plan import Attachments, is_attached

OnFailure = Callable[[Reference, OcitoolError], None]


def push(
    source: Catalog,
    roots: Sequence[Root],
    destinations: Sequence[Reference] | Below | Mapping,
    registries: Registries,
    options: TransferOptions | None = None,
    *,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    observer: Observer | None = None,
    on_failure: OnFailure | None = None,
    holders: Holders | None = None,
    known: KnownBlobs | None = None,
    replacing: str | None = None,
    dry_run: bool = False,
) -> list[PushReport]:
    """Push images: to the destinations, where a prefix or a map sends them, or to their own names.

    Idempotent: what a registry has is not sent. Refused, before anything is sent to a destination,
    if `on_existing` does not allow its tag to be moved. The first failure ends the push; with
    `on_failure`, that is called instead, and the other destinations are still pushed.
    `holders` knows where earlier pushes of this run left blobs that a registry can mount, `known`
    where earlier commands did. With the ETag `replacing`, NameMoved is raised where a registry that
    heeds it has another manifest under the tag. With `dry_run` nothing is sent: the reports
    say what would go where. What tags name now is asked only where `on_existing` depends on it.
    """
    pipeline = Pipeline(source, options, observer)
    pipeline.plan(roots, attached=pipeline.options.attached)
    pipeline.warn_of_missing("pushed")
    images, attached = _sort_out(pipeline.images, attached=pipeline.options.attached)
    wanted = pairs(images, destinations)
    is_final = not pipeline.needs_conversion
    if dry_run and on_existing is OnExisting.OVERWRITE:
        return [report_planned(pair, is_final=is_final) for pair in wanted]
    known = known or KnownBlobs()
    pusher = TagPusher(
        pipeline,
        registries,
        on_existing=on_existing,
        holders=holders,
        known=known,
        replacing=replacing,
    )
    attempts = _Attempts(registries, on_failure)
    if dry_run:
        for pair in wanted:
            foresee = functools.partial(pusher.foresee, pair, is_final=is_final)
            attempts.settle(pair.destination, foresee)
        return attempts.reports([pair.destination for pair in wanted])
    for pair in wanted if on_existing in (OnExisting.SKIP, OnExisting.ERROR) else ():
        attempts.settle(pair.destination, lambda pair=pair: pusher.ask_first(pair))  # type: ignore[misc]
    pipeline.leave_out(attempts.without(wanted, images))
    if len(attempts.settled) < len(wanted):
        _warn_of_unattached(attached, images, pipeline.observer)
        _push_converted(pipeline, pusher, destinations, attempts, known)
    return attempts.reports([pair.destination for pair in wanted])


def _push_converted(
    pipeline: Pipeline,
    pusher: TagPusher,
    destinations: Sequence[Reference] | Below | Mapping,
    attempts: "_Attempts",
    known: KnownBlobs,
) -> None:
    """Convert what must be, and push what is not settled yet."""
    early = _EarlyLayers.for_one(destinations, pusher, known)
    with _convert(pipeline, early):
        images, others = _sort_out(pipeline.images, attached=pipeline.options.attached)
        attached = Attachments(others)
        for pair in pairs(images, destinations):
            sent = early.sent if early is not None else {}
            attempts.settle(
                pair.destination,
                lambda pair=pair, sent=sent: pusher.push(pair, attached, sent),  # type: ignore[misc]
            )


class _Attempts:
    """What became of each destination: a report, or a failure (None). Each is tried once."""

    def __init__(self, registries: Registries, on_failure: OnFailure | None) -> None:
        self.settled: dict[Reference, PushReport | None] = {}
        self._registries = registries
        self._on_failure = on_failure
        self._since = time.monotonic()

    def settle(self, destination: Reference, attempt: Callable[[], PushReport | None]) -> None:
        """Try a destination that is not settled; without a report it stays so."""
        if destination in self.settled:
            return
        try:
            report = attempt()
        except OcitoolError as error:
            if self._on_failure is None or self._registries.stopped:
                raise
            self.settled[destination] = None
            self._on_failure(destination, error)
            return
        if report is not None:
            now = time.monotonic()
            # What was converted for all of them counts for the first one.
            self.settled[destination] = replace(report, seconds=now - self._since)
            self._since = now

    def without(self, wanted: Sequence[Pair], images: Sequence[PlannedImage]) -> set[Digest]:
        """Return which images have no destination that is still open."""
        still = {
            p.image.root.descriptor.digest for p in wanted if p.destination not in self.settled
        }
        return {image.root.descriptor.digest for image in images} - still

    def reports(self, order: Sequence[Reference]) -> list[PushReport]:
        """Return the reports in the order of the destinations."""
        found = [self.settled.get(destination) for destination in dict.fromkeys(order)]
        return [report for report in found if report is not None]


@contextlib.contextmanager
def _convert(pipeline: Pipeline, early: "_EarlyLayers | None") -> Iterator[None]:
    if not pipeline.needs_conversion:
        pipeline.drop_orphans()
        yield
        return
    with pipeline.convert_in_scratch(after=early):
        yield


class _EarlyLayers:
    """Sends layers to the destination as soon as they are converted. Thread-safe."""

    def __init__(self, repository: Repository, known: KnownBlobs) -> None:
        self._repository = repository
        self._known = known
        self._uploads = Uploads(repository.session)
        self.sent: dict[Digest, Moved] = {}

    @classmethod
    def for_one(
        cls,
        destinations: Sequence[Reference] | Below | Mapping,
        pusher: TagPusher,
        known: KnownBlobs,
    ) -> "_EarlyLayers | None":
        """Return an early sender; None if a policy could still refuse the push.

        None for several destinations too: a failure of one must not affect the others.
        """
        if (
            isinstance(destinations, Below | Mapping)
            or len(destinations) != 1
            or not pusher.overwrites
        ):
            return None
        return cls(pusher.repository(destinations[0]), known)

    def send(self, descriptor: Descriptor, open_blob: Counted) -> None:
        """Send a layer unless it is there."""
        began = time.monotonic()
        outcome = self._bring(descriptor, open_blob)
        seconds = time.monotonic() - began
        self.sent[descriptor.digest] = Moved(
            descriptor=descriptor, outcome=outcome, seconds=seconds
        )

    def _bring(self, descriptor: Descriptor, open_blob: Counted) -> Outcome:
        if self._uploads.has(descriptor):
            return Outcome.EXISTED
        opened = None
        for path in self._elsewhere(descriptor.digest)[:1]:
            mounted, opened = self._uploads.mount(descriptor, path)
            if mounted:
                return Outcome.MOUNTED
        self._uploads.put(descriptor, open_blob, opened)
        return Outcome.UPLOADED

    def _elsewhere(self, digest: Digest) -> list[str]:
        """Return other repositories of the registry that may have a layer."""
        session = self._repository.session
        found = self._known.repositories(session.host.domain, digest)
        return [path for path in found if path != session.path]

    def abort(self) -> None:
        """Break all uploads that are under way."""
        self._repository.abort()

    def resume(self) -> None:
        """Let other uploads begin after `abort`."""
        self._repository.resume()


def _warn_of_unattached(
    attached: Sequence[PlannedImage], images: Sequence[PlannedImage], observer: Observer
) -> None:
    """Warn of artifacts that are not sent because what they belong to is not among the images."""
    found = Attachments(attached)
    going = {id(one) for image in images for one in found.of(image)}
    left = [one for one in attached if id(one) not in going]
    if left:
        observer.warn(
            f"left out {counted(len(left), 'attached artifact')}, such as "
            f"{left[0].root.called}: what they belong to is not here"
        )


def _sort_out(
    planned: Sequence[PlannedImage], *, attached: bool
) -> tuple[list[PlannedImage], list[PlannedImage]]:
    """Return the images, and the attached artifacts to push with them.

    Unless `attached` is set, an artifact that has a name is treated as an image.
    """
    others = [image for image in planned if attached and is_attached(image)]
    digests = {image.root.descriptor.digest for image in others}
    images = [image for image in planned if image.root.descriptor.digest not in digests]
    return (images, others) if images else (others, [])
