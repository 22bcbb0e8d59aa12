"""Blobs that clients pushed and did not name yet.

Between the push of a blob and that of its manifest nothing leads to the blob, so garbage collection
in another process would take it. A lease claims it: one for each repository and client, for an hour
after the last request.
"""

import threading
import time
from collections.abc import Iterable

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.layout.lease import Lease

CLAIM_SECONDS = 3600.0
_MOST = 256
"""Each holds a file open."""


class _Claim:
    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.digests: set[Digest] = set()
        self.used = time.monotonic()
        self.lock = threading.Lock()

    def release(self) -> None:
        lease, self.lease = self.lease, None
        self.digests = set()
        if lease is not None:
            lease.release()


class Claims:
    """The claims of all clients of this process. Thread-safe."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._control = layout.folder.subdirectory(".ocitool", create=True)
        self._held: dict[tuple[str, str], _Claim] = {}
        self._lock = threading.Lock()

    def add(self, repository: str, client: str, digests: Iterable[Digest]) -> None:
        """Claim blobs: after this no process deletes them. LockBusy if the store is locked."""
        claim = self._of(repository, client)
        with claim.lock:
            fresh = [digest for digest in digests if digest not in claim.digests]
            if not fresh:
                return
            if claim.lease is None:
                claim.lease = self._take()
            claim.lease.add(fresh)
            claim.digests.update(fresh)

    def _take(self) -> Lease:
        return Lease.take(self._control, self._layout.observer, patience=self._layout.patience)

    def _of(self, repository: str, client: str) -> _Claim:
        key = repository, client
        with self._lock:
            claim = self._held.pop(key, None) or _Claim()
            # The last used stands last.
            self._held[key] = claim
            claim.used = time.monotonic()
            extra = len(self._held) - _MOST
            old = [self._held.pop(oldest) for oldest in list(self._held)[: max(0, extra)]]
        for one in old:
            with one.lock:
                one.release()
        return claim

    def holds(self, repository: str, digest: Digest) -> bool:
        """Tell whether a client has pushed or mounted a blob to a repository."""
        with self._lock:
            claims = [claim for (name, _), claim in self._held.items() if name == repository]
        return any(digest in claim.digests for claim in claims)

    def settle(self, repository: str, client: str, named: Iterable[Digest]) -> None:
        """Give up the claims on what a tag leads to now."""
        with self._lock:
            claim = self._held.get((repository, client))
        if claim is not None:
            with claim.lock:
                claim.digests.difference_update(named)
                if not claim.digests:
                    claim.release()

    def drop(self, repository: str, digest: Digest) -> None:
        """Give up the claims on a blob that was deleted from its repository."""
        with self._lock:
            claims = [claim for (name, _), claim in self._held.items() if name == repository]
        for claim in claims:
            with claim.lock:
                if digest not in claim.digests:
                    continue
                left = claim.digests - {digest}
                old, claim.lease, claim.digests = claim.lease, None, set()
                if left:
                    claim.lease = self._take()
                    claim.lease.add(left)
                    claim.digests = left
                if old is not None:
                    old.release()

    def expire(self) -> None:
        """Give up the claims of clients that have not been heard of for an hour."""
        limit = time.monotonic() - CLAIM_SECONDS
        with self._lock:
            old = [key for key, claim in self._held.items() if claim.used < limit]
            claims = [self._held.pop(key) for key in old]
        for claim in claims:
            with claim.lock:
                claim.release()

    def close(self) -> None:
        """Give up all claims; harmless when repeated."""
        with self._lock:
            claims, self._held = list(self._held.values()), {}
        for claim in claims:
            with claim.lock:
                claim.release()
        self._control.close()
