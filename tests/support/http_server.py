"""A server for tests that logs every request and commits the faults it was told to."""

import contextlib
import os
import re
import socket
import socketserver
import ssl
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.http_exchange import Ended, Exchange, Logged
from tests.support.registry_faults import Delay, Fault, HangUp, Schedule, Status

_JOIN_SECONDS = 5.0
_LINGER_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """A certificate and its key; with `client_ca`, clients must show one of that authority."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class RecordingServer(ThreadingHTTPServer):
    """HTTP/1.1 with keep-alive on a free port of the loopback, a thread for each connection.

    Subclasses answer in `respond`. Leaving the block ends all connections and threads; an error in
    `respond` that is not the connection's is raised there.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls: ServerTls | None = None, address: str = "127.0.0.1") -> None:
        self.log: list[Logged] = []
        self.stopping = threading.Event()
        self.scheme = "http" if tls is None else "https"
        self._context = None if tls is None else tls.context()
        self._schedule = Schedule()
        self._connections: set[socket.socket] = set()
        self._workers: list[threading.Thread] = []
        self._defects: list[BaseException] = []
        super().__init__((address, 0), _Handler)
        self.host = f"{address}:{self.server_port}"
        self.url = f"{self.scheme}://{self.host}"

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        raise NotImplementedError

    def requests(self, method: str | None = None, pattern: str | None = None) -> list[Logged]:
        """Return what was logged, of a method and with a target where `pattern` is found."""
        return [
            logged
            for logged in list(self.log)
            if method in (None, logged.method)
            and (pattern is None or re.search(pattern, logged.target))
        ]

    def fail(
        self, method: str, pattern: str, fault: Fault, *, times: int = 1, after: int = 0
    ) -> None:
        """Commit a fault on requests of a method ("*": any) whose target `pattern` is found in."""
        self._schedule.add(method, pattern, fault, times, after)

    def serve(self, exchange: Exchange) -> None:
        """Answer one request, with its fault."""
        fault = exchange.fault
        if isinstance(fault, HangUp) and not fault.processed:
            exchange.leave(reset=fault.reset)
        if isinstance(fault, Status):
            exchange.fault = None
            exchange.body()
            exchange.answer(fault.status, fault.body, fault.headers)
            return
        if isinstance(fault, Delay):
            exchange.pause(fault.seconds)
        self.respond(exchange)

    def fault_for(self, method: str, target: str) -> Fault | None:
        """Return the fault that a request meets."""
        return self._schedule.take(method, target)

    # What socketserver asks for.

    def __enter__(self) -> Self:
        serving = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        self._workers.append(serving)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.shutdown()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself
        for thread in self._workers:
            thread.join(_JOIN_SECONDS)
        self.server_close()
        if self._defects and error is None:
            raise self._defects[0]

    def server_bind(self) -> None:
        """Bind without asking for the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; the handshake is left to the connection's own thread."""
        connection, address = self.socket.accept()
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request: object, client_address: object) -> None:
        """Start a thread for a connection, and remember both."""
        assert isinstance(request, socket.socket)
        self._connections.add(request)
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._workers.append(thread)
        thread.start()

    def shutdown_request(self, request: object) -> None:
        """Close a connection and forget it."""
        assert isinstance(request, socket.socket)
        super().shutdown_request(request)
        self._connections.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep an error that is not the connection's."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self._defects.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RecordingServer
    raw_requestline: bytes

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            try:
                self.request.do_handshake()
            except OSError:
                _let_read(self.request)
                raise
        super().setup()

    def _serve(self) -> None:
        # `self.path` is no longer what was sent: http.server joins slashes at its start.
        target = self.raw_requestline.split(b" ")[1].decode("latin-1")
        names = dict.fromkeys(name.lower() for name in self.headers)
        headers = {name: ", ".join(self.headers.get_all(name, ())) for name in names}
        record = Logged(self.command, target, headers, headers.get("host", ""))
        fault = self.server.fault_for(self.command, target)
        self.server.log.append(record)
        exchange = Exchange(
            record, self.headers, self.connection, self.rfile, fault, self.server.stopping
        )
        try:
            self.server.serve(exchange)
        except Ended:
            self.close_connection = True
            exchange.hang_up()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the log is for the test."""


def _let_read(connection: ssl.SSLSocket) -> None:
    """Wait until the client has read the alert: closing over unread bytes would destroy it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as raw, contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(_LINGER_SECONDS)
        while raw.recv(1 << 12):
            pass
