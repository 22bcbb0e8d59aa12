"""Disk usage of a store: the bytes that images share, those of one image only, and its users."""

import datetime as dt
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from ocitool.containers.records import read_records
from ocitool.containers.staging import leftovers_of_containers
from ocitool.containers.usage import tree_bytes, written_bytes
from ocitool.containers.uses import ContainerUse, containers_by_image
from ocitool.errors import IntegrityError, Refused
from ocitool.garbage import Choice, plan
from ocitool.image.attached import is_in
from ocitool.image.content import Root
from ocitool.image.graph import root_subject
from ocitool.images.summaries import ImageSummary, blob_sizes, image_summaries, unique_sizes
from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.layout.leftovers import Leftover, leftovers
from ocitool.places.layout.pins import Pin
from ocitool.places.layout.reflog import FormerName
from ocitool.places.layout.trash import trash_contents


class ImageUsage(Struct, frozen=True, kw_only=True):
    """The bytes of one image: `size` is `unique` (in no other image) plus `shared`.

    `former` is the last name of an image that has no name now. `subject` is the digest of the image
    that keeps it, when it is attached to one here.
    """

    root: Root
    size: int
    unique: int
    holders: tuple[ContainerUse, ...] = ()
    pin: Pin | None = None
    former: str | None = None
    subject: str | None = None

    @property
    def shared(self) -> int:
        """The bytes that other images have too."""
        return self.size - self.unique


class Usage(Struct, frozen=True, kw_only=True):
    """The bytes of a store: `stored` in blobs, `shared` by images, and what can be removed.

    `garbage` is what `gc` would remove now, `unheld` what `gc -a` would remove; both are None if
    `gc` would stop because of `problem`. `waiting` is in the trash, `leftovers` is what killed
    processes left. `written` is in the writable layers of containers, `trees` in the unpacked
    images that they share. Images are sorted by `unique`, the largest first.
    """

    images: tuple[ImageUsage, ...]
    stored: int
    shared: int
    garbage: int | None
    unheld: int | None
    waiting: int
    leftovers: int
    problem: str | None = None
    written: int = 0
    trees: int = 0


def _name_of(former: Mapping[str, FormerName], root: Root) -> str | None:
    found = former.get(str(root.descriptor.digest))
    return found.name if found is not None else None


def _subject_in(here: AbstractSet[str], layout: Layout, root: Root) -> str | None:
    subject = root_subject(layout, root)
    return subject if subject is not None and is_in(subject, here) else None


def usage(
    layout: Layout, uses: Sequence[ContainerUse], now: float, *, problem: str | None = None
) -> Usage:
    """Return the disk usage of a store; `now` is in seconds since the epoch.

    `problem` says why the containers `uses` are not all: then nothing can be removed.
    """
    # First, so that its memory is free again for all the rest.
    garbage, unheld, problem = _what_can_go(layout, uses, now, problem)
    roots = layout.roots()
    known = image_summaries(layout, roots)
    unique = unique_sizes(roots, known)
    holders = containers_by_image(layout, uses)
    pins = _pins_at(layout, now)
    former = layout.former_names()
    here = _digests_of(roots, known)
    images = [
        ImageUsage(
            root=root,
            size=sum(blob_sizes(root, known).values()),
            unique=unique[root.descriptor.digest],
            holders=holders.get(root.descriptor.digest, ()),
            pin=pins.get(root.descriptor.digest),
            former=None if root.names else _name_of(former, root),
            subject=_subject_in(here, layout, root),
        )
        for root in roots
    ]
    return Usage(
        images=tuple(sorted(images, key=lambda image: -image.unique)),
        stored=sum(layout.blob_size(digest) or 0 for digest in layout.blob_digests()),
        shared=_stored_once(roots, known) - sum(unique.values()),
        garbage=garbage,
        unheld=unheld,
        waiting=trash_contents(layout.control).size,
        leftovers=sum(one.size for one in _left_behind(layout, now)),
        problem=problem,
        written=sum(written_bytes(one) or 0 for one in read_records(layout).containers),
        trees=tree_bytes(layout),
    )


def _left_behind(layout: Layout, now: float) -> list[Leftover]:
    return [*leftovers(layout, layout.listing().odd, now), *leftovers_of_containers(layout)]


def _stored_once(roots: Sequence[Root], known: Mapping[Digest, ImageSummary]) -> int:
    """Return the bytes of all blobs of the roots, each counted once."""
    return sum({text: n for r in roots for text, n in blob_sizes(r, known).items()}.values())


def _digests_of(roots: Sequence[Root], known: Mapping[Digest, ImageSummary]) -> set[str]:
    """Return the digests of roots, and of the manifests and configs under them."""
    found = {str(root.descriptor.digest) for root in roots}
    found.update(child for summary in known.values() for child in summary.children)
    return found


def _pins_at(layout: Layout, now: float) -> dict[Digest, Pin]:
    """Return the pins that hold at a time in seconds since the epoch."""
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    try:
        return {pin.digest: pin for pin in layout.pins() if pin.holds(moment)}
    except IntegrityError:
        # The plan for `garbage` fails on a damaged list of pins, and reports it as the problem.
        return {}


def _what_can_go(
    layout: Layout, uses: Sequence[ContainerUse], now: float, problem: str | None
) -> tuple[int | None, int | None, str | None]:
    """Return the bytes that `gc` and `gc -a` would remove, or None for both and the reason.

    With a `problem` that is known before, that is the reason.
    """
    if problem is not None:
        return None, None, problem
    try:
        garbage = plan(layout, Choice(), uses=uses, now=now).size
        unheld = plan(layout, Choice(everything=True), uses=uses, now=now).size
    except (IntegrityError, Refused) as error:
        return None, None, error.message
    return garbage, unheld, None
