"""Something far away, read in blocks: each is fetched once, and the next one while this is used.

The blocks of all such files share one budget of memory. Where many are read side by side, as
volumes are for their parity, each has one block, and none is fetched ahead.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

BLOCK: Final = 2 << 20
_KEPT, _AT_ONCE, _FEW = 16, 8, 4

Fetch = Callable[[int, int], bytes]
"""Returns the bytes from one offset up to another."""


class _Shared:
    """The blocks of all files, the last used at the end, and who fetches ahead. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files = 0
        self._blocks: OrderedDict[tuple[int, int], Future[bytes]] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None

    def find(self, key: tuple[int, int]) -> "Future[bytes] | None":
        """Return a block that is there or on its way; call it under the lock."""
        if key in self._blocks:
            self._blocks.move_to_end(key)
        return self._blocks.get(key)

    def has(self, key: tuple[int, int]) -> bool:
        """Tell the same without making it the last used; call it under the lock."""
        return key in self._blocks

    def fetch(self, key: tuple[int, int], fetch: Callable[[], bytes]) -> "Future[bytes]":
        """Begin to fetch a block, and make room for it; call it under the lock."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, "ocitool-fetch")
        block = self._blocks[key] = self._pool.submit(fetch)
        while len(self._blocks) > _KEPT + self.files:
            self._blocks.popitem(last=False)
        return block

    def drop(self, file: int, number: int | None = None) -> None:
        """Forget a block of a file, or all; call it under the lock."""
        for key in [key for key in self._blocks if key[0] == file]:
            if number in (None, key[1]):
                del self._blocks[key]


_shared = _Shared()
_numbers = itertools.count()


class Blocks:
    """The bytes of one file far away. Thread-safe.

    What reads the beginning alone fetches the beginning alone: only behind two blocks that were
    read one after the other is the next one fetched ahead.
    """

    def __init__(self, size: int, fetch: Fetch) -> None:
        self._size = size
        self._fetch = fetch
        self._is_open = True
        self._id = next(_numbers)
        with _shared.lock:
            _shared.files += 1

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset on, fewer only at the end; raises as `fetch` does."""
        end = min(offset + size, self._size)
        parts = []
        while offset < end:
            number, begin = divmod(offset, BLOCK)
            parts.append(self._block(number)[begin : begin + end - offset])
            offset += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Forget what is kept; harmless when repeated."""
        with _shared.lock:
            if self._is_open:
                self._is_open = False
                _shared.files -= 1
                _shared.drop(self._id)

    def _block(self, number: int) -> bytes:
        with _shared.lock:
            block = _shared.find((self._id, number)) or self._begin(number)
            if self._is_read_on(number):
                self._begin(number + 1)
        try:
            return block.result()
        except BaseException:
            # The next attempt asks again.
            with _shared.lock:
                _shared.drop(self._id, number)
            raise

    def _is_read_on(self, number: int) -> bool:
        """Tell whether the block behind one is to be fetched ahead."""
        follows = number > 0 and _shared.has((self._id, number - 1))
        is_known = _shared.has((self._id, number + 1)) or (number + 1) * BLOCK >= self._size
        return follows and not is_known and _shared.files <= _FEW

    def _begin(self, number: int) -> "Future[bytes]":
        begin = number * BLOCK
        end = min(begin + BLOCK, self._size)
        return _shared.fetch((self._id, number), lambda: self._fetch(begin, end))
