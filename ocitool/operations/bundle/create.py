"""bundle create: images, with all that belongs to them, into a file that proves itself."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from ocitool.bundles.inventory import Base, Need
from ocitool.errors import NotFound
from ocitool.events import SILENT, Observer
from ocitool.image.attached import is_in
from ocitool.image.content import Blob, PlannedImage, Source
from ocitool.images.opening import Opened, with_attached
from ocitool.oci import Descriptor, Digest, Platform
from ocitool.operations.bundle.ahead import reading_ahead
from ocitool.operations.save import feature
from ocitool.places.archive.bundle import BundleList, ClosureReport
from ocitool.places.archive.bundle_writer import BundleContents, Packing, bundle_contents
from ocitool.places.archive.sections import tar_pieces
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.plan import Attachments, is_attached, refuse_ambiguous, subject_of
from ocitool.transfer.report import CopyReport

_INDEX = ("index",)
"""Where places other than registries say what is attached."""


@runtime_checkable
class _Asked(Protocol):
    """A source that says where it looked for what is attached, and what of it was not there.

    Not the class itself: without images of registries, what reaches them is not imported.
    """

    asked: set[str]
    left_out: list[tuple[Digest, Digest]]


class BundlePlan(Struct, frozen=True, kw_only=True):
    """A planned bundle: what it will hold, and where its blobs are read.

    `open_blob` verifies what it returns; it may be called from several threads. `ahead` small blobs
    are fetched at once, where that saves time.
    """

    contents: BundleContents
    open_blob: Callable[[Descriptor], Blob]
    reports: tuple[CopyReport, ...] = ()
    """What each source gave, and what of it had to be converted."""
    observer: Observer = SILENT
    ahead: int = 0

    @property
    def listing(self) -> BundleList:
        """The list of the bundle."""
        return self.contents.listing

    @property
    def incomplete(self) -> tuple[str, ...]:
        """What the images are called that lack something of what belongs to them."""
        images = [image for image in self.listing.images if not image.closure.complete]
        return tuple(dict.fromkeys(image.called for image in images))

    def pieces(self, signature: bytes | None = None) -> Iterator[bytes]:
        """Yield the whole file, piece by piece."""
        sections = list(self.contents.sections(signature))
        with (
            self.observer.work("writing the bundle", sum(b.size for b in self.listing.blobs)),
            reading_ahead(self.open_blob, sections, self.ahead) as read,
        ):
            yield from tar_pieces(sections, read)


@contextlib.contextmanager
def plan_bundle(
    sources: Sequence[Opened],
    options: TransferOptions | None = None,
    *,
    base: Base | None = None,
    need: Need | None = None,
    featured: Platform | None = None,
    observer: Observer = SILENT,
) -> Iterator[BundlePlan]:
    """Plan a bundle of the images that are open; the same images give the same bytes.

    What is attached to an image travels with it, to any depth. With a `base` the bundle is a delta:
    layers that the other side has are left out. With a `need` it holds only the layers that this
    names. `featured` is the platform for readers that know only one: docker. NotFound when a layer
    is needed that no image has, Refused when two sources have different images of one name.
    """
    chosen = options or TransferOptions()
    with contextlib.ExitStack() as scratch:
        gathered = _Gathered()
        for opened in sources:
            pipeline = _planned(with_attached(opened), chosen, observer, scratch)
            gathered.add(pipeline, next(iter(chosen.platforms), featured))
        refuse_ambiguous([packing.image for packing in gathered.packings])
        left_out = _left_out(base, need, gathered.digests)
        known = base or Base()
        contents = bundle_contents(
            gathered.packings,
            left_out=left_out,
            holders=known.repositories,
            builds_on=known.lists,
        )
        yield BundlePlan(
            contents=contents,
            open_blob=lambda blob: gathered.open(blob).watched(observer.advance),
            reports=tuple(gathered.reports),
            observer=observer,
            ahead=chosen.jobs if gathered.is_remote else 0,
        )


def _planned(
    opened: Opened, options: TransferOptions, observer: Observer, scratch: contextlib.ExitStack
) -> Pipeline:
    pipeline = Pipeline(opened.source, options, observer)
    pipeline.plan(opened.roots)
    if pipeline.needs_conversion:
        scratch.enter_context(pipeline.convert_in_scratch())
    else:
        pipeline.drop_orphans()
    return pipeline


class _Gathered:
    """The images of all sources, each digest once, and where each blob is read."""

    def __init__(self) -> None:
        self.reports: list[CopyReport] = []
        self.is_remote = False
        self._packings: dict[Digest, Packing] = {}
        self._sources: dict[Digest, Source] = {}

    @property
    def packings(self) -> list[Packing]:
        return list(self._packings.values())

    @property
    def digests(self) -> Mapping[Digest, Source]:
        return self._sources

    def add(self, pipeline: Pipeline, featured: Platform | None) -> None:
        """Add the images of a source."""
        self.reports.append(pipeline.report())
        self.is_remote |= isinstance(pipeline.origin, _Asked)
        attached = [image for image in pipeline.images if is_attached(image)]
        images = [image for image in pipeline.images if not is_attached(image)] or attached
        belonging = Attachments(attached)
        for image in images:
            own = belonging.of(image)
            self._add(
                Packing(
                    image=feature(image, featured),
                    attached=tuple((one, subject_of(one) or "") for one in own),
                    closure=_closure_report(pipeline, image, own),
                )
            )
        for image in pipeline.images:
            for descriptor in image.closure.descriptors:
                self._sources.setdefault(descriptor.digest, pipeline.source)

    def _add(self, packing: Packing) -> None:
        digest = packing.image.root.descriptor.digest
        known = self._packings.get(digest)
        self._packings[digest] = packing if known is None else _merged(known, packing)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return a blob from the source that has it."""
        return self._sources[descriptor.digest].open(descriptor)


def _merged(one: Packing, other: Packing) -> Packing:
    """Return one image that two sources have: with the names and what is attached of both."""
    from msgspec.structs import replace

    names = tuple(dict.fromkeys((*one.image.root.names, *other.image.root.names)))
    attached = {image.root.descriptor.digest: (image, s) for image, s in one.attached}
    for image, subject in other.attached:
        attached.setdefault(image.root.descriptor.digest, (image, subject))
    missing = set(one.closure.missing) & set(other.closure.missing)
    return Packing(
        image=replace(one.image, root=replace(one.image.root, names=names)),
        attached=tuple(attached.values()),
        closure=_report({*one.closure.asked, *other.closure.asked}, missing),
    )


def _closure_report(
    pipeline: Pipeline, image: PlannedImage, attached: Sequence[PlannedImage]
) -> ClosureReport:
    """Return where was looked for what belongs to an image, and what of it is not there."""
    missing = {str(child.digest) for one in (image, *attached) for child in one.closure.missing}
    missing |= {str(one.root.descriptor.digest) for one in pipeline.orphans_of(image)}
    origin = pipeline.origin
    if not isinstance(origin, _Asked):
        return _report(_INDEX, missing)
    held = {str(d.digest) for one in (image, *attached) for d, _ in one.closure.documents}
    missing |= {str(digest) for subject, digest in origin.left_out if is_in(str(subject), held)}
    return _report(origin.asked, missing)


def _report(asked: Iterable[str], missing: set[str]) -> ClosureReport:
    return ClosureReport(
        asked=tuple(sorted(asked)), complete=not missing, missing=tuple(sorted(missing))
    )


def _left_out(
    base: Base | None, need: Need | None, there: Mapping[Digest, Source]
) -> Callable[[Descriptor], bool] | None:
    """Return which layers stay out of the bundle; None if all are in it."""
    if need is not None:
        needed = {Digest.parse(blob.digest) for blob in need.blobs}
        absent = sorted(str(digest) for digest in needed if digest not in there)
        if absent:
            raise NotFound(
                f"{len(absent)} of the blobs that are needed belong to none of these images, such "
                f"as {absent[0]}",
                hint="name the images of the bundle that the need was written for; if a tag has "
                "moved since, name them by digest, as `ocitool lock` writes them down",
            )
        return lambda blob: blob.digest not in needed
    if base is not None:
        digests = base.digests
        return lambda blob: blob.digest in digests
    return None
