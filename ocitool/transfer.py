"""The mechanism: what a closure holds moves from one place to another.

Blobs go first, in parallel; manifests follow, children before parents; the root comes last. So
whoever reads the target at any moment sees the old state or the new one, complete.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ocitool.content import Blob, Shipment, Source, Target
from ocitool.events import Observer, Outcome
from ocitool.parallel import DEFAULT_JOBS, Stop, run_all
from ocitool.spec import Descriptor, Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """How many blobs and bytes were stored, and how many were there already."""

    stored_blobs: int = 0
    stored_bytes: int = 0
    existing_blobs: int = 0
    existing_bytes: int = 0


def transfer(
    source: Source,
    target: Target,
    shipments: Sequence[Shipment],
    *,
    settled: Mapping[Digest, Outcome] | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> TransferReport:
    """Copy closures and make their roots known under their names.

    Idempotent: what the target has is not read. `settled` are blobs that a conversion has put
    there already. Cancels everything at the first failure; then no root has changed. Raises what
    the two places raise.
    """
    watcher = observer or Observer()
    done = settled or {}
    move = _Move(source, target, watcher)
    blobs = {d.digest: d for shipment in shipments for d in shipment.closure.blobs}
    for digest in blobs.keys() & done.keys():
        move.settle(blobs.pop(digest), done[digest])
    target.announce([d for shipment in shipments for d in shipment.closure.descriptors])
    watcher.begin("copying", sum(descriptor.size for descriptor in blobs.values()))
    try:
        # The largest first: the last one to run alone is then a small one.
        ordered = sorted(blobs.values(), key=lambda descriptor: -descriptor.size)
        run_all([move.task(descriptor) for descriptor in ordered], jobs)
        for shipment in shipments:
            for descriptor, document in shipment.closure.documents:
                move.document(descriptor, document.raw)
    finally:
        watcher.end()
    for shipment in shipments:
        target.root(shipment.root.descriptor, shipment.root.names)
    return move.report()


class _Move:
    def __init__(self, source: Source, target: Target, observer: Observer) -> None:
        self._source = source
        self._target = target
        self._observer = observer
        self._lock = threading.Lock()
        self._outcomes: dict[Digest, tuple[Outcome, int]] = {}

    def task(self, descriptor: Descriptor) -> Callable[[Stop], None]:
        return lambda stop: self._blob(descriptor, stop)

    def _blob(self, descriptor: Descriptor, stop: Stop) -> None:
        stop.check()
        if self._target.has(descriptor):
            self._observer.advance(descriptor.size)
            self._note(descriptor, Outcome.EXISTED)
            return

        def watch(count: int) -> None:
            stop.check()
            self._observer.advance(count)

        self._target.put(descriptor, lambda: self._source.open(descriptor).watched(watch))
        self._note(descriptor, Outcome.STORED)

    def document(self, descriptor: Descriptor, raw: bytes) -> None:
        if self._target.has(descriptor):
            self.settle(descriptor, Outcome.EXISTED)
            return
        where = f"manifest {descriptor.digest.short}"
        self._target.put(descriptor, lambda: Blob.of(descriptor, raw, where=where))
        self.settle(descriptor, Outcome.STORED)

    def settle(self, descriptor: Descriptor, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes[descriptor.digest] = (outcome, descriptor.size)

    def _note(self, descriptor: Descriptor, outcome: Outcome) -> None:
        self.settle(descriptor, outcome)
        self._observer.finish(descriptor, outcome)

    def report(self) -> TransferReport:
        outcomes = self._outcomes.values()
        stored = [size for outcome, size in outcomes if outcome is not Outcome.EXISTED]
        existed = [size for outcome, size in outcomes if outcome is Outcome.EXISTED]
        return TransferReport(
            stored_blobs=len(stored),
            stored_bytes=sum(stored),
            existing_blobs=len(existed),
            existing_bytes=sum(existed),
        )
