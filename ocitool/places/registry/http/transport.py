"""The wire: httpx on top, httpcore below, with reads as large as the network gives.

Every host has its own TLS rules and its own way through proxies; `abort` breaks what is blocked
on a socket.
"""

import contextlib
import importlib.util
import os
import socket
import threading
import time
import typing
from collections.abc import Iterable, Iterator, Mapping

import httpcore
import httpx

from ocitool.errors import Refused, UsageError
from ocitool.places.registry.http.connections import READ, Backend, Connection
from ocitool.places.registry.http.locations import origin
from ocitool.places.registry.http.proxies import proxy_for
from ocitool.places.registry.http.tls import trust
from ocitool.places.registry.http.tracing import Trace, traced
from ocitool.places.registry.options import HostRules, RegistryOptions

FAREWELL = "farewell"
"""A request with this extension is sent even after `abort`: it tidies up at the registry."""
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
    """Sends requests to any host by that host's rules. Safe to use from several threads.

    `rules` may grow meanwhile, as long as there was no request to the host.
    """

    def __init__(
        self,
        options: RegistryOptions,
        environment: Mapping[str, str] | None = None,
        trace: Trace = lambda _: None,
        rules: Mapping[str, HostRules] | None = None,
    ) -> None:
        self._options = options
        self._trace = trace
        self._rules = rules if rules is not None else {}
        self._environment = os.environ if environment is None else environment
        self._backend = Backend()
        self._late_backend = Backend()
        self._pools: dict[tuple[str, str, int | None, bool], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._aborted = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the response is read as it is iterated."""
        if self._aborted and FAREWELL not in request.extensions:
            raise httpx.ReadError("the work was stopped", request=request)
        url = request.url
        pool = self._pool(url.scheme, url.host, url.port)
        with (
            traced(request, self._trace) as answered,
            _translate_errors(request),
            self._named_proxy(request),
        ):
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
            answered(response.status)
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(typing.cast("Iterable[bytes]", response.stream), request),
            extensions=response.extensions,
        )

    def abort(self) -> None:
        """Break every connection, so that every wait for one ends with an error."""
        self._aborted = True
        self._backend.abort()

    def close(self) -> None:
        """Close all connections; harmless when repeated."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _pool(self, scheme: str, host: str, port: int | None) -> httpcore.ConnectionPool:
        # What tidies up after `abort` has connections of its own: all others are broken.
        key = (scheme, host, port, self._aborted)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._new_pool(*key)
            return pool

    @contextlib.contextmanager
    def _named_proxy(self, request: httpx.Request) -> Iterator[None]:
        """Say that it is the proxy that could not be connected to, where there is one."""
        try:
            yield
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            url = request.url
            if proxy_for(url.scheme, url.host, url.port, self._environment) is None:
                raise
            raise httpx.ProxyError(str(error), request=request) from error

    def _new_pool(
        self, scheme: str, host: str, port: int | None, late: bool
    ) -> httpcore.ConnectionPool:
        context = None
        if scheme == "https":
            netloc = _netloc(host, port)
            options = self._options.at(self._rules.get(netloc))
            context = trust(netloc, options, self._environment)
        proxy = proxy_for(scheme, host, port, self._environment)
        return httpcore.ConnectionPool(
            ssl_context=context,
            proxy=self._proxy(proxy) if proxy is not None else None,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._late_backend if late else self._backend,
            socket_options=_KEEP_ALIVE,
        )

    def _proxy(self, url: str) -> httpcore.Proxy:
        try:
            origin(url)
        except Refused as error:
            hint = "look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
            raise UsageError("the proxy's address is not a URL", hint=hint) from error
        parsed = httpx.URL(url)
        if parsed.scheme.startswith("socks5") and importlib.util.find_spec("socksio") is None:
            raise UsageError(
                "proxies that speak socks5 need the package socksio, which is not installed",
                hint="pip install socksio, or name an http proxy",
            )
        context = None
        if parsed.scheme == "https":
            context = trust(_netloc(parsed.host, parsed.port), self._options, self._environment)
        return httpcore.Proxy(
            httpcore.URL(
                scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=b"/"
            ),
            auth=(parsed.username, parsed.password) if parsed.username else None,
            ssl_context=context,
        )


def _netloc(host: str, port: int | None) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


class _Body(httpx.SyncByteStream):
    """The body of a response, with errors in httpx's terms."""

    def __init__(self, parts: Iterable[bytes], request: httpx.Request) -> None:
        self._parts = parts
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _translate_errors(self._request):
            yield from self._parts

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            with contextlib.suppress(httpcore.NetworkError):
                close()


def body_of(response: httpx.Response) -> Iterator[bytes | memoryview]:
    """Yield a body as it arrives. A large one is read past the HTTP library, from the socket.

    That saves four copies of each byte; the connection is not reused then. A part is valid until
    the next one is asked for. Raises httpx.TransportError, also when the body
    ends early.
    """
    parts = response.iter_raw()
    length = response.headers.get("content-length", "")
    stream = response.extensions.get("network_stream")
    if not (
        length.isdigit()
        and int(length) >= _LARGE
        and isinstance(stream, Connection)
        and not stream.nested
        and "transfer-encoding" not in response.headers
    ):
        yield from parts
        return
    # The bytes that arrived with the header are in the HTTP library: it gives them all at once.
    first = next(parts, b"")
    yield first
    remaining = int(length) - len(first)
    timeouts = response.request.extensions.get("timeout", {})
    buffer = memoryview(bytearray(READ))
    wanted = _LEAST_READ
    while remaining:
        began = time.monotonic()
        with _translate_errors(response.request):
            size = stream.receive_into(buffer[: min(remaining, wanted)], timeouts.get("read"))
        if not size:
            raise httpx.RemoteProtocolError("the connection was closed", request=response.request)
        remaining -= size
        yield buffer[:size]
        wanted = _next_size(wanted, time.monotonic() - began)


def _next_size(size: int, seconds: float) -> int:
    """Return how much to wait for next time, so that a slow connection still shows progress."""
    if seconds < _QUICK:
        return min(2 * size, READ)
    return max(size // 2, _LEAST_READ) if seconds > 4 * _QUICK else size


@contextlib.contextmanager
def _translate_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except tuple(kind for kind, _ in _ERRORS) as error:
        ours = next(ours for kind, ours in _ERRORS if isinstance(error, kind))
        raise ours(str(error), request=request) from error
