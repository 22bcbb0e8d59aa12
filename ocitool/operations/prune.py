"""prune: plan what may go from repositories, archive it, delete it, and prove the rest.

Nothing is deleted before everything was read, and before the archive is on the disk and verified.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.containers.providers import file_providers
from ocitool.containers.uses import ContainerUse, as_reference
from ocitool.errors import IntegrityError, OcitoolError, Refused
from ocitool.events import SILENT, Observer
from ocitool.image.attached import is_referrers_tag
from ocitool.image.content import Blob, Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.save import OCI, save_file
from ocitool.operations.verify import verify
from ocitool.places.archive import open_archive
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.vendors.choosing import service_for
from ocitool.pruning.applying import LOOK_SECONDS, Applier
from ocitool.pruning.decision import Decision
from ocitool.pruning.freshness import check_fresh
from ocitool.pruning.graph import Edges, Graph
from ocitool.pruning.outcome import PruneOutcome
from ocitool.pruning.plan import PrunePlan
from ocitool.pruning.planning import Uses, make_plan
from ocitool.pruning.reading import Reader
from ocitool.pruning.rules import PruneRules

_SHORTEST_ID: Final = 12


class PlannedPrune(Struct, frozen=True, kw_only=True):
    """A plan, with the repository as it was read for it. `decision` is None for one from a file."""

    plan: PrunePlan
    graph: Graph
    reader: Reader
    decision: Decision | None = None


def plan_prune(
    registries: Registries,
    repositories: Sequence[Reference],
    rules: PruneRules,
    *,
    api: str = "auto",
    containers: Sequence[str] = (),
    ignored: Iterable[Digest] = (),
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> list[PlannedPrune]:
    """Return a plan for each repository. Reads only.

    `containers` are lists such as `kube:FILE`, whose images stay. UsageError where no rule says
    anything; NotRead or Unavailable where not all of a repository can be read.
    """
    rules.check()
    uses = [use for one in file_providers(containers, observer=observer) for use in one.uses()]
    ignored = frozenset(ignored)
    found = []
    for reference in dict.fromkeys(repositories):
        reader = _reader(registries, reference, api, ignored, jobs)
        if rules.by_pull and not reader.service.tells_pulls:
            raise Refused(
                f"{reference.domain} does not tell when an image was pulled",
                hint="--older-than without pulled: counts from when it was pushed",
            )
        plan, decision = make_plan(reader, rules, uses_of(reference, uses))
        found.append(
            PlannedPrune(plan=plan, graph=decision.graph, reader=reader, decision=decision)
        )
    return found


def recheck_prune_plans(
    registries: Registries,
    plans: Sequence[PrunePlan],
    *,
    allow_new: bool = False,
    ignored: Iterable[Digest] = (),
    jobs: int = DEFAULT_JOBS,
) -> list[PlannedPrune]:
    """Read the repositories of plans anew; Refused where one is not as its plan has it."""
    found = []
    for plan in plans:
        reference = Reference.parse(plan.name)
        reader = _reader(registries, reference, plan.api, frozenset(ignored), jobs)
        # A run that was interrupted may have left what no tag leads to any more.
        graph = reader.include(reader.read(), plan.digests)
        graph = reader.attach(graph, plan.digests)
        check_fresh(plan, graph, allow_new=allow_new)
        found.append(PlannedPrune(plan=plan, graph=graph, reader=reader))
    return found


def prune(
    planned: Sequence[PlannedPrune],
    *,
    archive: str | None = None,
    observer: Observer = SILENT,
    look_seconds: float = LOOK_SECONDS,
    on_failure: Callable[[PlannedPrune, OcitoolError], None] | None = None,
) -> list[PruneOutcome]:
    """Delete what the plans list, and return what became of each; see `PruneOutcome.problem`.

    Refused, before anything is deleted, where a plan takes more than its rules allow. Everything
    that goes is written to `archive` first. The first failure ends the work; with `on_failure`,
    that is called instead, and the other repositories are still done.
    """
    for one in planned:
        if one.plan.brake is not None:
            raise one.plan.brake
    if archive is not None:
        keep_in_archive(planned, archive, observer)
    outcomes = []
    for one in planned:
        applier = Applier(one.reader, one.plan, one.graph, look_seconds=look_seconds)
        applier.outcome.archive = archive
        try:
            applier.run()
        except OcitoolError as error:
            if on_failure is None:
                raise
            on_failure(one, error)
        outcomes.append(applier.outcome)
    return outcomes


def uses_of(repository: Reference, uses: Iterable[ContainerUse]) -> Uses:
    """Return what containers use of a repository: tags of it, and digests of any."""
    tags: dict[str, str] = {}
    digests: dict[str, str] = {}
    for use in uses:
        who = f"container {use.name} ({use.provider}) uses it"
        for name in use.names:
            found = as_reference(name)
            if found is None:
                continue
            if found.digest is not None:
                digests.setdefault(str(found.digest), who)
            elif found.repository == repository.repository and found.tag is not None:
                tags.setdefault(found.tag, who)
        for digest in use.digests:
            if len(digest.rpartition(":")[2]) >= _SHORTEST_ID:
                digests.setdefault(digest, who)
    return Uses(tags=tags, digests=digests)


def _reader(
    registries: Registries, reference: Reference, api: str, ignored: frozenset[Digest], jobs: int
) -> Reader:
    repository = Repository.of(registries, reference, writing=False)
    deleting = Repository.of(registries, reference, writing=True).session
    return Reader(repository, service_for(deleting, api), ignored=ignored, jobs=jobs)


# The archive.


def keep_in_archive(planned: Sequence[PlannedPrune], path: str, observer: Observer) -> None:
    """Write all that goes, with its blobs, to an OCI archive, and verify it there."""
    going = _Going(planned)
    roots = going.roots()
    if not roots:
        return
    save_file(going, roots, path, form=OCI, observer=observer)
    with open_archive(path) as archive:
        report = verify(archive)
    proved = {root.descriptor.digest for root in report.proved}
    lost = [root for root in roots if root.descriptor.digest not in proved]
    if not report.sound or lost:
        raise IntegrityError(
            f"the archive {path} is not whole: nothing was deleted",
            hint=f"`ocitool verify {path}` says what is wrong",
        )


class _Going:
    """What goes from several repositories, as one place to save from."""

    def __init__(self, planned: Sequence[PlannedPrune]) -> None:
        self._planned = planned
        self._home: dict[Digest, Repository] = {}
        for one in planned:
            edges = Edges(one.graph)
            for digest in one.plan.digests & one.graph.nodes.keys():
                for below in edges.below(digest) & one.graph.nodes.keys():
                    self._home.setdefault(below, one.reader.repository)
                    for blob in one.graph.nodes[below].blobs:
                        self._home.setdefault(blob, one.reader.repository)

    def roots(self) -> tuple[Root, ...]:
        """Return what is in nothing else that goes, under the names it had."""
        return tuple(root for one in self._planned for root in _roots(one))

    def resolve(self, name: str) -> Root:
        """Return the root of a name."""
        return next(root for root in self.roots() if name in root.names)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the registry can be expected to have it."""
        home = self._home.get(descriptor.digest)
        return home is not None and home.has(descriptor)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself."""
        home = self._home.get(descriptor.digest, self._planned[0].reader.repository)
        return home.open(descriptor)


def _roots(one: PlannedPrune) -> Iterable[Root]:
    """Yield what goes from one repository and is in no index that goes."""
    graph, going = one.graph, one.plan.digests & one.graph.nodes.keys()
    inner = {child for digest in going for child in graph.nodes[digest].children}
    tags = graph.tags_of()
    for digest in sorted(going):
        names = tags.get(digest, [])
        if any(is_referrers_tag(tag) for tag in names) and graph.nodes[digest].is_index:
            # The list is made anew, wherever what it lists is pushed to.
            inner -= set(graph.nodes[digest].children)
    for digest in sorted(going - inner):
        node, names = graph.nodes[digest], tags.get(digest, [])
        if node.is_index and any(is_referrers_tag(tag) for tag in names):
            continue
        descriptor = Descriptor(media_type=node.media_type, digest=digest, size=node.size)
        if not names and node.subject in going:
            yield Root(descriptor=descriptor)
        else:
            name = one.plan.name
            called = [f"{name}:{tag}" for tag in names] or [f"{name}@{digest}"]
            yield Root(descriptor=descriptor, names=tuple(called))
