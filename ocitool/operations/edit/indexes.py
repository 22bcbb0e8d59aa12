"""index create, add, remove: several images as one, in any place."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.editing.indexes import (
    Children,
    changed_index,
    matching,
    merge_children,
    new_index,
)
from ocitool.errors import NameMoved, NotFound, Refused, Unavailable, Unmet, UsageError
from ocitool.image.attached import is_attestation
from ocitool.image.content import Root
from ocitool.image.graph import read_document
from ocitool.image.wholeness import described
from ocitool.images.locations import Place, PlaceKind, parse_place
from ocitool.images.opening import Opened
from ocitool.oci import Descriptor, Index, Manifest, Platform, Reference
from ocitool.operations.edit.delivery import targets_of
from ocitool.operations.edit.images import Read
from ocitool.operations.edit.places import beside
from ocitool.operations.edit.report import (
    Edit,
    EditedImage,
    EditOptions,
    EditReport,
    PlaceAccess,
)
from ocitool.operations.edit.running import Editing, editing_at, finish_edit, reached, run_edit
from ocitool.transfer.derived import DerivedImages

_ATTEMPTS = 5
_PAUSE = 1.0
"""Seconds between two looks at an image that is not there yet."""


class Listing(Struct, frozen=True, kw_only=True):
    """How an index is put together.

    An image that a registry does not have yet is waited for, so many seconds (`wait`): some show
    late what was pushed by digest. `platform` is that of the only image, instead of what it says
    itself. With `replacing` a later image for the same platform is taken. `expected` are the
    platforms that there have to be, no others; `as_given` keeps the order of the sources.
    `annotations` are those of the index.
    """

    wait: float = 0.0
    platform: Platform | None = None
    replacing: bool = False
    as_given: bool = False
    expected: tuple[Platform, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def create_index(
    destination: str,
    sources: Sequence[str],
    listing: Listing,
    options: EditOptions,
    access: PlaceAccess | None = None,
) -> EditReport:
    """Make an index of images, which may be anywhere, at a destination.

    A source that is a digest alone is an image beside the destination. One that is an index gives
    its images with their attestations. The same images give the same index in whatever order they
    are named, unless `as_given`. Refused for two images for one platform, Unmet where the platforms
    are not those that are expected; then nothing is written.
    """
    place, options = parse_place(destination), replace(options, targets=(destination,))
    if not sources:
        raise UsageError("no source is given", hint="ocitool index create DST SRC…")
    access = access or PlaceAccess()
    targets = targets_of(place, options, access.store)
    places = [beside(text, place) for text in sources]
    with editing_at(options, access, place, *places) as editing:
        opened = [_open(editing, one, listing.wait) for one in places]
        derived = DerivedImages([one.source for one in opened], editing.scratch)
        reads = [Read.of(derived, one.source, one.root) for one in opened]
        children = _merged(reads, listing)
        _check_expected(children, listing.expected)
        ordered = children if listing.as_given else children.by_platform()
        root = Root(descriptor=derived.add(*new_index(ordered, listing.annotations)))
        edit = Edit(
            source=derived,
            root=root,
            old=None,
            images=_reported(derived, ordered),
            remarks=tuple(_absent(reads)),
        )
        return finish_edit(edit, derived, place, targets, options, editing.access)


def add_to_index(
    index: str,
    sources: Sequence[str],
    listing: Listing,
    options: EditOptions,
    access: PlaceAccess | None = None,
) -> EditReport:
    """Add images to an index: in place, or with the result somewhere else.

    In place in a registry it is read again after it was written. Where another client has written
    it meanwhile, it is extended anew, a few times; Refused when others keep changing it.
    """
    place = parse_place(index)

    def change(read: Read, editing: Editing) -> Children:
        opened = [_open(editing, beside(text, place), listing.wait) for text in sources]
        for one in opened:
            read.source.add_place(one.source)
        reads = [Read.of(read.source, one.source, one.root) for one in opened]
        added = _merged(reads, listing)
        before = Children.of(_index_of(read))
        merged = merge_children([before, added], replacing=listing.replacing)
        _check_expected(merged, listing.expected)
        return merged

    return _change_index(place, change, options, access or PlaceAccess())


def remove_from_index(
    index: str,
    wanted: Sequence[Platform | str],
    options: EditOptions,
    access: PlaceAccess | None = None,
) -> EditReport:
    """Remove images, by platform or digest, from an index, with their attestations.

    NotFound for one that is not listed, Refused for all of them. See `add_to_index`.
    """
    place = parse_place(index)

    def change(read: Read, _: Editing) -> Children:
        before = Children.of(_index_of(read))
        left = before.without(matching(before, wanted, read.root.called))
        if not left.images:
            raise Refused(
                f"{read.root.called} would be an index without an image",
                hint="`ocitool rm` and `ocitool registry rm` remove an image as a whole",
            )
        return left

    return _change_index(place, change, options, access or PlaceAccess())


def _change_index(
    place: Place,
    change: Callable[[Read, Editing], Children],
    options: EditOptions,
    access: PlaceAccess,
) -> EditReport:
    def work(read: Read, editing: Editing) -> Edit:
        children = change(read, editing)
        raw, media_type = changed_index(_index_of(read), children)
        new = read.source.add(raw, media_type)
        descriptor = replace(new, annotations=read.root.descriptor.annotations)
        root = replace(read.root, descriptor=descriptor)
        old = read.root.descriptor.digest
        return Edit(
            source=read.source,
            root=root,
            old=old,
            images=_reported(read.source, children),
            renamed={old: descriptor},
        )

    with reached(access, place) as connected_access:
        for number in range(_ATTEMPTS):
            try:
                report = run_edit(place, options, connected_access, work)
            except NameMoved:
                if number + 1 == _ATTEMPTS:
                    raise
                continue
            if not report.delivered or not options.in_place:
                return report
            if _stays(place, report, connected_access):
                return report
    raise Refused(
        f"{place.text} is changed by other clients all the time",
        hint="let each runner push by digest, and one of them make the index: "
        "`ocitool index create DST --digests DIR`",
    )


def _stays(place: Place, report: EditReport, access: PlaceAccess) -> bool:
    """Tell whether the tag still names what was written, after others had time to overwrite it."""
    if place.kind is not PlaceKind.REGISTRY or access.registries is None:
        return True
    from ocitool.places.registry import Repository

    reference = Reference.parse(str(place.name))
    repository = Repository.of(access.registries, reference)
    # Longer than another client needs between reading and writing, and not all the same time.
    access.registries.sleep(random.uniform(0.1, 0.3))  # noqa: S311
    found = repository.head(reference)
    return found is not None and found.digest == report.new


def _open(editing: Editing, place: Place, seconds: float) -> Opened:
    """Open a source; one that is not in its registry is waited for."""
    registries = editing.access.registries
    deadline = time.monotonic() + seconds
    while True:
        try:
            return editing.open(place)
        except NotFound:
            late = time.monotonic() >= deadline
            if late or registries is None or place.kind is not PlaceKind.REGISTRY:
                raise
        if registries.sleep(_PAUSE):
            raise Unavailable("the work was stopped")


def _absent(reads: Iterable[Read]) -> Iterator[str]:
    """Yield what indexes list and their places do not have: it is not in the new index."""
    for read in reads:
        for child in read.closure.missing:
            yield f"{read.root.called} lacks {described(child)}, so the new index does too"


def _merged(reads: Sequence[Read], listing: Listing) -> Children:
    parts = [*map(_children, reads)]
    if listing.platform is not None:
        images = [image for part in parts for image in part.images]
        if len(images) != 1:
            raise UsageError(f"--platform is for one image, and there are {len(images)}")
        parts = [replace(parts[0], images=(replace(images[0], platform=listing.platform),))]
    return merge_children(parts, replacing=listing.replacing)


def _children(read: Read) -> Children:
    """Return the images of what was read, also those of nested indexes, and their attestations."""
    found = []
    for image in read.images():
        # What names a root, its annotations and its platform, is not what an index says of it.
        is_root = image.descriptor.digest == read.root.descriptor.digest
        listed = None if is_root else image.descriptor.platform
        platform = listed or image.read_config(read.source).platform
        annotations = {} if is_root else image.descriptor.annotations
        found.append(
            replace(image.descriptor, platform=replace(platform, extra={}), annotations=annotations)
        )
    others = {
        child.digest: child
        for _, document in read.closure.documents
        if isinstance(document, Index)
        for child in document.manifests
        if is_attestation(child)
    }
    return Children(images=tuple(found), others=tuple(others.values()))


def _index_of(read: Read) -> Index:
    document = read.closure.document(read.root.descriptor.digest)
    if not isinstance(document, Index):
        raise UsageError(
            f"{read.root.called} is one image, not an index",
            hint="`ocitool index create DST SRC…` makes an index of images",
        )
    return document


def _check_expected(children: Children, expected: Iterable[Platform]) -> None:
    wanted = {str(one.normalized()) for one in expected}
    if not wanted:
        return
    there = {str(one.platform.normalized()) for one in children.images if one.platform}
    problems = [f"{one} is missing" for one in sorted(wanted - there)]
    problems += [f"{one} is not expected" for one in sorted(there - wanted)]
    if problems:
        raise Unmet(f"the index would not be for the platforms expected: {', '.join(problems)}")


def _reported(source: DerivedImages, children: Children) -> tuple[EditedImage, ...]:
    return tuple(_one(source, child) for child in children.images)


def _one(source: DerivedImages, child: Descriptor) -> EditedImage:
    document = read_document(source, child)
    config = document.config.digest if isinstance(document, Manifest) else child.digest
    platform = child.platform or Platform(os="", architecture="")
    return EditedImage(platform=platform, old=child.digest, new=child.digest, image_id=config)
