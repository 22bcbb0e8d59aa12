"""The images of a place as a list, and which of them `--filter` selects."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ocitool.errors import IntegrityError, LimitExceeded, MalformedDocument, NotFound, Refused
from ocitool.events import Observer
from ocitool.image.content import Root, Source
from ocitool.images.filters import ImageFilters, matches_name
from ocitool.images.lookup import full_name
from ocitool.images.summaries import ImageSummary, image_summaries, summarize, unique_sizes
from ocitool.oci import Digest, parse_time
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout
from ocitool.places.layout.pins import Pin
from ocitool.places.layout.reflog import FormerName

if TYPE_CHECKING:
    from ocitool.places.engine import Engine

_YEAR_10000 = 253_402_300_800
_REPEATED = 20_000
"""How many documents may belong to several images: a hostile archive repeats them."""
_NO_NAMES = ("<none>:<none>", "<none>@<none>")


class ListedImage(Struct, frozen=True, kw_only=True):
    """An image in a list. Sizes are bytes as stored, `unique` those that no other image there has.

    `label` is a name that is not a full reference; `other_names` are what other tools called the
    image besides. `kind` is "image", "index" or "artifact".
    `created` is as written. `former` is the name that an image without one had. `unpacked` is
    None where the layers were not measured; `problem` says why an image could not be read. An
    engine may give no `digest`, and gives no `media_type` and no platforms. `is_part` tells of an
    image without a name that it is one platform of an index of the store.
    """

    names: tuple[str, ...]
    label: str | None = None
    other_names: tuple[str, ...] = ()
    digest: Digest | None
    media_type: str | None = None
    kind: str = "image"
    image_ids: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    created: str | None = None
    size: int = 0
    unpacked: int | None = None
    unique: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    artifact_type: str | None = None
    missing: int = 0
    former: FormerName | None = None
    pin: Pin | None = None
    problem: str | None = None
    is_part: bool = False

    @property
    def identifier(self) -> str:
        """The image ID, or the digest of an index, which has no image ID of its own."""
        single = self.kind == "image" and len(self.image_ids) == 1
        return self.image_ids[0] if single or self.digest is None else str(self.digest)

    @property
    def further_names(self) -> tuple[str, ...]:
        """The label and the names of other tools."""
        return (*([self.label] if self.label is not None else ()), *self.other_names)

    def is_called(self, patterns: Iterable[str]) -> bool:
        """Tell whether one of the names fits one of the patterns."""
        return matches_name(self.names, self.further_names, patterns)

    @property
    def is_dangling(self) -> bool:
        """Whether the image has no name of any kind."""
        return not self.names and self.label is None and self.kind != "artifact"


def list_store(layout: Layout, observer: Observer) -> list[ListedImage]:
    """Return the images of a store or layout with what it remembers of them, the newest first.

    Damaged pins are only told: nothing is deleted here.
    """
    roots = layout.roots()
    known = image_summaries(layout, roots)
    unique = unique_sizes(roots, known)
    former = layout.former_names()
    unpacked = _unpacked_sizes(layout)
    pins = _pins(layout, observer)
    # Platforms that a client pushed by their digests, before the index came.
    parts = {part for one in known.values() if one.kind == "index" for part in one.children}
    return _newest_first(
        _listed(
            root,
            known[digest],
            unique=unique[digest],
            unpacked=unpacked(known[digest]),
            former=None if root.names else former.get(str(digest)),
            pin=pins.get(digest),
            parts=parts,
        )
        for root in roots
        for digest in [root.descriptor.digest]
    )


def list_source(source: Source, roots: Sequence[Root]) -> list[ListedImage]:
    """Return images of an archive or a layout, the newest first; no layer is read."""
    known: dict[Digest, ImageSummary] = {}
    seen: set[str] = set()
    repeated = 0
    for root in roots:
        summary = known[root.descriptor.digest] = summarize(source, root)
        repeated += len(seen & summary.parts.keys())
        if repeated > _REPEATED:
            raise LimitExceeded("the images list each other's manifests too often to be listed")
        seen |= summary.parts.keys()
    unique = unique_sizes(roots, known)
    return _newest_first(
        _listed(root, known[root.descriptor.digest], unique=unique[root.descriptor.digest])
        for root in roots
    )


def list_engine(engine: "Engine") -> list[ListedImage]:
    """Return the images of an engine as it describes them, the newest first.

    Refused when it does not answer with a list.
    """
    found: dict[str, dict[str, object]] = {}
    for dangling in (False, True):
        answer = engine.images(dangling=dangling)
        if not isinstance(answer, list):
            raise Refused(f"{engine.what} did not list its images")
        found |= {str(value.get("Id")): value for value in answer if isinstance(value, dict)}
    return _newest_first(_of_engine(identity, value) for identity, value in found.items())


def select(
    images: Iterable[ListedImage],
    filters: ImageFilters,
    created: Callable[[str], str | None],
) -> list[ListedImage]:
    """Return the images that pass the filters; `created` returns when a named image was made."""
    limits = [(moment(created(name)), -1) for name in filters.before]
    limits += [(moment(created(name)), 1) for name in filters.since]
    return [image for image in images if _passes(image, filters, limits)]


def created_in(images: Sequence[ListedImage], name: str) -> str | None:
    """Return when an image of the list was made; NotFound when none has the name."""
    full = full_name(name)
    for image in images:
        others = (*image.further_names, str(image.digest), *image.image_ids)
        if full in (*image.names, *image.other_names) or name in others:
            return image.created
    raise NotFound(f"there is no image {quoted(name)}")


def moment(created: str | None) -> float:
    """Return a time as seconds since the epoch; an unknown one is before all others."""
    found = parse_time(created) if created else None
    return found.timestamp() if found is not None else float("-inf")


def _passes(image: ListedImage, filters: ImageFilters, limits: Iterable[tuple[float, int]]) -> bool:
    made = moment(image.created)
    return (
        filters.dangling in (None, image.is_dangling)
        and all(test.matches(image.labels) for test in filters.labels)
        and (not filters.references or image.is_called(filters.references))
        and all(made > limit if sign > 0 else made < limit for limit, sign in limits)
    )


def _newest_first(images: Iterable[ListedImage]) -> list[ListedImage]:
    return sorted(images, key=lambda image: moment(image.created), reverse=True)


def _listed(
    root: Root,
    summary: ImageSummary,
    *,
    unique: int,
    unpacked: int | None = None,
    former: FormerName | None = None,
    pin: Pin | None = None,
    parts: AbstractSet[str] = frozenset(),
) -> ListedImage:
    is_bare = not root.names and root.label is None and former is None and pin is None
    return ListedImage(
        names=root.names,
        label=root.label,
        other_names=root.other_names,
        digest=root.descriptor.digest,
        media_type=root.descriptor.media_type,
        kind=summary.kind,
        image_ids=summary.image_ids,
        platforms=summary.platforms,
        created=summary.created,
        size=summary.size,
        unpacked=unpacked,
        unique=unique,
        labels=summary.labels,
        subject=summary.subject,
        artifact_type=summary.artifact_type,
        missing=summary.missing,
        former=former,
        pin=pin,
        problem=summary.problem,
        is_part=is_bare and str(root.descriptor.digest) in parts,
    )


def _unpacked_sizes(layout: Layout) -> Callable[[ImageSummary], int | None]:
    """Return a function that sums what is remembered of an image's layers."""
    cache = layout.cache("layers")

    def unpacked(summary: ImageSummary) -> int | None:
        total = 0
        for digest in summary.layers:
            fact = cache.get(digest)
            tar_size = fact.get("tar_size") if isinstance(fact, dict) else None
            if not isinstance(tar_size, int):
                return None
            total += tar_size
        return total

    return unpacked


def _pins(layout: Layout, observer: Observer) -> Mapping[Digest, Pin]:
    now = dt.datetime.now(dt.UTC)
    try:
        return {pin.digest: pin for pin in layout.pins() if pin.holds(now)}
    except IntegrityError as error:
        observer.remark(error.message)
        return {}


def _of_engine(identity: str, value: Mapping[str, object]) -> ListedImage:
    size, labels = value.get("Size"), value.get("Labels")
    digests = [text.rpartition("@")[2] for text in _texts(value.get("RepoDigests"))]
    return ListedImage(
        names=tuple(full_name(name) or name for name in _texts(value.get("RepoTags"))),
        digest=_digest(digests[0]) if digests else None,
        image_ids=(identity,),
        created=engine_time(value.get("Created")),
        size=size if type(size) is int else 0,
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
    )


def _texts(value: object) -> list[str]:
    found = value if isinstance(value, list) else []
    return [str(text) for text in found if text not in _NO_NAMES]


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except MalformedDocument:
        return None


def engine_time(seconds: object) -> str | None:
    """Return seconds since the epoch, as engines tell times, as RFC 3339; None for no time."""
    if type(seconds) is not int or not 0 < seconds < _YEAR_10000:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
