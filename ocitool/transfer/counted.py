"""How much has been read: of a blob, also if it is read again, and of the pieces of an archive."""

from collections.abc import Callable, Iterable, Iterator

from ocitool.concurrency import Stop
from ocitool.image.content import Blob


class Counted:
    """Opens one blob, as often as it has to be sent, and tells `advance` how far that is.

    Opened again after a failure, what was counted before is taken back. Reading raises Stopped
    once the work is to stop. Not thread-safe.
    """

    def __init__(
        self, open_blob: Callable[[], Blob], stop: Stop, advance: Callable[[int], None]
    ) -> None:
        self._open_blob = open_blob
        self._stop = stop
        self._advance = advance
        self._read = 0

    def __call__(self) -> Blob:
        """Open the blob from its beginning."""
        self._count(-self._read)
        return self._open_blob().watched(self._watch)

    def finish(self, size: int) -> None:
        """Count all `size` bytes as done, whatever was read: it may have been there already."""
        self._count(size - self._read)

    def _watch(self, count: int) -> None:
        self._stop.check()
        self._count(count)

    def _count(self, count: int) -> None:
        if count:
            self._read += count
            self._advance(count)


class CountedPieces:
    """Pieces of an archive, with the number of bytes that were taken."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.count = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.count += len(piece)
            yield piece
