"""Connections that can be broken from another thread, and that read much at a time.

httpcore reads 64 KiB at a time, and over TLS gets one record of 16 KiB. The connections here read
up to 1 MiB, and over TLS continue as long as records have already arrived.
"""

import contextlib
import os
import socket
import ssl
import struct
import threading
import typing
from collections.abc import Callable, Iterable
from weakref import WeakSet

import httpcore

READ = 1 << 20
_TURN = 0.2
"""How often, in seconds, a waiting connect looks whether the work was stopped."""


class Backend(httpcore.NetworkBackend):
    """Opens connections and remembers them, so that `abort` can break them. Thread-safe."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()
        self._breakers: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._aborted = threading.Event()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host; ConnectError also when `abort` was called meanwhile."""
        attempt = _Attempt(
            lambda: self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        )
        while not attempt.finished.wait(_TURN):
            if self._aborted.is_set():
                attempt.forget()
                raise httpcore.ConnectError("the work was stopped")
        stream = attempt.result()
        breaker = socket.socket(fileno=os.dup(stream.get_extra_info("socket").fileno()))
        self._remember(breaker)
        return Connection(stream, breaker)

    def _remember(self, breaker: socket.socket) -> None:
        with self._lock:
            self._breakers.add(breaker)
            if self._aborted.is_set():
                _break(breaker)

    def abort(self) -> None:
        """Break all connections, and those that are being made."""
        with self._lock:
            self._aborted.set()
            for breaker in list(self._breakers):
                _break(breaker)


def _break(breaker: socket.socket) -> None:
    with contextlib.suppress(OSError):
        breaker.shutdown(socket.SHUT_RDWR)


class _Attempt:
    """A connection in the making, in a thread: nothing else can leave a resolver to itself."""

    def __init__(self, connect: Callable[[], httpcore.NetworkStream]) -> None:
        self.finished = threading.Event()
        self._connect = connect
        self._stream: httpcore.NetworkStream | None = None
        self._error: Exception | None = None
        self._forgotten = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def result(self) -> httpcore.NetworkStream:
        """Return the connection, or raise the reason for its failure."""
        if self._stream is None:
            raise self._error or httpcore.ConnectError("the connection could not be made")
        return self._stream

    def forget(self) -> None:
        """Have the connection closed as soon as it is made."""
        with self._lock:
            self._forgotten = True
            if self._stream is not None:
                self._stream.close()

    def _run(self) -> None:
        try:
            stream = self._connect()
            with self._lock:
                self._stream = stream
                if self._forgotten:
                    stream.close()
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            self._error = error
        except UnicodeError as error:
            # A label that is empty or too long: such a host there cannot be.
            self._error = httpcore.ConnectError(f"no host name: {error}")
        finally:
            self.finished.set()


class Connection(httpcore.NetworkStream):
    """A connection that gives all that has arrived, up to 1 MiB at a time.

    `breaker` is another handle of its socket: what breaks it needs no lock and no TLS. `nested`
    says that there is TLS within TLS, which is read by the HTTP library alone.
    """

    def __init__(
        self, stream: httpcore.NetworkStream, breaker: socket.socket, *, nested: bool = False
    ) -> None:
        self._stream = stream
        self._breaker = breaker
        self._socket: socket.socket = stream.get_extra_info("socket")
        self._kernel_timeout: float | None = None
        self.nested = nested

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has arrived, b"" at the end."""
        if self.nested or not isinstance(self._socket, ssl.SSLSocket):
            return self._stream.read(max(max_bytes, READ), timeout)
        buffer = memoryview(bytearray(READ))
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
            seconds, rest = divmod(timeout or 0.0, 1)
            pause = struct.pack("@ll", int(seconds), int(rest * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pause)
            self._kernel_timeout = timeout
        self._socket.settimeout(None)
        try:
            return self._socket.recv_into(buffer, 0, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError("no byte arrived in time") from error

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
        """Send all of a buffer, without a copy of what is left after each part of it."""
        if self.nested:
            self._stream.write(buffer, timeout)
            return
        rest = memoryview(buffer)
        try:
            self._socket.settimeout(timeout)
            while rest:
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self._stream.close()
        self._breaker.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the same connection with TLS on it."""
        is_secured = isinstance(self._socket, ssl.SSLSocket)
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            self._breaker.close()
            raise
        return Connection(secured, self._breaker, nested=is_secured)

    def get_extra_info(self, info: str) -> typing.Any:
        """Return what the HTTP library wants to know of the connection."""
        return self._stream.get_extra_info(info)
