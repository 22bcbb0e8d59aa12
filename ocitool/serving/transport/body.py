"""The body of a request, read as it arrives (RFC 9112, section 6)."""

import socket
import time

import h11

from ocitool.serving.messages import BODY_CHUNK, BrokenBody
from ocitool.serving.transport.limits import ServerLimits
from ocitool.serving.transport.sending import receive


class IncomingBody:
    """The body of the request that a connection has read the header of."""

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
        self._ended = self._is_whole = False
        self._window = (time.monotonic(), 0)
        self.received = 0

    def read(self) -> bytes | bytearray:
        """Return the next bytes; b"" at the end."""
        if self._ended:
            return b""
        try:
            return self._next()
        except (OSError, h11.RemoteProtocolError) as error:
            self._ended = True
            raise BrokenBody(str(error)) from error

    def _next(self) -> bytes | bytearray:
        protocol = self._protocol
        while True:
            if protocol.they_are_waiting_for_100_continue:
                # Only now: who refuses a request before it reads the body never asks for it.
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._socket.settimeout(self._limits.stalled)
                self._socket.sendall(protocol.send(go_on) or b"")
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                until = time.monotonic() + self._limits.stalled
                protocol.receive_data(receive(self._socket, BODY_CHUNK, until))
            elif isinstance(event, h11.Data):
                self._check_rate(len(event.data))
                return event.data
            elif isinstance(event, h11.EndOfMessage):
                self._ended = self._is_whole = True
                return b""
            else:
                self._ended = True
                raise BrokenBody("the client closed the connection")

    def _check_rate(self, count: int) -> None:
        self.received += count
        began, before = self._window
        now = time.monotonic()
        if now - began < self._limits.stalled:
            return
        if self.received - before < self._limits.slowest_body * self._limits.stalled:
            raise BrokenBody("the body arrives too slowly")
        self._window = (now, self.received)

    def skip(self, most: int) -> bool:
        """Read what is left, up to `most` bytes; tell whether that was all of the body."""
        if self._protocol.they_are_waiting_for_100_continue:
            return False
        left = most
        try:
            while left > 0 and (data := self.read()):
                left -= len(data)
        except BrokenBody:
            return False
        return self._is_whole
