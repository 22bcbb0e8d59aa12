"""The wire: httpx on top, httpcore below, with reads as large as the network gives.

httpcore reads 64 KiB at a time, and over TLS gets one record of 16 KiB. The streams here read up
to 1 MiB, and over TLS go on as long as records have already arrived. Every host has its own TLS
rules and its own way through proxies; `abort` breaks what is blocked on a socket.
"""

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from weakref import WeakSet

import httpcore
import httpx

from ocitool.registry.options import RegistryOptions
from ocitool.registry.proxies import proxy_for
from ocitool.registry.tls import trust

FAREWELL = "farewell"
"""A request with this extension is sent even after `abort`: it tidies up at the registry."""
_READ = 1 << 20
_LEAST_READ = 64 << 10
_QUICK = 0.05
_LARGE = 16 << 20
_CONNECTIONS = 64
_KEPT_SECONDS = 30.0
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
)
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


class Transport(httpx.BaseTransport):
    """Sends requests to any host by that host's rules. Safe to use from several threads."""

    def __init__(
        self, options: RegistryOptions, environment: Mapping[str, str] | None = None
    ) -> None:
        self._options = options
        self._environment = os.environ if environment is None else environment
        self._backend = _Backend()
        self._pools: dict[tuple[str, str, int | None], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._aborted = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the response comes as it is read."""
        if self._aborted and FAREWELL not in request.extensions:
            raise httpx.ReadError("the work was stopped", request=request)
        url = request.url
        pool = self._pool(url.scheme, url.host, url.port)
        with _translated(request):
            response = pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme,
                        host=url.raw_host,
                        port=url.port,
                        target=url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=typing.cast("Iterable[bytes]", request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(typing.cast("Iterable[bytes]", response.stream), request),
            extensions=response.extensions,
        )

    def abort(self) -> None:
        """Break every connection, so that whoever waits on one goes on with an error."""
        self._aborted = True
        self._backend.abort()

    def close(self) -> None:
        """Close all connections; harmless when repeated."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _pool(self, scheme: str, host: str, port: int | None) -> httpcore.ConnectionPool:
        with self._lock:
            pool = self._pools.get((scheme, host, port))
            if pool is None:
                pool = self._pools[scheme, host, port] = self._new_pool(scheme, host, port)
            return pool

    def _new_pool(self, scheme: str, host: str, port: int | None) -> httpcore.ConnectionPool:
        netloc = host if port is None else f"{host}:{port}"
        context = trust(netloc, self._options, self._environment) if scheme == "https" else None
        proxy = proxy_for(scheme, host, port, self._environment)
        return httpcore.ConnectionPool(
            ssl_context=context,
            proxy=_proxy(proxy) if proxy is not None else None,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._backend,
            socket_options=_KEEP_ALIVE,
        )


def _proxy(url: str) -> httpcore.Proxy:
    parsed = httpx.URL(url)
    auth = (parsed.username, parsed.password) if parsed.username else None
    return httpcore.Proxy(
        httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=b"/"),
        auth=auth,
    )


class _Body(httpx.SyncByteStream):
    """The body of a response, with errors in httpx's terms."""

    def __init__(self, parts: Iterable[bytes], request: httpx.Request) -> None:
        self._parts = parts
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _translated(self._request):
            yield from self._parts

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            with contextlib.suppress(httpcore.NetworkError):
                close()


def body_of(response: httpx.Response) -> Iterator[bytes | memoryview]:
    """Yield a body as it comes. A large one is read past the HTTP library, from the socket.

    That saves four copies of each byte; the connection is not used again then. What is yielded
    is good until the next part is asked for. Raises httpx.TransportError, also when the body
    ends early.
    """
    parts = response.iter_raw()
    length = response.headers.get("content-length", "")
    stream = response.extensions.get("network_stream")
    if not (
        length.isdigit()
        and int(length) >= _LARGE
        and isinstance(stream, _Stream)
        and "transfer-encoding" not in response.headers
    ):
        yield from parts
        return
    # What came with the header is with the HTTP library: it gives all of that at once.
    first = next(parts, b"")
    yield first
    remaining = int(length) - len(first)
    timeouts = response.request.extensions.get("timeout", {})
    buffer = memoryview(bytearray(_READ))
    wanted = _LEAST_READ
    while remaining:
        began = time.monotonic()
        with _translated(response.request):
            size = stream.receive_into(buffer[: min(remaining, wanted)], timeouts.get("read"))
        if not size:
            raise httpx.RemoteProtocolError("the connection was closed", request=response.request)
        remaining -= size
        yield buffer[:size]
        wanted = _next_size(wanted, time.monotonic() - began)


def _next_size(size: int, seconds: float) -> int:
    """Return how much to wait for next time, so that a slow connection still shows progress."""
    if seconds < _QUICK:
        return min(2 * size, _READ)
    return max(size // 2, _LEAST_READ) if seconds > 4 * _QUICK else size


@contextlib.contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        for kind, ours in _ERRORS:
            if isinstance(error, kind):
                raise ours(str(error), request=request) from error
        raise


class _Backend(httpcore.NetworkBackend):
    """Opens connections and remembers them, so that `abort` can break them."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._remember)

    def _remember(self, found: socket.socket) -> None:
        with self._lock:
            self._sockets.add(found)

    def abort(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Stream(httpcore.NetworkStream):
    """A connection that gives all that has arrived, up to 1 MiB at a time."""

    def __init__(
        self, stream: httpcore.NetworkStream, remember: Callable[[socket.socket], None]
    ) -> None:
        self._stream = stream
        self._remember = remember
        self._socket: socket.socket = stream.get_extra_info("socket")
        self._kernel_timeout: float | None = None
        if isinstance(self._socket, socket.socket):
            remember(self._socket)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._stream.read(max(max_bytes, _READ), timeout)
        buffer = memoryview(bytearray(_READ))
        return bytes(buffer[: self.receive_into(buffer, timeout)])

    def receive_into(self, buffer: memoryview, timeout: float | None) -> int:
        """Fill a buffer, or as much of it as there is; 0 at the end.

        The size of the buffer is the limit: past the body another answer may begin. A wait for
        `timeout` seconds without a byte raises.
        """
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.settimeout(timeout)
                size = self._socket.recv_into(buffer)
                return size + self._receive_more(buffer[size:]) if size else 0
            return self._receive_all_into(buffer, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def _receive_all_into(self, buffer: memoryview, timeout: float | None) -> int:
        """Have the kernel fill the buffer in one call, and give up by its own clock."""
        if self._kernel_timeout != timeout:
            whole = int(timeout or 0)
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, 0)
            )
            self._kernel_timeout = timeout
        self._socket.settimeout(None)
        try:
            return self._socket.recv_into(buffer, 0, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError("no byte came in time") from error

    def _receive_more(self, buffer: memoryview) -> int:
        """Add the records that have arrived already; a TLS read returns one of them."""
        size = 0
        self._socket.settimeout(0)
        try:
            while size < len(buffer) and (part := self._socket.recv_into(buffer[size:])):
                size += part
        except OSError:
            pass  # Nothing more for now; what is wrong with the connection shows at the next read.
        return size

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(secured, self._remember)

    def get_extra_info(self, info: str) -> typing.Any:
        return self._stream.get_extra_info(info)
