"""Copy the content of closures from one place to another.

Blobs are copied first, in parallel, then manifests (children before parents), and the roots are set
last. A reader of the target therefore sees the complete old state or the complete new one.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, Stop, run_abortable
from ocitool.errors import DigestMismatch, StorageError, Unavailable
from ocitool.events import Observer, Outcome
from ocitool.image.content import (
    Blob,
    Ingest,
    Ingesting,
    OpenRange,
    PlannedImage,
    Ranged,
    Source,
    Target,
)
from ocitool.oci import Descriptor, Digest
from ocitool.transfer.counted import Counted
from ocitool.transfer.ranged import Advance, Connections, fetch

_IN_PARTS = 1 << 20
"""Smaller blobs are fetched again as a whole after an interruption."""
_TURN_SECONDS = 0.1
_PATIENCE = 20.0
"""Seconds without a new byte after which this process no longer waits for another one."""


class _Stored(Exception):
    """Another process has stored the blob."""


class Moved(Struct, frozen=True, kw_only=True):
    """What happened to one blob or document, and how many seconds it took."""

    descriptor: Descriptor
    outcome: Outcome
    seconds: float


class TransferReport(Struct, frozen=True, kw_only=True):
    """Every blob and document of a transfer, with what happened to it."""

    blobs: tuple[Moved, ...] = ()

    @property
    def stored_blobs(self) -> int:
        """How many were not there before."""
        return sum(moved.outcome not in _PRESENT for moved in self.blobs)

    @property
    def stored_bytes(self) -> int:
        """The bytes of those that were not there before."""
        return sum(m.descriptor.size for m in self.blobs if m.outcome not in _PRESENT)

    @property
    def existing_blobs(self) -> int:
        """How many were there already."""
        return sum(moved.outcome in _PRESENT for moved in self.blobs)

    @property
    def existing_bytes(self) -> int:
        """The bytes of those that were there already."""
        return sum(m.descriptor.size for m in self.blobs if m.outcome in _PRESENT)


_PRESENT = (Outcome.EXISTED, Outcome.MOUNTED)


def transfer(
    source: Source,
    target: Target,
    planned: Sequence[PlannedImage],
    *,
    known_outcomes: Mapping[Digest, Outcome] | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> TransferReport:
    """Copy closures, then set their roots under their names.

    Idempotent: what the target has is not read. `known_outcomes` are the outcomes of blobs and
    documents that need no copying: a conversion has put them there, or the target has them.
    The first failure cancels everything, and no root is changed. Raises what the two places raise.
    """
    watcher = observer or Observer()
    done = known_outcomes or {}
    move = _Move(source, target, watcher, jobs)
    blobs = {d.digest: d for image in planned for d in image.closure.blobs}
    for descriptor in (d for image in planned for d in image.closure.descriptors):
        if descriptor.digest in done:
            blobs.pop(descriptor.digest, None)
            move.note(descriptor, done[descriptor.digest])
    target.announce([d for image in planned for d in image.closure.descriptors])
    with watcher.work("copying", sum(descriptor.size for descriptor in blobs.values())):
        # The largest first, so that no large one is left to run alone at the end.
        ordered = sorted(blobs.values(), key=lambda descriptor: -descriptor.size)
        run_abortable([move.task(descriptor) for descriptor in ordered], jobs, source, target)
        for image in planned:
            for descriptor, document in image.closure.documents:
                move.document(descriptor, document.raw)
        # A registry may take its time with these, too.
        for image in planned:
            target.root(image.root.descriptor, image.root.names)
    return move.report()


class _Move:
    def __init__(self, source: Source, target: Target, observer: Observer, jobs: int) -> None:
        self._source = source
        self._target = target
        self._observer = observer
        self._connections = Connections(jobs)
        self._lock = threading.Lock()
        self._outcomes: dict[Digest, Moved] = {}

    def task(self, descriptor: Descriptor) -> Callable[[Stop], None]:
        return lambda stop: self._blob(descriptor, stop)

    def _blob(self, descriptor: Descriptor, stop: Stop) -> None:
        stop.check()
        began = time.monotonic()
        if self._target.has(descriptor):
            self._observer.advance(descriptor.size)
            self._finish(descriptor, Outcome.EXISTED, time.monotonic() - began)
            return

        outcome = self._fetch_parts(descriptor, stop) or self._put(descriptor, stop)
        self._finish(descriptor, outcome, time.monotonic() - began)

    def _put(self, descriptor: Descriptor, stop: Stop) -> Outcome:
        sending = Counted(lambda: self._source.open(descriptor), stop, self._observer.advance)
        outcome = self._target.put(descriptor, sending)
        sending.finish(descriptor.size)
        return outcome

    def _fetch_parts(self, descriptor: Descriptor, stop: Stop) -> Outcome | None:
        """Fetch a large blob in parts; None if the source or the target cannot do that."""
        if descriptor.size < _IN_PARTS or not isinstance(self._target, Ingesting):
            return None
        if not isinstance(self._source, Ranged):
            return None
        open_range = self._source.ranges(descriptor)
        if open_range is None:
            return None
        ingest = self._wait_for_turn(self._target, descriptor, stop)
        if ingest is None:
            return self._fetch_beside(self._target, descriptor, open_range, stop)
        if isinstance(ingest, Outcome):
            return ingest
        is_resumed = ingest.missing() != [(0, descriptor.size)]
        try:
            self._fetch(descriptor, open_range, ingest, stop, self._observer.advance)
        except DigestMismatch:
            if not is_resumed:
                raise
            self._fetch_anew(self._target, descriptor, open_range, stop)
        return Outcome.STORED

    def _fetch_anew(
        self, target: Ingesting, descriptor: Descriptor, open_range: OpenRange, stop: Stop
    ) -> None:
        """Fetch all of a blob whose first part, from an earlier run, was lost in a power failure.

        That part is not synced while it arrives, so it may be there with other bytes in it.
        """
        self._observer.remark(
            f"what an earlier run had received of {descriptor.digest.short} is damaged; "
            "fetching all of it"
        )
        with contextlib.ExitStack() as waiting:
            ingest = self._wait_while_another_fetches(target, descriptor, stop, waiting)
        if ingest is None:
            raise Unavailable(f"another process makes no progress with {descriptor.digest}")
        # Its bytes are counted already.
        self._fetch(descriptor, open_range, ingest, stop, lambda _: None)

    def _fetch(
        self,
        descriptor: Descriptor,
        open_range: OpenRange,
        ingest: Ingest,
        stop: Stop,
        advance: Advance,
    ) -> None:
        taken = self._connections.take()
        try:
            fetch(
                descriptor,
                open_range,
                ingest,
                connections=self._connections,
                stop=stop,
                advance=advance,
            )
        except StorageError:
            # The disk may be full: free the space.
            ingest.discard()
            raise
        finally:
            ingest.close()
            if taken:
                self._connections.give_back()

    def _fetch_beside(
        self, target: Ingesting, descriptor: Descriptor, open_range: OpenRange, stop: Stop
    ) -> Outcome:
        """Fetch what another process makes no progress with, unless it stores that meanwhile."""
        self._observer.remark(
            f"the other process makes no progress with {descriptor.digest.short}; "
            "continuing from what has arrived"
        )
        done, looked = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, looked
            done += count
            self._observer.advance(count)
            if time.monotonic() - looked > _TURN_SECONDS:
                looked = time.monotonic()
                if self._target.has(descriptor):
                    raise _Stored

        try:
            ingest = target.ingest_beside(descriptor)
            self._fetch(descriptor, open_range, ingest, stop, advance)
        except (_Stored, Unavailable):
            if not self._target.has(descriptor):
                raise
            self._observer.advance(descriptor.size - done)
            return Outcome.EXISTED
        return Outcome.STORED

    def _wait_for_turn(
        self, target: Ingesting, descriptor: Descriptor, stop: Stop
    ) -> Ingest | Outcome | None:
        """Start or resume a blob, or wait while another process is fetching it.

        EXISTED if the other process has stored it; None if that one makes no progress.
        """
        with contextlib.ExitStack() as waiting:
            ingest = self._wait_while_another_fetches(target, descriptor, stop, waiting)
        if ingest is None:
            return None
        # It may have been stored between the last look and this one.
        if self._target.has(descriptor):
            ingest.discard()
            self._observer.advance(descriptor.size)
            return Outcome.EXISTED
        return ingest

    def _wait_while_another_fetches(
        self, target: Ingesting, descriptor: Descriptor, stop: Stop, waiting: contextlib.ExitStack
    ) -> Ingest | None:
        arrived, since = -1, 0.0
        while (ingest := target.ingest(descriptor)) is None:
            if arrived < 0:
                text = f"another process is fetching {descriptor.digest.short}; waiting for it"
                self._observer.wait(text)
                waiting.enter_context(self._observer.busy(text))
            now = target.progress_of(descriptor)
            if now != arrived:
                arrived, since = now, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                return None
            stop.check()
            time.sleep(_TURN_SECONDS)
        return ingest

    def document(self, descriptor: Descriptor, raw: bytes) -> None:
        if descriptor.digest in self._outcomes:
            return
        if self._target.has(descriptor):
            self.note(descriptor, Outcome.EXISTED)
            return
        where, began = f"manifest {descriptor.digest.short}", time.monotonic()
        outcome = self._target.put(descriptor, lambda: Blob.of(descriptor, raw, where=where))
        self.note(descriptor, outcome, time.monotonic() - began)

    def note(self, descriptor: Descriptor, outcome: Outcome, seconds: float = 0.0) -> None:
        with self._lock:
            self._outcomes[descriptor.digest] = Moved(
                descriptor=descriptor, outcome=outcome, seconds=seconds
            )

    def _finish(self, descriptor: Descriptor, outcome: Outcome, seconds: float) -> None:
        self.note(descriptor, outcome, seconds)
        self._observer.finish(descriptor, outcome)

    def report(self) -> TransferReport:
        return TransferReport(blobs=tuple(self._outcomes.values()))
