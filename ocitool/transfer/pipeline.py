"""The steps that every verb takes: plan, select platforms, convert, drop orphans, transfer, report.

A verb chooses the places and the steps; the steps themselves are defined only here.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError
from ocitool.events import Observer, Outcome
from ocitool.image.attached import is_in
from ocitool.image.content import (
    Catalog,
    PlannedImage,
    Root,
    Target,
    synthesized_images,
)
from ocitool.image.wholeness import described
from ocitool.oci import Digest, Platform, Reference, mediatype
from ocitool.places.layout import NameChange, Writing, temporary_layout
from ocitool.transfer.copy import TransferReport, transfer
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.plan import (
    check_names,
    drop_orphans,
    independent,
    plan_images,
    subject_of,
)
from ocitool.transfer.platforms import select_each
from ocitool.transfer.report import Conversion, CopyReport, report_copy

if TYPE_CHECKING:
    from ocitool.transfer.layer_conversion import AfterLayer


class TransferOptions(Struct, frozen=True, kw_only=True):
    """How images are moved, the same for every verb.

    `platforms` takes only these from an index, under a new digest. `compression` is one of
    COMPRESSIONS; None converts only what its target cannot hold: images without a manifest get
    gzip layers, except in archives. `strict` refuses an index that lacks some of its children.
    `attached` also moves what a registry has attached to the images: signatures, SBOMs,
    attestations; between files it is always moved. `name` replaces the names of the one image
    there is; `repository` is set instead of its tag where there are several with nothing but tags.
    `jobs` is the number of blobs at a time. Layers that have to be converted, or fetched
    again, are stored temporarily in the folder `scratch`.
    """

    platforms: tuple[Platform, ...] = ()
    compression: str | None = None
    strict: bool = False
    attached: bool = False
    name: str | None = None
    repository: str | None = None
    jobs: int = DEFAULT_JOBS
    scratch: str | None = None

    def __post_init__(self) -> None:
        known = mediatype.COMPRESSIONS
        if self.compression is not None and self.compression not in known:
            raise UsageError(f"there is no compression {self.compression!r}: {', '.join(known)}")

    @property
    def changes_compression(self) -> bool:
        """Whether `compression` names one that all layers get."""
        return self.compression not in (None, mediatype.KEEP)

    @property
    def changed_by(self) -> str | None:
        """The option that changes layers, as a user types it; None without one."""
        return f"--compression {self.compression}" if self.changes_compression else None


class Pipeline:
    """Images on their way from one place to another: what is planned, and where it is read.

    `origin` is the place they come from. Their content is read from `source`, which also has the
    planned documents and the converted layers. Call the steps in their order.
    """

    def __init__(
        self,
        origin: Catalog,
        options: TransferOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.origin = origin
        self.options = options or TransferOptions()
        self.observer = observer or Observer()
        self.source = LayeredSource(origin)
        self.images: list[PlannedImage] = []
        self.conversions: list[Conversion] = []
        self._planned: list[PlannedImage] = []
        self._dropped: list[PlannedImage] = []
        self._known_outcomes: Mapping[Digest, Outcome] = {}

    def plan(
        self,
        roots: Sequence[Root],
        *,
        attached: bool = True,
        platforms: Sequence[Platform] | None = None,
    ) -> None:
        """Read everything about the roots and what is attached to them; select the platforms.

        `platforms` replaces those of the options. NotFound for a platform that is not there, and
        for an image that is too incomplete; Refused for a name that stands for several images;
        UsageError if the `name` of the options would be given to several.
        """
        strict = self.options.strict
        images = plan_images(self.source, self.origin, roots, strict=strict, attached=attached)
        self._planned = images
        wanted = self.options.platforms if platforms is None else platforms
        if wanted:
            images = select_each(self.source, images, wanted)
        check_names(self.origin, images, self.observer)
        if self.options.name is not None:
            images = _rename(images, self.options.name, self.options.repository)
        self.images = images

    def warn_of_missing(self, participle: str) -> None:
        """Warn of each child that an index lacks; `participle` is such as "saved"."""
        for image in self.images:
            for child in image.closure.missing:
                self.observer.warn(
                    f"{image.root.called} is {participle} without {described(child)}"
                )

    def leave_out(self, digests: AbstractSet[Digest]) -> None:
        """Leave images out of the following steps."""
        if digests:
            self.images = [one for one in self.images if one.root.descriptor.digest not in digests]
            self._planned = [
                one for one in self._planned if one.root.descriptor.digest not in digests
            ]

    @property
    def synthesized(self) -> list[PlannedImage]:
        """The images that had no manifest, so that one was made here."""
        known = synthesized_images(self.origin)
        return [image for image in self.images if image.root.descriptor.digest in known]

    @property
    def needs_conversion(self) -> bool:
        """Whether layers have to be converted for a place that cannot hold plain docker images."""
        return self.options.changes_compression or bool(self.synthesized)

    def convert(self, scratch: Writing, *, after: "AfterLayer | None" = None) -> None:
        """Convert layers if needed, into a scratch layout; drop artifacts of changed images."""
        if self.needs_conversion:
            from ocitool.transfer.recompress import Recompressor

            recompressor = Recompressor(
                self.source,
                scratch,
                synthesized=synthesized_images(self.origin),
                jobs=self.options.jobs,
                observer=self.observer,
                after=after,
            )
            self.images, self.conversions = recompressor.convert(
                self.images, self.options.compression
            )
            self.source = recompressor.layered
            self._known_outcomes = recompressor.known_outcomes
        self.drop_orphans()

    @contextlib.contextmanager
    def convert_in_scratch(self, *, after: "AfterLayer | None" = None) -> Iterator[None]:
        """Convert into a layout of its own, which lives for the block."""
        with temporary_layout(self.options.scratch) as writing:
            self.convert(writing, after=after)
            yield

    def drop_orphans(self) -> None:
        """Drop artifacts attached to images that are left out or have another digest now."""
        kept = drop_orphans(self._planned, self.images, self.observer)
        going = {one.root.descriptor.digest for one in kept}
        self._dropped = [one for one in self._planned if one.root.descriptor.digest not in going]
        self.images = kept

    def orphans_of(self, image: PlannedImage) -> list[PlannedImage]:
        """Return the artifacts that `drop_orphans` dropped because this image has changed."""
        if not self._dropped:
            return []
        names = image.root.names
        before = [one for one in self._planned if names and one.root.names == names]
        held = {str(d.digest) for one in before for d, _ in one.closure.documents}
        return [
            one
            for one in self._dropped
            if (subject := subject_of(one)) is not None and is_in(subject, held)
        ]

    def transfer(
        self,
        target: Target,
        images: Sequence[PlannedImage] | None = None,
        known_outcomes: Mapping[Digest, Outcome] | None = None,
    ) -> TransferReport:
        """Move all images, or these, to a target.

        `known_outcomes` says what the target has already; None if the target is the layout that
        layers were converted into.
        """
        return transfer(
            self.source,
            target,
            self.images if images is None else images,
            known_outcomes=self._known_outcomes if known_outcomes is None else known_outcomes,
            jobs=self.options.jobs,
            observer=self.observer,
        )

    def report(
        self, *, moved: Sequence[NameChange] = (), transfer: TransferReport | None = None
    ) -> CopyReport:
        """Return the report on the images."""
        return report_copy(
            self.images, conversions=self.conversions, moved=moved, transfer=transfer
        )


def _rename(
    planned: Sequence[PlannedImage], name: str, repository: str | None
) -> list[PlannedImage]:
    images = independent(planned)
    names = {id(image): name for image in images}
    if len(images) > 1 and repository is not None and all(one.root.label for one in images):
        for one in images:
            names[id(one)] = Reference.parse(f"{repository}:{one.root.label}").name
    elif len(images) != 1:
        raise UsageError(
            f"one name cannot be given to {len(images)} images",
            hint="load them first, then name each with `ocitool tag`",
        )
    return [
        _with_name(image, names[id(image)]) if id(image) in names else image for image in planned
    ]


def _with_name(image: PlannedImage, name: str) -> PlannedImage:
    root = replace(image.root, names=(name,), label=None, other_names=())
    return replace(image, root=root)
