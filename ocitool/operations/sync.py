"""sync, second half: the images of a plan are brought to their targets unless they are there.

First every target is asked, by one request for an image that is there. Then those that lack
something get it, several repositories at a time; the images of one repository come one after the
other, because they share blobs, and the list of what is attached to an image.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.bundles.sync.plan import PlanLine, PlannedArtifact
from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import OcitoolError, Refused
from ocitool.events import SILENT, Observer, Outcome
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.operations.push import push
from ocitool.operations.push_report import Ending, OnExisting, PushReport, RefusedArtifact
from ocitool.operations.push_target import ending_of
from ocitool.operations.sync_plan import OnFailure, Sessions, each
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.places.registry.referrers import referrers
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.remote import RemoteImages

_WORKERS = 4
"""Repositories that are filled at the same time; each has connections of its own."""


class SyncedImage(Struct, frozen=True, kw_only=True):
    """One line of a plan: what its target named before, and how it ends, or would end."""

    line: PlanLine
    existing: Digest | None
    ending: Ending
    attached: int = 0
    refused: tuple[RefusedArtifact, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def is_changed(self) -> bool:
        """Whether its target lacks something, or lacked it."""
        return self.ending is Ending.PUSHED

    @property
    def moved_from(self) -> Digest | None:
        """What the tag of the target named before, if it moves."""
        same = self.existing is None or self.existing == self.line.digest
        return None if same else self.existing

    @property
    def pinned(self) -> str:
        """The image at its target by its digest."""
        return f"{self.line.target.repository}@{self.line.digest}"


class SharedObserver(Observer):
    """Shows work on several repositories as one, and says the same thing only once."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def advance(self, count: int) -> None:
        """Count bytes of any repository."""
        self._observer.advance(count)

    def finish(self, descriptor: Descriptor, outcome: Outcome) -> None:
        """A blob is done."""
        self._observer.finish(descriptor, outcome)

    def remark(self, text: str) -> None:
        """Pass a remark on."""
        if self._is_new(text):
            self._observer.remark(text)

    def warn(self, text: str) -> None:
        """Pass a warning on."""
        if self._is_new(text):
            self._observer.warn(text)

    def trace(self, text: str) -> None:
        """Pass a detail on."""
        self._observer.trace(text)

    def wait(self, text: str) -> None:
        """Pass on what is waited for."""
        self._observer.wait(text)

    def busy(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Pass on what is being done."""
        return self._observer.busy(text)

    def _is_new(self, text: str) -> bool:
        with self._lock:
            is_new = text not in self._said
            self._said.add(text)
            return is_new


def planned_only(lines: Sequence[PlanLine]) -> list[SyncedImage]:
    """Return the lines of a plan of which nothing is asked and nothing is done."""
    return [SyncedImage(line=line, existing=None, ending=Ending.PLANNED) for line in lines]


def look_at_targets(
    lines: Sequence[PlanLine],
    registries: Registries,
    *,
    on_failure: OnFailure,
    jobs: int = DEFAULT_JOBS,
) -> list[SyncedImage]:
    """Ask the target of each line what it has, and return what is to be done, in their order.

    An image costs one HEAD request. What is attached to it costs another one for each list that
    names it, or for each tag.
    """
    sessions = Sessions(registries, writing=True)

    def look(line: PlanLine) -> SyncedImage:
        repository = sessions.repository(line.target)
        existing = repository.head(line.destination, forbidden_is_absent=True)
        ending = ending_of(line.destination, existing, line.digest, OnExisting.OVERWRITE)
        if ending is Ending.PRESENT and not _has_attached(repository, line):
            ending = Ending.PUSHED
        digest = existing.digest if existing is not None else None
        return SyncedImage(line=line, existing=digest, ending=ending)

    return each(
        lines,
        look,
        registries,
        called=lambda line: line.destination.familiar,
        jobs=jobs,
        on_failure=on_failure,
    )


def copy_missing(
    found: Sequence[SyncedImage],
    connect: Callable[[], Registries] = Registries,
    options: TransferOptions | None = None,
    *,
    on_failure: OnFailure,
    observer: Observer = SILENT,
    known: KnownBlobs | None = None,
) -> list[SyncedImage]:
    """Bring what is not at its target there; return what became of each line, in their order.

    A line that fails is told to `on_failure`, and left out. `connect` opens connections for those
    repositories that one thread fills; the jobs of the `options` are shared among the threads.
    Each blob is sent once to a registry, and mounted into its other repositories.
    """
    chosen = options or TransferOptions()
    work = _Work(found, connect, chosen, on_failure, observer, known or KnownBlobs())
    work.run()
    return [done for one in found if (done := work.done.get(one.line.destination)) is not None]


class _Work:
    """The repositories that are still to be filled, and what became of the lines."""

    def __init__(
        self,
        found: Sequence[SyncedImage],
        connect: Callable[[], Registries],
        options: TransferOptions,
        on_failure: OnFailure,
        observer: Observer,
        known: KnownBlobs,
    ) -> None:
        self.done = {one.line.destination: one for one in found if one.ending is Ending.PRESENT}
        self._waiting: queue.SimpleQueue[list[SyncedImage]] = queue.SimpleQueue()
        groups: dict[str, list[SyncedImage]] = {}
        for one in found:
            if one.ending is not Ending.PRESENT:
                groups.setdefault(one.line.target.repository, []).append(one)
        for group in groups.values():
            self._waiting.put(group)
        self._threads = min(_WORKERS, len(groups), options.jobs)
        jobs = max(1, options.jobs // max(1, self._threads))
        self._connect = connect
        self._options = replace(options, jobs=jobs)
        self._on_failure = on_failure
        self._observer = observer
        self._known = known
        self._holders = Holders()

    def run(self) -> None:
        """Fill all repositories."""
        if not self._threads:
            return
        with contextlib.ExitStack() as stack:
            connected = [stack.enter_context(self._connect()) for _ in range(self._threads)]

            def abort() -> None:
                for registries in connected:
                    registries.abort()

            tasks = [self._task(registries) for registries in connected]
            run_all(tasks, len(tasks), abort=abort)

    def _task(self, registries: Registries) -> Callable[[Stop], None]:
        def work(stop: Stop) -> None:
            for one in self._lines():
                stop.check()
                try:
                    self.done[one.line.destination] = self._copy(one, registries)
                except OcitoolError as error:
                    if registries.stopped:
                        raise
                    self._on_failure(one.line.destination.familiar, error)

        return work

    def _lines(self) -> Iterator[SyncedImage]:
        """Yield lines, one repository after the other, until none is left."""
        while True:
            try:
                group = self._waiting.get_nowait()
            except queue.Empty:
                return
            yield from group

    def _copy(self, one: SyncedImage, registries: Registries) -> SyncedImage:
        report = copy_line(
            one.line,
            registries,
            self._options,
            observer=self._observer,
            holders=self._holders,
            known=self._known,
        )
        is_sent = report.transfer.stored_blobs > 0
        return replace(
            one,
            ending=Ending.PUSHED if is_sent else report.ending,
            attached=report.attached,
            refused=report.refused,
            transfer=report.transfer,
        )


def copy_line(
    line: PlanLine,
    registries: Registries,
    options: TransferOptions,
    *,
    observer: Observer = SILENT,
    holders: Holders | None = None,
    known: KnownBlobs | None = None,
) -> PushReport:
    """Copy the image of one line to its target, with what the line says is attached to it.

    Refused if its platforms have become another image than the line says. See `push`.
    """
    repository = Repository.of(registries, line.source)
    name = line.source.name
    root = Root(descriptor=repository.fetch(line.source), names=(name,))
    attached = [_root(artifact, line.source) for artifact in line.referrers]
    source = RemoteImages(repository.with_roots([root, *attached]))
    chosen, left = source.select([root], line.platforms)
    if not left and chosen[0].descriptor.digest != line.digest:
        raise Refused(
            f"the platforms of {name} make {chosen[0].descriptor.digest}, not {line.digest}",
            hint="make the plan anew",
        )
    (report,) = push(
        source,
        [*chosen, *attached],
        [line.destination],
        registries,
        replace(options, platforms=tuple(left), attached=bool(attached)),
        observer=observer,
        holders=holders,
        known=known,
    )
    return report


def _root(artifact: PlannedArtifact, source: Reference) -> Root:
    names = () if artifact.tag is None else (f"{source.repository}:{artifact.tag}",)
    return Root(descriptor=artifact.descriptor, names=names)


def _has_attached(repository: Repository, line: PlanLine) -> bool:
    """Ask whether a target has, and lists, all that a line says is attached to its image."""
    listed: dict[Digest, set[Digest]] = {}
    for artifact in line.referrers:
        digest = artifact.descriptor.digest
        if artifact.tag is not None:
            found = repository.head(
                replace(line.target, tag=artifact.tag), forbidden_is_absent=True
            )
            if found is None or found.digest != digest:
                return False
        elif artifact.subject is not None:
            if artifact.subject not in listed:
                entries = referrers(repository, artifact.subject)
                listed[artifact.subject] = {entry.digest for entry in entries}
            if digest not in listed[artifact.subject]:
                return False
    return True
