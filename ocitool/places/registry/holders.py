"""Which repositories of a registry have a blob, as far as this process knows.

What one repository has, another one of the same registry mounts. While a blob is on its way to a
registry, whoever wants to send it there too waits, and mounts it then: it travels once.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence

from ocitool.errors import Unavailable
from ocitool.oci import Digest
from ocitool.places.registry.session import Session

_LOOK_SECONDS = 0.2


class Holders:
    """The repositories in which blobs were seen or put. Thread-safe."""

    def __init__(self) -> None:
        self._paths: dict[tuple[str, Digest], list[str]] = {}
        self._turns: dict[tuple[str, Digest], threading.Lock] = {}
        self._lock = threading.Lock()

    def note(self, domain: str, path: str, digests: Iterable[Digest]) -> None:
        """Note that a repository of a registry has some blobs."""
        with self._lock:
            for digest in digests:
                paths = self._paths.setdefault((domain, digest), [])
                if path not in paths:
                    paths.append(path)

    def of(self, domain: str, digest: Digest) -> Sequence[str]:
        """Return the repositories of a registry that hold a blob."""
        with self._lock:
            return tuple(self._paths.get((domain, digest), ()))

    @contextlib.contextmanager
    def turn(self, session: Session, digest: Digest) -> Iterator[None]:
        """Wait until nobody else sends a blob to a registry; then others wait for this block.

        Unavailable when the work is stopped meanwhile.
        """
        key = session.host.domain, digest
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        while not turn.acquire(timeout=_LOOK_SECONDS):
            if session.registries.stopped:
                raise Unavailable("the work was stopped")
        try:
            yield
        finally:
            turn.release()
