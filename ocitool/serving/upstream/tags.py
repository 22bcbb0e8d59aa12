"""What tags of other registries name: asked with HEAD, which is not counted as a pull, at most once
in a while. When the registry cannot answer, what it said last counts.
"""

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from ocitool.errors import NotFound, OcitoolError
from ocitool.oci import Digest

_MOST = 20_000


class TagState(Struct, frozen=True, kw_only=True):
    """What a tag names; None: it does not exist. `is_stale` if the registry could not say."""

    digest: Digest | None
    is_stale: bool = False


class UpstreamTags:
    """The tags that were asked for. `ask` returns what one names now. Thread-safe."""

    def __init__(
        self,
        ask: Callable[[str, str], Digest],
        ttl: float,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._ttl = ttl
        self._tell = tell
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, TagState]] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def state(self, name: str, tag: str, local: Digest | None) -> TagState:
        """Return what a tag names; `local` is what it names here.

        Raises what stands in the way if nothing is known of it.
        """
        key = name, tag
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            known = self._known.get(key)
            if known is not None and self._clock() - known[0] < self._ttl:
                return known[1]
            return self._remember(key, self._asked(key, local, known))

    def _asked(
        self,
        key: tuple[str, str],
        local: Digest | None,
        known: tuple[float, TagState] | None,
    ) -> TagState:
        try:
            return TagState(digest=self._ask(*key))
        except NotFound:
            return TagState(digest=None)
        except OcitoolError as error:
            last = known[1].digest if known is not None else local
            if last is None:
                raise
            self._tell(f"{key[0]}:{key[1]} is answered from the cache: {error.message}")
            return TagState(digest=last, is_stale=True)

    def _remember(self, key: tuple[str, str], state: TagState) -> TagState:
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
                self._locks.clear()
            self._known[key] = self._clock(), state
        return state
