"""Small blobs of registries are fetched while others are written: a bundle has one order."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from ocitool.image.content import Blob
from ocitool.oci import Descriptor
from ocitool.places.archive.sections import ReadSection, Section, reading

SMALL: Final = 2 << 20
"""Blobs up to this size are kept in memory until their turn comes; larger ones are streams."""

OpenBlob = Callable[[Descriptor], Blob]


@contextlib.contextmanager
def reading_ahead(
    open_blob: OpenBlob, sections: Sequence[Section], at_once: int
) -> Iterator[ReadSection]:
    """Return how to read sections in their order, of which so many are fetched at once.

    With 0 each is read when its turn comes, as `reading` does. Twice as many may wait in memory.
    """
    if not at_once:
        yield reading(open_blob)
        return
    pool = ThreadPoolExecutor(at_once, "ocitool-ahead")
    try:
        yield _Ahead(open_blob, sections, pool, 2 * at_once).read
    finally:
        # Who breaks off does not wait for what is under way.
        pool.shutdown(wait=False, cancel_futures=True)


class _Ahead:
    """Fetches the next small sections; `read` is called for each section, in their order."""

    def __init__(
        self,
        open_blob: OpenBlob,
        sections: Sequence[Section],
        pool: ThreadPoolExecutor,
        window: int,
    ) -> None:
        self._stream = reading(open_blob)
        self._pool = pool
        self._coming = iter([one for one in sections if _is_small(one)])
        self._waiting: deque[Future[bytes]] = deque()
        self._fetch(window)

    def read(self, section: Section) -> Iterator[bytes]:
        """Yield the content of the next section."""
        if not _is_small(section):
            yield from self._stream(section)
            return
        data = self._waiting.popleft().result()
        self._fetch(1)
        yield data

    def _fetch(self, count: int) -> None:
        for section in itertools.islice(self._coming, count):
            self._waiting.append(self._pool.submit(self._read_all, section))

    def _read_all(self, section: Section) -> bytes:
        return b"".join(self._stream(section))


def _is_small(section: Section) -> bool:
    return section.content is not None and section.data is None and section.size <= SMALL
