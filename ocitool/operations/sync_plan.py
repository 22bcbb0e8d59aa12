"""sync, first half: what the rules of a sync file take, frozen to digests.

The lists of tags are read first, then each image that a rule takes is looked up once. What a rule
does not take is not looked at. Nothing is written anywhere.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ocitool.bundles.sync.config import SyncEntry, SyncFile
from ocitool.bundles.sync.plan import PlanLine, PlannedArtifact, Shard, refuse_clashes
from ocitool.bundles.sync.rules import Chooser, Taken
from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Platform, Reference
from ocitool.oci.quoting import quoted
from ocitool.places.registry import Registries, Repository, Session
from ocitool.places.registry.listing import catalog, tags
from ocitool.places.registry.paging import IncompleteList
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.plan import Attachments, independent
from ocitool.transfer.remote import RemoteImages

OnFailure = Callable[[str, OcitoolError], None]
"""Called with what failed, such as a name or a place in the file, and why. Thread-safe."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Sessions:
    """The sessions of a run, one for each repository: what it learned to log in is kept."""

    def __init__(self, registries: Registries, *, writing: bool = False) -> None:
        self.registries = registries
        self._writing = writing
        self._known: dict[str, Session] = {}

    def repository(self, reference: Reference) -> Repository:
        """Return the repository of a reference; it shares nothing but its session."""
        session = self._known.get(reference.repository)
        if session is None:
            session = Session(
                self.registries, reference.domain, reference.path, writing=self._writing
            )
            session = self._known.setdefault(reference.repository, session)
        return Repository(session)


def each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    registries: Registries,
    *,
    called: Callable[[Item], str],
    jobs: int,
    on_failure: OnFailure,
) -> list[Result]:
    """Do work on all items, several at a time; return the results of those that did not fail."""
    found: dict[int, Result] = {}

    def task(number: int, item: Item) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            stop.check()
            try:
                found[number] = work(item)
            except OcitoolError as error:
                if registries.stopped:
                    raise
                on_failure(called(item), error)

        return run

    tasks = [task(number, item) for number, item in enumerate(items)]
    if tasks:
        run_all(tasks, jobs, abort=registries.abort)
    return [found[number] for number in sorted(found)]


def plan_sync(
    file: SyncFile,
    registries: Registries,
    *,
    on_failure: OnFailure,
    shard: Shard | None = None,
    jobs: int = DEFAULT_JOBS,
) -> list[PlanLine]:
    """Return what a sync file mirrors, by digests and in its order; of a `shard` only that part.

    What cannot be found out, and a rule that takes nothing, is a failure of its own. UsageError
    where two rules would give one tag to different images.
    """
    planner = _Planner(file, registries, on_failure, jobs)
    wanted = list(planner.images())
    if shard is not None:
        wanted = [one for one in wanted if shard.has(one.target)]
    lines = planner.freeze(wanted)
    refuse_clashes(lines)
    return list({line.destination: line for line in lines}.values())


class _Wanted(Struct, frozen=True):
    """An image that a rule takes. `tags` are those of its repository, if they were listed."""

    source: Reference
    target: Reference
    entry: SyncEntry
    rule: str
    tags: Collection[str] | None = None


class _Listing(Struct, frozen=True):
    """A repository of an entry, its target, and what applies the entry's rules."""

    entry: SyncEntry
    source: Reference
    target: Reference
    chooser: Chooser


class _Planner:
    def __init__(
        self, file: SyncFile, registries: Registries, on_failure: OnFailure, jobs: int
    ) -> None:
        self._file = file
        self._registries = registries
        self._on_failure = on_failure
        self._jobs = jobs
        self._sessions = Sessions(registries)
        # By their identity: several entries may stand on one line.
        self._incomplete: set[int] = set()

    def images(self) -> Iterator[_Wanted]:
        """Yield what the rules take, in the order of the file."""
        listings = self._each(
            self._file.entries, self._listings, lambda entry: self._file.at(entry.line)
        )
        flat = [listing for found in listings for listing in found]
        taken = self._each(flat, self._choose, lambda listing: listing.source.familiar_repository)
        by_entry: dict[int, list[_Wanted]] = {}
        for found in taken:
            for one in found:
                by_entry.setdefault(id(one.entry), []).append(one)
        for entry in self._file.entries:
            if entry.kind == "image":
                yield self._image(entry)
            yield from by_entry.get(id(entry), ())
        self._tell_idle(flat)

    def freeze(self, wanted: Sequence[_Wanted]) -> list[PlanLine]:
        """Look each image up, and return its line."""
        return self._each(wanted, self._freeze, lambda one: one.source.familiar)

    def _each(
        self,
        items: Sequence[Item],
        work: Callable[[Item], Result],
        called: Callable[[Item], str],
    ) -> list[Result]:
        return each(
            items,
            work,
            self._registries,
            called=called,
            jobs=self._jobs,
            on_failure=self._on_failure,
        )

    def _image(self, entry: SyncEntry) -> _Wanted:
        source, target = Reference.parse(entry.source), Reference.parse(entry.target)
        if entry.target == target.repository:
            target = replace(target, tag=source.tag)
        rule = f"{self._file.at(entry.line)} image"
        return _Wanted(source, replace(target, digest=None), entry, rule)

    def _listings(self, entry: SyncEntry) -> list[_Listing]:
        """Return the repositories of an entry."""
        chooser = Chooser(entry.sets)
        if entry.kind == "image":
            return []
        if entry.kind == "repository":
            pair = Reference.parse(entry.source), Reference.parse(entry.target)
            return [_Listing(entry, *pair, chooser)]
        return [
            _Listing(
                entry,
                Reference.parse(f"{entry.source}/{path}"),
                Reference.parse(f"{entry.target}/{path}"),
                chooser,
            )
            for path in self._paths(entry)
        ]

    def _paths(self, entry: SyncEntry) -> list[str]:
        """Return the repositories of a registry that its rules take."""
        found = [
            path
            for path in self._catalog(entry)
            if not entry.repositories or any(one.matches(path) for one in entry.repositories)
        ]
        found = [path for path in found if self._is_name(entry.source, path)]
        for rule in entry.repositories:
            if not any(rule.matches(path) for path in found):
                self._fail(rule.line, f"no repository of {entry.source} is {rule.text}")
        kept = [path for path in found if not any(one.matches(path) for one in entry.left_out)]
        if not kept and not entry.repositories:
            self._fail(entry.line, f"{entry.source} lists no repository to mirror")
        return kept

    def _is_name(self, host: str, path: str) -> bool:
        """Tell whether what a registry lists is a name; warn where it is not."""
        is_name = False
        with contextlib.suppress(UsageError):
            is_name = Reference.parse(f"{host}/{path}").path in (path, f"library/{path}")
        if not is_name:
            shown = quoted(path[:80])
            self._registries.warn(f"{host} lists {shown}, which is not a valid name: left out")
        return is_name

    def _catalog(self, entry: SyncEntry) -> list[str]:
        try:
            return catalog(Session(self._registries, entry.source))
        except IncompleteList as error:
            self._incomplete.add(id(entry))
            self._on_failure(self._file.at(entry.line), error)
            return list(error.found)

    def _choose(self, listing: _Listing) -> list[_Wanted]:
        """Return what the rules take of one repository."""
        names = frozenset(self._tags(listing))
        return [
            self._wanted(listing, taken, names) for taken in listing.chooser.choose(sorted(names))
        ]

    def _tags(self, listing: _Listing) -> list[str]:
        entry = listing.entry
        try:
            return tags(self._sessions.repository(listing.source).session)
        except IncompleteList as error:
            self._incomplete.add(id(entry))
            self._on_failure(listing.source.familiar_repository, error)
            return list(error.found)
        except NotFound:
            if entry.kind == "registry":
                # Registries list repositories of which nothing is left.
                return []
            self._incomplete.add(id(entry))
            raise
        except OcitoolError:
            self._incomplete.add(id(entry))
            raise

    def _wanted(self, listing: _Listing, taken: Taken, tags: Collection[str]) -> _Wanted:
        digest = Digest.parse(taken.digest) if taken.digest is not None else None
        rule = f"{self._file.at(taken.line)} {taken.rule}"
        source = replace(listing.source, tag=taken.tag, digest=digest)
        return _Wanted(source, replace(listing.target, tag=taken.tag), listing.entry, rule, tags)

    def _tell_idle(self, listings: Sequence[_Listing]) -> None:
        """Fail the rules that took nothing, where all lists are complete."""
        first = {id(listing.entry): listing for listing in reversed(listings)}
        for entry, listing in reversed(first.items()):
            if entry in self._incomplete:
                continue
            for line, problem in listing.chooser.idle():
                self._fail(line, f"{problem} in {listing.entry.source}")

    def _fail(self, line: int, message: str) -> None:
        hint = "a tag with a suffix, such as 1.2-alpine, is a prerelease: >=1.2-0 takes it"
        error = NotFound(message, hint=hint if "semverRange" in message else None)
        self._on_failure(self._file.at(line), error)

    def _freeze(self, wanted: _Wanted) -> PlanLine:
        repository = self._sessions.repository(wanted.source)
        found = repository.head(wanted.source)
        if found is None:
            raise NotFound(f"there is no {wanted.source.familiar}")
        line = PlanLine(
            source=wanted.source.with_digest(found.digest),
            target=wanted.target,
            digest=found.digest,
            platforms=wanted.entry.platforms,
            rule=wanted.rule,
        )
        if not (line.platforms or wanted.entry.attached):
            return line
        return _frozen(line, found, repository, wanted)


def _frozen(line: PlanLine, found: Descriptor, repository: Repository, wanted: _Wanted) -> PlanLine:
    """Return a line with the digest of its platforms, and with what is attached to these."""
    root = Root(descriptor=found, names=(wanted.source.name,))
    source = RemoteImages(repository.with_roots([root]))
    roots, left = source.select([root], line.platforms)
    digest, held = roots[0].descriptor.digest, None
    tagged = source.add_attached(roots, wanted.tags) if wanted.entry.attached else []
    if left:
        digest, held = _selected(source, [*roots, *tagged], left)
    return replace(
        line,
        digest=digest,
        referrers=tuple(
            PlannedArtifact(
                descriptor=replace(one.descriptor, annotations={}),
                subject=source.subjects.get(one.descriptor.digest) if not one.names else None,
                tag=one.names[0].rpartition(":")[2] if one.names else None,
            )
            for one in (*source.roots()[1:], *tagged)
            if held is None or one.descriptor.digest in held
        ),
    )


def _selected(
    source: RemoteImages, roots: Sequence[Root], platforms: Sequence[Platform]
) -> tuple[Digest, set[Digest]]:
    """Return the digest of some platforms of the first root, and what is attached to these.

    For an image whose index does not tell its platforms: all of it is read.
    """
    pipeline = Pipeline(source, TransferOptions(platforms=tuple(platforms)))
    pipeline.plan(roots)
    pipeline.drop_orphans()
    (image, *_) = independent(pipeline.images)
    held = Attachments(pipeline.images).of(image)
    return image.root.descriptor.digest, {one.root.descriptor.digest for one in held}
