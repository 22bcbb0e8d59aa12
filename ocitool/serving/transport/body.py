"""The body of a request, read as it arrives (RFC 9112, section 6)."""

import socket
import time

import h11

from ocitool.serving.messages import BODY_CHUNK, BrokenBody
from ocitool.serving.transport.limits import ServerLimits
from ocitool.serving.transport.sending import set_timeout


class IncomingBody:
    """The body of the request that a connection has read the header of.

    One of a known length is read from the socket itself: h11 would copy every byte three times.
    """

    def __init__(
        self,
        protocol: h11.Connection,
        sock: socket.socket,
        limits: ServerLimits,
        length: int | None,
    ) -> None:
        self.length = length
        self._protocol = protocol
        self._socket = sock
        self._limits = limits
        self._early = b"" if length is None else bytes(protocol.trailing_data[0])
        self._left = length or 0
        self._is_whole = length == 0
        self._ended = self._is_whole
        self._window = (time.monotonic(), 0)
        self._received = 0

    @property
    def rest(self) -> bytes:
        """What has arrived after the body: the beginning of the next request."""
        return self._early if self.length is not None else bytes(self._protocol.trailing_data[0])

    def read(self) -> bytes | bytearray:
        """Return the next bytes; b"" at the end."""
        if self._ended:
            return b""
        try:
            if self._received == 0:
                self._ask_for_it()
            data = self._next_chunk() if self.length is None else self._next_bytes()
            self._check_rate(len(data))
        except (OSError, h11.RemoteProtocolError) as error:
            self._ended = True
            raise BrokenBody(str(error)) from error
        except BrokenBody:
            self._ended = True
            raise
        return data

    def _ask_for_it(self) -> None:
        """Say that the body may come, to a client that waits for that (RFC 9110, section 10.1.1).

        Only now: who refuses a request before it reads the body never asks for it.
        """
        set_timeout(self._socket, self._limits.stalled)
        if self._protocol.they_are_waiting_for_100_continue and not self._early:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._socket.sendall(self._protocol.send(go_on) or b"")

    def _next_bytes(self) -> bytes:
        if self._early:
            data, self._early = self._early[: self._left], self._early[self._left :]
        else:
            data = self._socket.recv(min(BODY_CHUNK, self._left))
        if not data:
            raise BrokenBody("the client closed the connection")
        self._left -= len(data)
        if not self._left:
            self._ended = self._is_whole = True
        return data

    def _next_chunk(self) -> bytes | bytearray:
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(self._socket.recv(BODY_CHUNK))
            elif isinstance(event, h11.Data):
                return event.data
            elif isinstance(event, h11.EndOfMessage):
                self._ended = self._is_whole = True
                return b""
            else:
                raise BrokenBody("the client closed the connection")

    def _check_rate(self, count: int) -> None:
        self._received += count
        began, before = self._window
        now = time.monotonic()
        if now - began < self._limits.stalled:
            return
        if self._received - before < self._limits.slowest_body * self._limits.stalled:
            raise BrokenBody("the body arrives too slowly")
        self._window = (now, self._received)

    def skip(self, most: int) -> bool:
        """Read what is left, up to `most` bytes; tell whether that was all of the body."""
        if self._is_whole:
            return True
        if self._protocol.they_are_waiting_for_100_continue and self._received == 0:
            return False
        left = most
        try:
            while left > 0 and (data := self.read()):
                left -= len(data)
        except BrokenBody:
            return False
        return self._is_whole
