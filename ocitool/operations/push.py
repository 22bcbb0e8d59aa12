"""push: images from any source into repositories of registries.

Everything is planned, and converted if necessary; then each destination gets what it lacks.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.events import Observer, Outcome
from ocitool.image.content import Catalog, PlannedImage, Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.push_target import OnExisting, PushReport, TagPusher
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.upload import Uploads
from ocitool.transfer.counted import Counted
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.plan import is_attached

OnFailure = Callable[[Reference, OcitoolError], None]


def push(
    source: Catalog,
    roots: Sequence[Root],
    destinations: Sequence[Reference],
    registries: Registries,
    options: TransferOptions | None = None,
    *,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    observer: Observer | None = None,
    on_failure: OnFailure | None = None,
    known: KnownBlobs | None = None,
) -> list[PushReport]:
    """Push images to the destinations, or to their own names if there are none.

    Idempotent: what a registry has is not sent. Refused, before anything is sent to a destination,
    if `on_existing` does not allow its tag to be moved. The first failure ends the push; with
    `on_failure`, that is called instead, and the other destinations are still pushed.
    """
    pipeline = Pipeline(source, options, observer)
    pipeline.plan(roots, attached=pipeline.options.attached)
    pipeline.warn_of_missing("pushed")
    known = known or KnownBlobs()
    early = _EarlyLayers.for_one(destinations, registries, on_existing, known)
    with _convert(pipeline, early):
        images, attached = _sort_out(pipeline.images, attached=pipeline.options.attached)
        pusher = TagPusher(
            pipeline, registries, attached=attached, on_existing=on_existing, known=known
        )
        reports = []
        for image, destination in _pairs(images, destinations):
            try:
                reports.append(pusher.push(image, destination, early.outcomes if early else {}))
            except OcitoolError as error:
                if on_failure is None or registries.stopped:
                    raise
                on_failure(destination, error)
        return reports


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
        self.outcomes: dict[Digest, Outcome] = {}

    @classmethod
    def for_one(
        cls,
        destinations: Sequence[Reference],
        registries: Registries,
        on_existing: OnExisting,
        known: KnownBlobs,
    ) -> "_EarlyLayers | None":
        """Return an early sender; None if a policy could still refuse the push.

        None for several destinations too: a failure of one must not affect the others.
        """
        if len(destinations) != 1 or on_existing is not OnExisting.OVERWRITE:
            return None
        return cls(Repository.of(registries, destinations[0], writing=True), known)

    def send(self, descriptor: Descriptor, open_blob: Counted) -> None:
        """Send a layer unless it is there."""
        if self._uploads.has(descriptor):
            self.outcomes[descriptor.digest] = Outcome.EXISTED
            return
        opened = None
        for path in self._elsewhere(descriptor.digest)[:1]:
            mounted, opened = self._uploads.mount(descriptor, path)
            if mounted:
                self.outcomes[descriptor.digest] = Outcome.MOUNTED
                return
        self._uploads.put(descriptor, open_blob, opened)
        self.outcomes[descriptor.digest] = Outcome.UPLOADED

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


def _pairs(
    planned: Sequence[PlannedImage], destinations: Sequence[Reference]
) -> Iterator[tuple[PlannedImage, Reference]]:
    images = [image for image in planned if image.root.names or not is_attached(image)]
    if not images:
        raise NotFound(
            "there is no image to push",
            hint="artifacts are only pushed with their image: name the image and add --referrers",
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
                f"{image.root.called} has no name to push it under", hint="name a destination"
            )
        yield from ((image, Reference.parse(name)) for name in image.root.names)
