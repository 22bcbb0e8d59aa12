"""Which images are moved, with all that belongs to them."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from ocitool.errors import LimitExceeded, OcitoolError
from ocitool.events import Observer
from ocitool.image.attached import (
    Content,
    content_of,
    is_in,
    names_of,
    subject_of_root,
    subject_texts,
)
from ocitool.image.attached import subject_of as subject_of_entry
from ocitool.image.content import (
    Catalog,
    Closure,
    ConfigFacts,
    PlannedImage,
    Remarking,
    Root,
    Source,
)
from ocitool.image.entries import ambiguous, ambiguous_names
from ocitool.image.graph import closure_of, is_build_cache, read_document
from ocitool.image.wholeness import require_whole
from ocitool.oci import DEFAULT_LIMITS, Digest
from ocitool.oci.amounts import counted
from ocitool.oci.document import structure
from ocitool.transfer.layered import LayeredSource


def plan_images(
    source: LayeredSource,
    catalog: Catalog,
    roots: Sequence[Root],
    *,
    strict: bool = False,
    attached: bool = True,
) -> list[PlannedImage]:
    """Plan the move of some roots of a catalog, each digest once with all its names.

    Everything is read from `source`, which keeps the documents. With `attached`, artifacts of the
    catalog that are attached to one of the roots are added; without it, attached artifacts are
    planned only if they are among the roots and have a name. NotFound for an index that lacks all
    its images, or with `strict` some; IntegrityError for a config that does not fit its layers.
    """
    planned = []
    for image in _plan(source, _merge_names(roots)):
        whole = require_whole(source, image.root, image.closure, strict=strict)
        configs = {
            one.manifest.config.digest: ConfigFacts(
                platform=one.config.platform, diff_ids=tuple(one.config.diff_ids)
            )
            for one in whole
        }
        planned.append(replace(image, configs=configs))
    if not attached:
        return [image for image in planned if image.root.names or not is_attached(image)]
    return planned + _attached_to(source, catalog, planned)


def _plan(source: LayeredSource, roots: Sequence[Root]) -> list[PlannedImage]:
    """Plan the roots; LimitExceeded when their manifests are too much to keep in memory at once."""
    planned: list[PlannedImage] = []
    size = PlanSize()
    for root in roots:
        closure = closure_of(source, root.descriptor)
        planned.append(PlannedImage(root=root, closure=closure))
        size.add(closure)
        for descriptor, document in closure.documents:
            source.keep(descriptor.digest, document.raw)
    return planned


class PlanSize:
    """The memory that the manifests of images need that are planned together.

    Without this limit, a few indexes that all list the same large index could use up the memory.
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
    """Return how much memory a decoded document needs, in units of a few hundred bytes."""
    return structure(raw) + len(raw) // 40


def check_names(source: Source, planned: Sequence[PlannedImage], observer: Observer) -> None:
    """Remark on names that the source could not offer as they are, and on what is not an image.

    Refused when a name stands for several of the images.
    """
    refuse_ambiguous(planned)
    for image in planned:
        document = image.closure.document(image.root.descriptor.digest)
        if document is not None and is_build_cache(document):
            observer.remark(f"{image.root.called} is a cache that BuildKit exported, not an image")
    if isinstance(source, Remarking):
        for image in planned:
            for remark in source.remarks.get(image.root.descriptor.digest, ()):
                observer.remark(remark)


def refuse_ambiguous(planned: Sequence[PlannedImage]) -> None:
    """Raise Refused when a name stands for several images."""
    for name, roots in ambiguous_names([image.root for image in planned]).items():
        if any(name in root.names for root in roots):
            raise ambiguous(name, roots)


def drop_orphans(
    before: Sequence[PlannedImage], after: Sequence[PlannedImage], observer: Observer
) -> list[PlannedImage]:
    """Drop artifacts whose subject was changed or left behind on the way, and warn of it.

    A signature is not valid for an image that has another digest now.
    """
    lost = _documents(before) - _documents(after)
    subjects = {str(a.root.descriptor.digest): s for a in after if (s := subject_of(a)) is not None}
    # An artifact may be attached to another artifact, and is then dropped with it.
    orphans: set[str] = set()
    while lost := {d for d, s in subjects.items() if d not in orphans and is_in(s, lost)}:
        orphans |= lost
    kept = [image for image in after if str(image.root.descriptor.digest) not in orphans]
    dropped = len(after) - len(kept)
    if dropped:
        observer.warn(
            f"left out {counted(dropped, 'attached artifact')}, such as "
            "signatures: their image has another digest now, or is not copied"
        )
    return kept


def _documents(planned: Sequence[PlannedImage]) -> set[str]:
    return {str(d.digest) for image in planned for d, _ in image.closure.documents}


def _merge_names(roots: Sequence[Root]) -> list[Root]:
    """Return the roots, each digest once with all its names, in their order."""
    merged: dict[Digest, Root] = {}
    for root in roots:
        known = merged.setdefault(root.descriptor.digest, root)
        if known is not root:
            names = tuple(dict.fromkeys((*known.names, *root.names)))
            merged[root.descriptor.digest] = replace(known, names=names)
    return list(merged.values())


def _attached_to(
    source: LayeredSource, catalog: Catalog, planned: Sequence[PlannedImage]
) -> list[PlannedImage]:
    """Return the roots of the catalog that are attached to one of the images."""
    held = _documents(planned)
    roots = catalog.roots()
    waiting = {
        position: subject
        for position, root in enumerate(roots)
        if str(root.descriptor.digest) not in held
        and (subject := _read_subject(source, root)) is not None
    }
    found: list[PlannedImage] = []
    # An artifact may be attached to another artifact, and is then added with it.
    while fresh := [position for position, subject in waiting.items() if is_in(subject, held)]:
        added = _plan(source, [roots[position] for position in fresh])
        for position in fresh:
            del waiting[position]
        held = _documents(added)
        found += added
    return found


def _read_subject(source: LayeredSource, root: Root) -> str | None:
    """Return what a root is attached to; if its manifest had to be read and says so, keep that."""

    def read() -> Content | None:
        try:
            document = read_document(source, root.descriptor)
        except OcitoolError:
            return None
        content = content_of(document)
        if content.subject is not None:
            source.keep(root.descriptor.digest, document.raw)
        return content

    return subject_of_entry(root.descriptor.annotations, names_of(root), read)


def subject_of(image: PlannedImage) -> str | None:
    """Return the digest, as text, of what an image is attached to, or None."""
    return subject_of_root(image.root, image.closure.document(image.root.descriptor.digest))


def is_attached(image: PlannedImage) -> bool:
    """Tell whether a root is an artifact that is attached to another."""
    return subject_of(image) is not None


def independent(planned: Sequence[PlannedImage]) -> list[PlannedImage]:
    """Return the images that are not attached to another.

    If there are none, return the attached artifacts that have a name: the user asked for them.
    """
    images = [image for image in planned if not is_attached(image)]
    return images or [image for image in planned if image.root.names]


class Attachments:
    """Attached artifacts, found by the image that they belong to without looking at all of them."""

    def __init__(self, attached: Iterable[PlannedImage]) -> None:
        self._by_subject: dict[str, list[tuple[int, PlannedImage]]] = {}
        for position, artifact in enumerate(attached):
            subject = subject_of(artifact)
            if subject is not None:
                self._by_subject.setdefault(subject, []).append((position, artifact))

    def of(self, image: PlannedImage) -> list[PlannedImage]:
        """Return the artifacts that belong to an image, to any depth, without the image itself."""
        seen = {image.root.descriptor.digest}
        found: list[PlannedImage] = []
        held = [image]
        while fresh := self._directly(held, seen):
            seen |= {artifact.root.descriptor.digest for artifact in fresh}
            found += fresh
            held = fresh
        return found

    def _directly(
        self, held: Sequence[PlannedImage], seen: AbstractSet[Digest]
    ) -> list[PlannedImage]:
        fresh: dict[int, PlannedImage] = {}
        for digest in _documents(held):
            for subject in subject_texts(digest):
                fresh.update(self._by_subject.get(subject, ()))
        return [one for _, one in sorted(fresh.items()) if one.root.descriptor.digest not in seen]
