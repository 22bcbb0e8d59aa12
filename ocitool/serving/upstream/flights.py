"""Blobs that are being fetched: once each, however many clients wait, who read what has arrived.

The last byte of a blob is sent only when its digest fits. A client that leaves ends nothing: the
fetch goes on for the others, and for the store.
"""

import os
import threading
from collections.abc import Callable, Iterator

from ocitool.concurrency import Stop
from ocitool.errors import OcitoolError, Unavailable
from ocitool.image.content import OpenRange
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout.partial import PartialBlob
from ocitool.serving.messages import BODY_CHUNK, Parts
from ocitool.transfer.ranged import Connections, fetch

_PATIENCE = 120.0
"""Seconds without a new byte after which a client is cut; the fetch has time-outs of its own."""
_CONNECTIONS = 8


class Flight:
    """One blob on its way. Thread-safe."""

    def __init__(self, descriptor: Descriptor, blob: PartialBlob) -> None:
        self.descriptor = descriptor
        self._blob = blob
        self._file = blob.readable()
        self._changed = threading.Condition()
        self._front = blob.front
        self._error: OcitoolError | None = None
        self._is_whole = False
        self._users = 1

    # What the fetch calls (`Ingest`).

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges that are still missing."""
        return self._blob.missing()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Keep some bytes, and tell who waits for them."""
        self._blob.write(offset, data)
        with self._changed:
            self._front = self._blob.front
            self._changed.notify_all()

    def commit(self) -> None:
        """Verify the whole and store it."""
        self._blob.commit()

    def discard(self) -> None:
        """Delete what was received."""
        self._blob.discard()

    def close(self) -> None:
        """Keep what was received."""
        self._blob.close()

    def run(self, open_range: OpenRange, connections: Connections) -> OcitoolError | None:
        """Fetch the blob; return why that failed, which the clients are told by a cut."""
        error: OcitoolError | None = None
        try:
            fetch(
                self.descriptor,
                open_range,
                self,
                connections=connections,
                stop=Stop(),
                advance=lambda _count: None,
            )
        except OcitoolError as failure:
            error = failure
        finally:
            self._blob.close()
            with self._changed:
                self._error = error
                self._is_whole = error is None
                self._changed.notify_all()
            self.release()
        return error

    # What clients call.

    def __len__(self) -> int:
        return self.descriptor.size

    def join(self) -> "Flight":
        """Take part; `release` ends that."""
        with self._changed:
            self._users += 1
        return self

    def release(self) -> None:
        """End taking part; the last one closes the file."""
        with self._changed:
            self._users -= 1
            if self._users == 0:
                os.close(self._file)

    def part(self, start: int, length: int) -> Parts:
        """Return some bytes, which are waited for."""
        return Parts(self._pieces(start, length), length, self.release)

    def _pieces(self, start: int, length: int) -> Iterator[bytes]:
        end = start + length
        while start < end:
            upto = min(end, self._arrived(start))
            piece = os.pread(self._file, min(BODY_CHUNK, upto - start), start)
            if not piece:
                return
            yield piece
            start += len(piece)

    def _arrived(self, position: int) -> int:
        """Return how many bytes may be sent, once these are more than `position`."""
        with self._changed:
            while True:
                if self._is_whole:
                    return self.descriptor.size
                if self._error is not None:
                    raise self._error
                upto = min(self._front, self.descriptor.size - 1)
                if upto > position:
                    return upto
                if not self._changed.wait(_PATIENCE):
                    raise Unavailable(f"blob {self.descriptor.digest} does not arrive")


class Flights:
    """All blobs on their way. Thread-safe."""

    def __init__(self, failed: Callable[[OcitoolError], None]) -> None:
        self._failed = failed
        self._connections = Connections(_CONNECTIONS)
        self._flying: dict[Digest, Flight] = {}
        self._lock = threading.Lock()

    def joined(
        self,
        descriptor: Descriptor,
        begin: Callable[[], PartialBlob],
        open_range: OpenRange,
        done: Callable[[], None],
    ) -> Flight:
        """Return the flight of a blob, begun if there is none; the caller releases it.

        `done` is called when the blob is in the store.
        """
        with self._lock:
            flight = self._flying.get(descriptor.digest)
            if flight is not None:
                return flight.join()
            flight = Flight(descriptor, begin())
            self._flying[descriptor.digest] = flight
            flight.join()

        def fly() -> None:
            error = flight.run(open_range, self._connections)
            with self._lock:
                self._flying.pop(descriptor.digest, None)
            if error is None:
                try:
                    done()
                except OcitoolError as failure:
                    error = failure
            if error is not None:
                self._failed(error)

        threading.Thread(target=fly, daemon=True).start()
        return flight
