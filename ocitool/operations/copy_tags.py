"""copy of several tags: from one repository of a registry into another.

Both ends are asked first what each tag names; then only the tags that differ are copied. A run that
is repeated costs two small requests a tag.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.concurrency import Stop, run_all
from ocitool.errors import NotFound, OcitoolError
from ocitool.events import Observer
from ocitool.image.attached import is_referrers_tag
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.push import OnFailure, push
from ocitool.operations.push_report import Ending, OnExisting, RefusedArtifact
from ocitool.operations.push_target import ending_of
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.remote import RemoteImages

TagPair = tuple[Reference, Reference]


class TagCopy(Struct, frozen=True, kw_only=True):
    """One tag to copy: what it names, where it goes, and how that ends, or would end.

    `existing` is what the destination named before.
    """

    source: Reference
    destination: Reference
    image: Descriptor
    existing: Digest | None
    ending: Ending
    attached: int = 0
    refused: tuple[RefusedArtifact, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def digest(self) -> Digest:
        """What the destination names afterwards."""
        if self.ending is Ending.SKIPPED and self.existing is not None:
            return self.existing
        return self.image.digest

    @property
    def moved_from(self) -> Digest | None:
        """What the tag of the destination named before, if it moves."""
        return self.existing if self.ending is Ending.PUSHED else None

    @property
    def pinned(self) -> str:
        """The image at its destination by its digest."""
        return f"{self.destination.repository}@{self.digest}"


def plan_tags(
    pairs: Sequence[TagPair],
    registries: Registries,
    options: TransferOptions,
    *,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    on_failure: OnFailure | None = None,
) -> list[TagCopy]:
    """Ask both ends what each tag names, and return what is to be done, in the order of `pairs`.

    The first tag that fails ends everything, unless `on_failure` is there to hear of it.
    """
    found: dict[int, TagCopy | OcitoolError] = {}

    def task(number: int, pair: TagPair) -> Callable[[Stop], None]:
        def look(stop: Stop) -> None:
            stop.check()
            try:
                found[number] = _look(pair, registries, on_existing)
            except OcitoolError as error:
                if on_failure is None or registries.stopped:
                    raise
                found[number] = error

        return look

    tasks = [task(number, pair) for number, pair in enumerate(pairs)]
    run_all(tasks, options.jobs, abort=registries.abort)
    planned = []
    for number, (_, destination) in enumerate(pairs):
        one = found[number]
        if isinstance(one, TagCopy):
            planned.append(one)
        elif on_failure is not None:
            on_failure(destination, one)
    return planned


def copy_tags(
    planned: Sequence[TagCopy],
    registries: Registries,
    options: TransferOptions,
    *,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    observer: Observer | None = None,
    on_failure: OnFailure | None = None,
    known: KnownBlobs | None = None,
) -> list[TagCopy]:
    """Copy what `plan_tags` returned, one tag after the other; return what became of each."""
    done = []
    for one in planned:
        try:
            done.append(_copy(one, registries, options, on_existing, observer, known))
        except OcitoolError as error:
            if on_failure is None or registries.stopped:
                raise
            on_failure(one.destination, error)
    return done


def _look(pair: TagPair, registries: Registries, on_existing: OnExisting) -> TagCopy:
    source, destination = pair
    image = Repository.of(registries, source).head(source)
    if image is None:
        raise NotFound(f"{source.familiar} does not exist")
    target = Repository.of(registries, destination, writing=True)
    existing = target.head(destination, forbidden_is_absent=True)
    policy = _policy(destination, on_existing)
    return TagCopy(
        source=source,
        destination=destination,
        image=image,
        existing=existing.digest if existing is not None else None,
        ending=ending_of(destination, existing, image.digest, policy),
    )


def _policy(destination: Reference, on_existing: OnExisting) -> OnExisting:
    """Return the policy for one tag.

    A tag that lists what is attached to an image may list more at the destination: it stays, and
    `push` adds to it what goes along.
    """
    is_list = is_referrers_tag(destination.tag or "")
    return OnExisting.SKIP if is_list and on_existing is OnExisting.OVERWRITE else on_existing


def _copy(
    one: TagCopy,
    registries: Registries,
    options: TransferOptions,
    on_existing: OnExisting,
    observer: Observer | None,
    known: KnownBlobs | None,
) -> TagCopy:
    changes = options.changes_compression or bool(options.platforms)
    if one.ending is Ending.SKIPPED:
        return one
    if one.ending is Ending.PRESENT and not (changes or options.attached):
        return one
    repository = Repository.of(registries, one.source)
    named = one.source.with_digest(one.image.digest)
    root = Root(descriptor=repository.fetch(named), names=(one.source.name,))
    source = RemoteImages(repository.with_roots([root]))
    roots = [root, *(source.add_attached([root]) if options.attached else ())]
    (report,) = push(
        source,
        roots,
        [one.destination],
        registries,
        options,
        on_existing=_policy(one.destination, on_existing),
        observer=observer,
        known=known,
    )
    return replace(
        one,
        image=replace(one.image, digest=report.image.digest, media_type=report.image.media_type),
        ending=report.ending,
        attached=report.attached,
        refused=report.refused,
        transfer=report.transfer,
    )
