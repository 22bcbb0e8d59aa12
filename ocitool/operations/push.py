"""push: images from any source into repositories of registries.

Everything is planned, and converted where it must be; then each destination gets what it lacks.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.events import Observer, Outcome
from ocitool.fsops import scratch_folder
from ocitool.image.content import Catalog, PlannedImage, Root, Source, synthesized_images
from ocitool.image.wholeness import described
from ocitool.oci import Descriptor, Digest, Platform, Reference, mediatype
from ocitool.operations.push_target import (
    OnExisting,
    PreparedPush,
    PushReport,
    TagPusher,
    belongs_to_another,
)
from ocitool.places.layout import Layout, Writing
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.upload import Uploads
from ocitool.transfer.plan import (
    check_names,
    convert,
    drop_orphans,
    is_attached,
    plan_images,
    select_platforms,
)

if TYPE_CHECKING:
    from ocitool.transfer.recompress import Conversion

OnFailure = Callable[[Reference, OcitoolError], None]


class Pushing(Struct, frozen=True, kw_only=True):
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
    with _prepare(source, roots, chosen, watcher, early) as prepared:
        reports = []
        images, attached = _sort_out(prepared.planned, attached=chosen.attached)
        pusher = TagPusher(
            prepared,
            registries,
            attached=attached,
            on_existing=chosen.on_existing,
            jobs=chosen.jobs,
            scratch=chosen.scratch,
            observer=watcher,
        )
        sent = early.outcomes if early is not None else {}
        for image, destination in _pairs(images, destinations):
            try:
                reports.append(pusher.push(image, destination, sent))
            except OcitoolError as error:
                if on_failure is None or registries.stopped:
                    raise
                on_failure(destination, error)
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
def _prepare(
    source: Catalog,
    roots: Sequence[Root],
    how: Pushing,
    observer: Observer,
    early: _Early | None,
) -> Iterator[PreparedPush]:
    before = planned = plan_images(source, roots, strict=how.strict)
    if not how.attached:
        before = planned = [s for s in planned if not is_attached(s)]
    place: Source = source
    if how.platforms:
        planned, place = select_platforms(how.platforms, planned, source)
    check_names(source, planned, observer)
    for image in planned:
        for child in image.closure.missing:
            observer.warn(f"{image.root.called} is pushed without {described(child)}")
    with contextlib.ExitStack() as scratch:
        conversions: list[Conversion] = []
        if _needs_conversion(source, planned, how):
            from ocitool.transfer.recompress import Recompressor

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
            planned, conversions = convert(source, planned, recompressor, how.compression)
            place = recompressor.layered
        planned = drop_orphans(before, planned, observer)
        yield PreparedPush(
            origin=source, source=place, planned=tuple(planned), conversions=tuple(conversions)
        )


def _sort_out(
    planned: Sequence[PlannedImage], *, attached: bool
) -> tuple[list[PlannedImage], list[PlannedImage]]:
    """Return the images, and what goes along with them.

    What has a name is an image like any other, unless what is attached is asked for.
    """
    others = [image for image in planned if attached and belongs_to_another(image)]
    digests = {image.root.descriptor.digest for image in others}
    images = [image for image in planned if image.root.descriptor.digest not in digests]
    return (images, others) if images else (others, [])


def _needs_conversion(source: Source, planned: Sequence[PlannedImage], how: Pushing) -> bool:
    if how.compression not in (None, mediatype.KEEP):
        return True
    synthesized = synthesized_images(source)
    return any(image.root.descriptor.digest in synthesized for image in planned)


def _pairs(
    planned: Sequence[PlannedImage], destinations: Sequence[Reference]
) -> Iterator[tuple[PlannedImage, Reference]]:
    images = [image for image in planned if not is_attached(image)]
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
                f"{image.root.called} has no name to push it under", hint="name a destination"
            )
        yield from ((image, Reference.parse(name)) for name in image.root.names)
