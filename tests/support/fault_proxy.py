"""Proxies: one that spoils TCP connections to any server, and one for CONNECT."""

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from tests.support.http_exchange import PIECE, Ended, Exchange
from tests.support.http_server import RecordingServer
from tests.support.tokens import basic

_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFault:
    """What happens to a connection after so many bytes from the client ("up") or server ("down").

    "stall" waits `seconds` and goes on; `times` is the number of connections that it meets.
    """

    action: Literal["close", "reset", "stall"]
    direction: Literal["up", "down"] = "down"
    after: int = 0
    seconds: float = 0.0
    times: int = 1


class FaultProxy:
    """Passes TCP connections on to a server, "address:port", until a fault is due.

    `connections` counts those that came, `passed` the bytes of each direction.
    """

    def __init__(self, target: str, *faults: TcpFault) -> None:
        self.connections = 0
        self.passed = {"up": 0, "down": 0}
        self._target = target
        self._left = [(fault, fault.times) for fault in faults]
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._sockets: list[socket.socket] = []
        self._workers: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        # A listener that is only closed leaves `accept` waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in list(self._sockets):
            _shut(each, socket.SHUT_RDWR)
        for worker in list(self._workers):
            worker.join(_SECONDS)
        for each in (self._listener, *self._sockets):
            each.close()

    def _start(self, run: Callable[[], None]) -> None:
        worker = threading.Thread(target=run, daemon=True)
        self._workers.append(worker)
        worker.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = connected(self._target)
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            fault = self._take()
            up = fault if fault is not None and fault.direction == "up" else None
            down = fault if fault is not None and fault.direction == "down" else None
            self._start(lambda a=client, b=server, f=up: self._pump("up", a, b, f))  # type: ignore[misc]
            self._start(lambda a=server, b=client, f=down: self._pump("down", a, b, f))  # type: ignore[misc]

    def _take(self) -> TcpFault | None:
        with self._lock:
            for at, (fault, left) in enumerate(self._left):
                if left:
                    self._left[at] = (fault, left - 1)
                    return fault
        return None

    def _pump(
        self,
        direction: Literal["up", "down"],
        source: socket.socket,
        sink: socket.socket,
        fault: TcpFault | None,
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                if fault is not None and passed == fault.after:
                    self._commit(fault, source, sink)
                    fault = None
                room = PIECE if fault is None else min(PIECE, fault.after - passed)
                data = source.recv(room)
                if not data:
                    break
                sink.sendall(data)
                passed += len(data)
                with self._lock:
                    self.passed[direction] += len(data)
        _shut(sink, socket.SHUT_WR)

    def _commit(self, fault: TcpFault, source: socket.socket, sink: socket.socket) -> None:
        if fault.action == "stall":
            self._stopping.wait(fault.seconds)
            return
        client = source if fault.direction == "up" else sink
        for each in (source, sink):
            if fault.action == "reset" and each is client:
                reset(each)
            else:
                _shut(each, socket.SHUT_RDWR)


class ConnectProxy(RecordingServer):
    """A proxy for CONNECT, and for plain requests with an absolute target.

    The log tells which targets were asked for. With `user`, it demands Basic credentials by 407.
    `routes` leads names such as "registry.example:443" to "address:port".
    """

    def __init__(
        self, user: tuple[str, str] | None = None, routes: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._user = user
        self._routes = dict(routes or {})

    def respond(self, exchange: Exchange) -> None:
        """Pass one request on, or open a tunnel."""
        header = exchange.headers.get("Proxy-Authorization", "")
        if self._user is not None and basic(header) != self._user:
            exchange.answer(407, b"", {"Proxy-Authenticate": 'Basic realm="proxy"'})
        elif exchange.method == "CONNECT":
            self._tunnel(exchange)
        else:
            self._forward(exchange)

    def _tunnel(self, exchange: Exchange) -> None:
        try:
            server = connected(self._routes.get(exchange.target, exchange.target))
        except OSError:
            exchange.answer(502, b"no such server")
            return
        exchange.record.status = 200
        client = exchange.connection
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(_SECONDS)
        raise Ended

    def _forward(self, exchange: Exchange) -> None:
        parts = urlsplit(exchange.target)
        asked = parts.netloc if parts.port else f"{parts.netloc}:80"
        kept = {
            name: value
            for name, value in exchange.headers.items()
            if not name.lower().startswith(("proxy-", "connection", "content-length"))
        }
        target = exchange.target.partition(parts.netloc)[2] or "/"
        connection = http.client.HTTPConnection(self._routes.get(asked, asked), timeout=_SECONDS)
        with contextlib.closing(connection):
            connection.request(exchange.method, target, exchange.body(), kept)
            response = connection.getresponse()
            headers = {
                name: value
                for name, value in response.headers.items()
                if name.lower() not in ("content-length", "connection")
            }
            length = int(response.headers.get("Content-Length", "0"))
            exchange.answer(response.status, response.read(), headers, length=length)


def connected(target: str) -> socket.socket:
    """Return a connection to "address:port"."""
    address, _, port = target.rpartition(":")
    connection = socket.create_connection((address.strip("[]"), int(port)), timeout=_SECONDS)
    connection.settimeout(None)
    return connection


def reset(connection: socket.socket) -> None:
    """End a connection by RST, even while another thread waits for it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # A thread that waits in `recv` would keep the connection open.
    _shut(connection, socket.SHUT_RD)
    connection.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            sink.sendall(data)
    _shut(sink, socket.SHUT_WR)


def _shut(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(how)
