"""Plans: which images go, with all that belongs to them, and what became of them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import LimitExceeded, NotFound
from ocitool.events import Observer
from ocitool.image.content import (
    Catalog,
    Closure,
    PlannedImage,
    Remarking,
    Root,
    Source,
    synthesized_images,
)
from ocitool.image.entries import ambiguous, ambiguous_names
from ocitool.image.graph import closure_of, images_of, read_config, root_subject, subject_of
from ocitool.image.wholeness import require_whole
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Platform
from ocitool.oci.document import structure
from ocitool.places.layout import NameChange
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.platforms import platforms_of, select

if TYPE_CHECKING:
    from ocitool.transfer.recompress import Conversion, Recompressor


class CopiedImage(Struct, frozen=True, kw_only=True):
    """One image that arrived: how it is called, what it is, and what is missing of it.

    `image_id` is the digest of the config, docker's image ID, when the image is for one platform.
    `label` is what the source called an image that has no full name.
    """

    names: tuple[str, ...]
    label: str | None
    digest: Digest
    media_type: str
    image_id: Digest | None
    platforms: tuple[Platform, ...]
    missing: tuple[Descriptor, ...] = ()


class CopyReport(Struct, frozen=True, kw_only=True):
    """What a load, save or copy did. `attached` counts artifacts that came along.

    `transfer` counts nothing where an archive was written: it has no blobs of before.
    """

    images: tuple[CopiedImage, ...]
    attached: int = 0
    conversions: "tuple[Conversion, ...]" = ()
    moved: tuple[NameChange, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)


def plan_images(
    source: Catalog, roots: Sequence[Root], *, strict: bool = False
) -> list[PlannedImage]:
    """Plan the way of some roots of a source, each digest once with all its names.

    Artifacts of the source that are attached to one of them go along. NotFound for an index of
    which nothing is there, or not all when `strict`; IntegrityError for a config that does not fit
    its layers.
    """
    planned = _plan(source, _merge(roots))
    for image in planned:
        require_whole(source, image.root, image.closure, strict=strict)
    return planned + _attached_to(source, planned)


def _plan(source: Source, roots: Sequence[Root]) -> list[PlannedImage]:
    """Plan the roots; LimitExceeded when their manifests are too much to keep in memory at once."""
    planned: list[PlannedImage] = []
    size = PlanSize()
    for root in roots:
        planned.append(PlannedImage(root=root, closure=closure_of(source, root.descriptor)))
        size.add(planned[-1].closure)
    return planned


class PlanSize:
    """What the manifests of images that are planned together cost in memory.

    A few indexes that all list one large one would also cost their product.
    """

    def __init__(self) -> None:
        self._closures = self._weight = 0

    def add(self, closure: Closure) -> None:
        """Count one more image; LimitExceeded when all together are too much."""
        self._closures += 1
        self._weight += sum(_weight(document.raw) for _, document in closure.documents)
        if self._weight > DEFAULT_LIMITS.planned_structure:
            raise LimitExceeded(
                f"the manifests of {self._closures} images are too much to be planned together",
                hint="name fewer images at once",
            )


def _weight(raw: bytes) -> int:
    """Return what a decoded document costs in memory, a few hundred bytes a unit."""
    return structure(raw) + len(raw) // 40


def select_platforms(
    platforms: Sequence[Platform], planned: Sequence[PlannedImage], source: Source
) -> tuple[list[PlannedImage], Source]:
    """Return the part of each image for some platforms, and the source that knows it.

    Of images that share a name, those that are for none of the platforms are left out.
    """
    layered = LayeredSource(source)
    chosen: list[PlannedImage] = []
    left_out: list[PlannedImage] = []
    for image in planned:
        try:
            part = image if is_attached(image) else select(layered, image, platforms)
        except NotFound:
            if not _shares_a_name(image, planned):
                raise
            left_out.append(image)
        else:
            chosen.append(part)
    for image in left_out:
        if not _shares_a_name(image, chosen):
            # None of those that share the name suits: the refusal lists what there is.
            select(layered, image, platforms)
    return chosen, layered


def _shares_a_name(image: PlannedImage, others: Iterable[PlannedImage]) -> bool:
    names = set(image.root.names)
    return any(other is not image and names & set(other.root.names) for other in others)


def check_names(source: Source, planned: Sequence[PlannedImage], observer: Observer) -> None:
    """Remark on names that the source could not offer as they are.

    Refused when a name stands for several of the images.
    """
    for name, roots in ambiguous_names([image.root for image in planned]).items():
        if any(name in root.names for root in roots):
            raise ambiguous(name, roots)
    if isinstance(source, Remarking):
        for image in planned:
            for remark in source.remarks.get(image.root.descriptor.digest, ()):
                observer.remark(remark)


def drop_orphans(
    before: Sequence[PlannedImage], after: Sequence[PlannedImage], observer: Observer
) -> list[PlannedImage]:
    """Drop artifacts whose subject was changed or left behind on the way, and warn of it.

    A signature of an image that has another digest now would be worth nothing.
    """
    lost = _documents(before) - _documents(after)
    attached: dict[Digest | None, list[Digest]] = {}
    for image in after:
        if is_attached(image):
            attached.setdefault(_subject(image), []).append(image.root.descriptor.digest)
    # An artifact may be attached to an artifact, so what is dropped takes others with it.
    orphans: set[Digest] = set()
    stack = [digest for subject in lost for digest in attached.get(subject, ())]
    while stack:
        digest = stack.pop()
        if digest not in orphans:
            orphans.add(digest)
            stack += attached.get(digest, ())
    kept = [image for image in after if image.root.descriptor.digest not in orphans]
    dropped = len(after) - len(kept)
    if dropped:
        observer.warn(
            f"left out {dropped} attached artifact{'' if dropped == 1 else 's'}, such as "
            "signatures: what they belong to has another digest now, or does not come along"
        )
    return kept


def _documents(planned: Sequence[PlannedImage]) -> set[Digest]:
    return {d.digest for image in planned for d, _ in image.closure.documents}


def convert(
    source: Catalog,
    planned: list[PlannedImage],
    recompressor: "Recompressor",
    compression: str | None,
) -> "tuple[list[PlannedImage], list[Conversion]]":
    """Convert what must be: images without a manifest, and all of them when asked."""
    synthesized = synthesized_images(source)
    made_up = [s for s in planned if s.root.descriptor.digest in synthesized]
    conversions: list[Conversion] = []
    results: dict[Digest, PlannedImage] = {}
    if made_up:
        jobs_for = [
            (image.root, manifest, read_config(source, manifest).diff_ids)
            for image in made_up
            for _, manifest in images_of(image.closure)
        ]
        new, done = recompressor.made_up(jobs_for, compression)
        conversions += done
        results |= {
            old.root.descriptor.digest: moved for old, moved in zip(made_up, new, strict=True)
        }
    others = [s for s in planned if s.root.descriptor.digest not in synthesized]
    if compression not in (None, "keep"):
        new, done = recompressor.images(others, str(compression))
        conversions += done
        results |= {
            old.root.descriptor.digest: moved for old, moved in zip(others, new, strict=True)
        }
    moved = [results.get(s.root.descriptor.digest, s) for s in planned]
    return moved, conversions


def make_report(
    source: Source,
    planned: Sequence[PlannedImage],
    *,
    conversions: "Sequence[Conversion]" = (),
    moved: Sequence[NameChange] = (),
    transfer: TransferReport | None = None,
) -> CopyReport:
    """Return what became of images that arrived."""
    images = [image for image in planned if not is_attached(image)]
    return CopyReport(
        images=tuple(_report(source, image) for image in images),
        attached=len(planned) - len(images),
        conversions=tuple(conversions),
        moved=tuple(moved),
        transfer=transfer or TransferReport(),
    )


def _merge(roots: Sequence[Root]) -> list[Root]:
    """Return the roots, each digest once with all its names, in their order."""
    merged: dict[Digest, Root] = {}
    for root in roots:
        known = merged.setdefault(root.descriptor.digest, root)
        if known is not root:
            names = tuple(dict.fromkeys((*known.names, *root.names)))
            merged[root.descriptor.digest] = replace(known, names=names)
    return list(merged.values())


def _attached_to(source: Catalog, planned: Sequence[PlannedImage]) -> list[PlannedImage]:
    """Return the source's nameless roots whose subject is in one of the closures."""
    held = _documents(planned)
    roots = source.roots()
    waiting: dict[Digest, list[int]] = {}
    for position, root in enumerate(roots):
        if root.names or root.label is not None or root.descriptor.digest in held:
            continue
        subject = root_subject(source, root)
        if subject is not None:
            waiting.setdefault(subject, []).append(position)
    found: list[PlannedImage] = []
    # An artifact may be attached to an artifact, so what is added brings others with it.
    while fresh := sorted(n for digest in held & waiting.keys() for n in waiting.pop(digest)):
        added = _plan(source, [roots[position] for position in fresh])
        held = _documents(added)
        found += added
    return found


def _subject(image: PlannedImage) -> Digest | None:
    root = image.root
    return subject_of(root, image.closure.document(root.descriptor.digest))


def is_attached(image: PlannedImage) -> bool:
    """Tell whether a root is an artifact that lives with its subject, and no image."""
    return not image.root.names and _subject(image) is not None


def _report(source: Source, image: PlannedImage) -> CopiedImage:
    images = images_of(image.closure)
    single = len(images) == 1 and images[0][0].digest == image.root.descriptor.digest
    return CopiedImage(
        names=image.root.names,
        label=image.root.label,
        digest=image.root.descriptor.digest,
        media_type=image.root.descriptor.media_type,
        image_id=images[0][1].config.digest if single else None,
        platforms=platforms_of(source, image.closure),
        missing=image.closure.missing,
    )
