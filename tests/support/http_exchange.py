"""One request to a test server and its answer, with the fault that the test ordered for it."""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import responses
from io import BufferedIOBase
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from tests.support.registry_faults import (
    Drip,
    Drop,
    EarlyStatus,
    ExtraBytes,
    Fault,
    FlippedByte,
    HangUp,
    Stall,
    WrongLength,
)

PIECE = 1 << 20
# What Go's server reads of a body that nobody wanted, before it gives the connection up.
UNWANTED_LIMIT = 1 << 18
_LINGER_SECONDS = 0.5


class Ended(Exception):
    """The connection is over: a fault was due, or the client went away."""


@dataclass(slots=True)
class Logged:
    """What a server saw of a request and did with it.

    `target` is the request's target byte by byte, `headers` have lower-case names and repeated
    ones joined by ", ", `host` is the Host header. The byte counts are of the bodies and grow while
    the exchange goes on; `status` is 0 until there is an answer.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    host: str
    received_bytes: int = 0
    status: int = 0
    sent_bytes: int = 0


class Exchange:
    """A request, and the one answer to it. `added` are headers that the answer has in any case."""

    def __init__(
        self,
        record: Logged,
        headers: Message,
        connection: socket.socket,
        reader: BufferedIOBase,
        fault: Fault | None,
        stopping: threading.Event,
    ) -> None:
        self.record = record
        self.method = record.method
        self.target = record.target
        split = urlsplit(record.target)
        self.path = unquote(split.path)
        self.raw_query = split.query
        self.headers = headers
        self.connection = connection
        self.fault = fault
        self.added: dict[str, str] = {}
        self._reader = reader
        self._stopping = stopping
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self._left: int | None = None if chunked else int(headers.get("Content-Length", "0"))
        self._unread = chunked or bool(self._left)
        self._reset = False

    # The request.

    def query(self, name: str) -> str | None:
        """Return the first value of a query parameter; "+" is no space here."""
        for part in self.raw_query.split("&"):
            key, _, value = part.partition("=")
            if unquote(key) == name:
                return unquote(value)
        return None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body. Raises Ended where the fault is due or the client leaves."""
        while self._unread:
            piece = self._next_piece(PIECE)
            limit = self._receiving_limit()
            if limit is not None:
                piece = piece[: max(0, limit - self.record.received_bytes)]
            self.record.received_bytes += len(piece)
            if piece:
                yield piece
            if limit is not None and self.record.received_bytes >= limit:
                self._commit_receiving_fault()

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())

    def _next_piece(self, size: int) -> bytes:
        limit = self._receiving_limit()
        if limit is not None:
            size = max(1, min(size, limit - self.record.received_bytes))
        if self._left is None:
            return self._next_chunk()
        piece = self._reader.read(min(size, self._left))
        if not piece:
            raise Ended
        self._left -= len(piece)
        self._unread = self._left > 0
        return piece

    def _next_chunk(self) -> bytes:
        size = int(self._reader.readline().split(b";")[0] or b"0", 16)
        data = self._reader.read(size)
        self._reader.readline()
        self._unread = size > 0
        return data

    def _receiving_limit(self) -> int | None:
        if isinstance(self.fault, EarlyStatus):
            return self.fault.after
        if isinstance(self.fault, Drop) and self.fault.of == "received":
            return self.fault.after
        return None

    def _commit_receiving_fault(self) -> NoReturn:
        fault, self.fault = self.fault, None
        if isinstance(fault, EarlyStatus):
            self._send_head(fault.status, {**fault.headers}, len(fault.body), close=True)
            self._send(memoryview(fault.body))
            self.leave(reset=fault.reset)
        self.leave(reset=isinstance(fault, Drop) and fault.reset)

    # The answer.

    def answer(
        self,
        status: int,
        body: bytes | memoryview = b"",
        headers: Mapping[str, str] | None = None,
        *,
        length: int | None = None,
        rate: float | None = None,
    ) -> None:
        """Send the answer, `rate` bytes a second; `length` is a Content-Length to claim.

        A small unread body is read first; a large one costs the connection, as with Go's server.
        """
        if self._receiving_limit() is not None:
            for _ in self.pieces():
                pass
            self._commit_receiving_fault()
        if isinstance(self.fault, HangUp):
            self.leave(reset=self.fault.reset)
        if self._left is not None and self._left <= UNWANTED_LIMIT:
            for _ in self.pieces():
                pass
        view, claimed = self._spoiled(memoryview(body).cast("B"))
        if self.method == "HEAD":
            view = view[:0]
        claimed = claimed if length is None else length
        self._send_head(status, headers or {}, claimed, close=self._unread)
        self._send(view, rate)
        if self._unread or isinstance(self.fault, WrongLength):
            self.leave()

    def _spoiled(self, view: memoryview) -> tuple[memoryview, int]:
        """Return the body that is sent and the length that is claimed."""
        if isinstance(self.fault, WrongLength):
            return view, max(0, len(view) + self.fault.by)
        if isinstance(self.fault, ExtraBytes):
            view = memoryview(bytes(view) + self.fault.data)
        if isinstance(self.fault, FlippedByte) and view:
            changed = bytearray(view)
            changed[self.fault.at] ^= 0xFF
            view = memoryview(changed)
        return view, len(view)

    def _send_head(
        self, status: int, headers: Mapping[str, str], length: int, *, close: bool
    ) -> None:
        self.record.status = status
        fields = {"Content-Length": str(length), **self.added, **headers}
        if status in (204, 304):
            del fields["Content-Length"]
        if close:
            fields["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} {responses.get(status, 'Status')}"]
        for name, value in fields.items():
            # Several lines of one name are written as one value with line feeds.
            lines += [f"{name}: {line}" for line in value.split("\n")]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def _send(self, view: memoryview, rate: float | None = None) -> None:
        fault = self.fault
        if isinstance(fault, Drop):
            self._send_pieces(view[: fault.after], rate)
            self.leave(reset=fault.reset)
        elif isinstance(fault, Stall):
            self._send_pieces(view[: fault.after], rate)
            self.pause(fault.seconds)
            self._send_pieces(view[fault.after :], rate)
        elif isinstance(fault, Drip):
            for at in range(len(view)):
                self._send_pieces(view[at : at + 1], rate)
                self.pause(fault.seconds)
        else:
            self._send_pieces(view, rate)

    def _send_pieces(self, view: memoryview, rate: float | None) -> None:
        step = PIECE if rate is None else max(1, min(PIECE, int(rate / 20)))
        begun = time.monotonic()
        for at in range(0, len(view), step):
            piece = view[at : at + step]
            # Counted before, because the client may look at the log as soon as it has the bytes.
            self.record.sent_bytes += len(piece)
            try:
                self.connection.sendall(piece)
            except OSError:
                self.record.sent_bytes -= len(piece)
                raise
            if rate is not None:
                self.pause(begun + (at + len(piece)) / rate - time.monotonic())

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs; Ended when it stops."""
        if seconds > 0 and self._stopping.wait(seconds):
            raise Ended

    def leave(self, *, reset: bool = False) -> NoReturn:
        """End the exchange; the connection follows by FIN or RST, once the server is done.

        The client must not see the end before the registry has drawn its conclusions.
        """
        self._reset = reset
        raise Ended

    def hang_up(self) -> None:
        """End the connection, in the way that was chosen."""
        if self._reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # The connection is open as long as the reader is.
            self._reader.close()
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_WR)
            if self._unread:
                self._stopping.wait(_LINGER_SECONDS)
