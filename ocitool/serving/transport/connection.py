"""One connection: requests are read, answered and logged until there is nothing to read.

h11 parses requests. What it lets through and a proxy in front may read otherwise is refused here:
a length together with chunks, and more header fields than anybody needs. Each request gets a parser
of its own, because h11 ends connections of HTTP/1.0 that ask to be kept.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import h11
from msgspec import Struct

from ocitool.serving.messages import Answer, Refusal, Request
from ocitool.serving.transport.body import IncomingBody
from ocitool.serving.transport.limits import ServerLimits
from ocitool.serving.transport.sending import receive, send

_READ = 1 << 16
_SKIPPED = 1 << 20
"""What is read of a body that was refused, so that the connection can be used again."""
_LINGER_MS = 20
"""Milliseconds for which a thread waits for another request before it leaves the connection."""
_BODILESS = (204, 304)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Exchange(Struct, frozen=True, kw_only=True):
    """A request that was answered: how many bytes of the body were sent, and in which time."""

    request: Request
    answer: Answer
    sent: int
    seconds: float
    is_whole: bool


class Host(Protocol):
    """What connections belong to."""

    limits: ServerLimits

    @property
    def is_ending(self) -> bool:
        """Whether connections are to be closed after the request in hand."""

    @property
    def is_crowded(self) -> bool:
        """Whether other connections wait for a thread."""

    def answer(self, request: Request) -> Answer:
        """Answer one request; raises nothing."""

    def log(self, exchange: Exchange) -> None:
        """Note what was answered; raises nothing."""


class Connection:
    """A client's connection; one thread at a time works on it."""

    def __init__(self, sock: socket.socket, client: str, host: Host) -> None:
        self.socket = sock
        self.client = client
        self.since = time.monotonic()
        self._host = host
        self._limits = host.limits
        self._needs_handshake = isinstance(sock, ssl.SSLSocket)
        self._protocol = self._parser(b"")
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def _parser(self, data: bytes) -> h11.Connection:
        most = self._limits.header_bytes
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=most)
        if data:
            parser.receive_data(data)
        return parser

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def serve(self) -> bool:
        """Answer requests until the client is idle (True) or the connection must close (False).

        OSError when the client is gone or does not take its answer.
        """
        if self._needs_handshake and isinstance(self.socket, ssl.SSLSocket):
            self.socket.settimeout(self._limits.handshake)
            self.socket.do_handshake()
            self._needs_handshake = False
        while True:
            asked = self._read_request()
            if asked is None or not self._exchange(asked):
                return False
            if not self._has_more():
                return True

    def _has_more(self) -> bool:
        """Tell whether the next request has begun to arrive, or the client has gone."""
        if self._protocol.trailing_data[0]:
            return True
        if isinstance(self.socket, ssl.SSLSocket):
            return self.socket.pending() > 0
        if self._host.is_crowded:
            return False
        if not self._poll.poll(_LINGER_MS):
            return False
        self._protocol.receive_data(self.socket.recv(_READ))
        return True

    def _read_request(self) -> h11.Request | None:
        """Read a header; None when the client has gone, or was told what is wrong with it."""
        until = time.monotonic() + self._limits.header
        try:
            while True:
                event = self._protocol.next_event()
                if isinstance(event, h11.Request):
                    return event
                if event is not h11.NEED_DATA:
                    return None
                self._protocol.receive_data(receive(self.socket, _READ, until))
        except h11.RemoteProtocolError as error:
            self.refuse(Refusal(error.error_status_hint, "UNSUPPORTED", str(error)))
        except TimeoutError:
            if self._protocol.trailing_data[0]:
                message = "the header did not arrive in time"
                self.refuse(Refusal(408, "UNSUPPORTED", message))
        return None

    def refuse(self, refusal: Refusal) -> None:
        """Answer something that is not a request that can be read; then the connection must close.

        What has arrived is read first, so that closing does not cost the client our answer.
        """
        answer = refusal.answer()
        assert isinstance(answer.body, bytes)  # noqa: S101
        send(self.socket, _head(answer, "close"), answer.body, self._limits.handshake)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            until, left = time.monotonic() + 1.0, _SKIPPED
            while left > 0 and (data := receive(self.socket, _READ, until)):
                left -= len(data)

    def _exchange(self, event: h11.Request) -> bool:
        """Answer one request; tell whether the connection can be used again."""
        began = time.monotonic()
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
        body = IncomingBody(self._protocol, self.socket, self._limits, _length(headers))
        request = Request(
            method=event.method.decode("ascii"),
            target=_origin_form(event.target.decode("latin-1")),
            headers=headers,
            body=body,
            client=self.client,
        )
        problem = _problem(event, headers, self._limits.header_fields)
        answer = self._host.answer(request) if problem is None else problem.answer()
        sent, is_whole = 0, False
        try:
            is_kept = problem is None and self._can_be_kept(event, headers, body)
            head = _head(
                answer,
                ("keep-alive" if event.http_version == b"1.0" else None) if is_kept else "close",
            )
            content = b"" if event.method == b"HEAD" else answer.body
            sent = send(self.socket, head, content, self._limits.stalled)
            is_whole = True
        finally:
            answer.close()
            self._host.log(
                Exchange(
                    request=request,
                    answer=answer,
                    sent=sent,
                    seconds=time.monotonic() - began,
                    is_whole=is_whole,
                )
            )
        if is_kept:
            self._protocol = self._parser(body.rest)
        return is_kept

    def _can_be_kept(
        self, event: h11.Request, headers: Mapping[str, str], body: IncomingBody
    ) -> bool:
        wishes = {wish.strip().lower() for wish in headers.get("connection", "").split(",")}
        wanted = "keep-alive" in wishes if event.http_version == b"1.0" else "close" not in wishes
        return wanted and not self._host.is_ending and body.skip(_SKIPPED)


def _head(answer: Answer, connection: str | None) -> bytes:
    """Return the status line and the header of an answer."""
    fields = dict(answer.headers)
    if answer.status not in _BODILESS:
        fields["Content-Length"] = str(len(answer.body))
    fields["Date"] = _date(int(time.time()))
    # Old dockers look for it.
    fields["Docker-Distribution-Api-Version"] = "registry/2.0"
    if connection is not None:
        fields["Connection"] = connection
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    status = f"{answer.status} {_REASONS.get(answer.status, '')}"
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1", "replace")


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)


def _origin_form(target: str) -> str:
    """Return the path and query of a target, which may be a whole URL (RFC 9112, section 3.2)."""
    if target.startswith("/"):
        return target
    _, separator, rest = target.partition("://")
    return f"/{rest.partition('/')[2]}" if separator else f"/{target}"


def _length(headers: Mapping[str, str]) -> int | None:
    """Return how long the body is; None if only its end will tell."""
    if "transfer-encoding" in headers:
        return None
    # h11 has checked that it is a number.
    return int(headers.get("content-length", "0"))


def _problem(event: h11.Request, headers: Mapping[str, str], most: int) -> Refusal | None:
    if "content-length" in headers and "transfer-encoding" in headers:
        return Refusal(400, "UNSUPPORTED", "Content-Length and Transfer-Encoding in one request")
    if len(event.headers) > most:
        return Refusal(431, "UNSUPPORTED", f"more than {most} header fields")
    return None
