"""The server: one thread accepts and watches idle connections, others answer requests.

A thread works on a connection only while there is a request in it, so a thousand idle clients cost
a socket each. Threads are started as they are needed, up to the number of clients that are served
at a time; a connection that waits too long for one is told to come again.
"""

import collections
import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable

from ocitool.serving.messages import Answer, Refusal, Request
from ocitool.serving.transport.connection import Connection, Exchange
from ocitool.serving.transport.limits import ServerLimits

_TICK = 0.25
_POLITE = 64
"""How many clients at a time are told that there is no room; others are cut."""


class Server:
    """Serves on a listening socket until it is stopped. `run` is called once, in any thread."""

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Request], Answer],
        log: Callable[[Exchange], None],
        *,
        limits: ServerLimits | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.answer = answer
        self.log = log
        self._listener = listener
        self._tls = tls
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._waiting: collections.deque[Connection] = collections.deque()
        self._busy: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        self._returned: collections.deque[Connection] = collections.deque()
        self._threads = self._free = 0
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._waker.setblocking(False)
        self._deadline: float | None = None
        self._refusing = threading.Semaphore(_POLITE)

    @property
    def is_ending(self) -> bool:
        """Whether the server was told to stop."""
        return self._deadline is not None

    @property
    def is_crowded(self) -> bool:
        """Whether connections wait for a thread."""
        return bool(self._waiting)

    def stop(self, drain: float | None = None) -> None:
        """Stop: requests in hand may take `drain` seconds. May be called from a signal handler."""
        self._deadline = time.monotonic() + (self.limits.drain if drain is None else drain)
        self._wake()

    def run(self, ending: Callable[[int], None] = lambda _count: None) -> None:
        """Serve until `stop`; return when the last request is answered or cut.

        `ending` is told at once how many requests are waited for, unless there are none.
        """
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)
        try:
            while not self.is_ending:
                self._step()
            self._listener.close()
            if count := len(self._busy) + len(self._waiting):
                ending(count)
            self._drain()
        finally:
            self._listener.close()
            self._end()

    def _step(self) -> None:
        for key, _ in self._selector.select(_TICK):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._awake:
                with contextlib.suppress(OSError):
                    self._awake.recv(4096)
            else:
                self._begin(key.data)
        self._take_back()
        self._close_old()

    # Connections.

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # There are no descriptors left, or the client has gone already.
                self._close_oldest()
                time.sleep(0.01)
                return
            if len(self._idle) + len(self._busy) >= self.limits.connections:
                self._close_oldest()
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = str(address[0]) if isinstance(address, tuple) else "unix"
            try:
                connection = Connection(self._secured(sock), client, self)
            except (OSError, ValueError):
                sock.close()
                continue
            self._watch(connection)

    def _secured(self, sock: socket.socket) -> socket.socket:
        if self._tls is None:
            return sock
        # The handshake is a matter of the thread that serves the connection.
        return self._tls().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _watch(self, connection: Connection) -> None:
        connection.since = time.monotonic()
        self._idle[connection] = None
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _unwatch(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._selector.unregister(connection.socket)

    def _begin(self, connection: Connection) -> None:
        """Give a connection with a request in it to a thread."""
        self._unwatch(connection)
        connection.since = time.monotonic()
        with self._work:
            self._waiting.append(connection)
            if self._free < len(self._waiting) and self._threads < self.limits.clients:
                self._threads += 1
                threading.Thread(target=self._worker, daemon=True).start()
            self._work.notify()

    def _take_back(self) -> None:
        """Watch the connections that threads are done with."""
        while self._returned:
            connection = self._returned.popleft()
            if self.is_ending:
                connection.close()
            else:
                self._watch(connection)

    def _close_old(self) -> None:
        """Close idle connections, and turn away those that have waited too long for a thread."""
        now = time.monotonic()
        while self._idle:
            oldest = next(iter(self._idle))
            if now - oldest.since < self.limits.idle:
                break
            self._unwatch(oldest)
            oldest.close()
        with self._lock:
            late = []
            while self._waiting and now - self._waiting[0].since > self.limits.queued:
                late.append(self._waiting.popleft())
        for connection in late:
            self._turn_away(connection)

    def _close_oldest(self) -> None:
        oldest = next(iter(self._idle), None)
        if oldest is not None:
            self._unwatch(oldest)
            oldest.close()

    def _turn_away(self, connection: Connection) -> None:
        if not self._refusing.acquire(blocking=False):
            connection.close()
            return

        def refuse() -> None:
            busy = Refusal(
                503, "TOOMANYREQUESTS", "too many requests at once", headers={"Retry-After": "1"}
            )
            with contextlib.suppress(OSError):
                connection.refuse(busy)
            connection.close()
            self._refusing.release()

        threading.Thread(target=refuse, daemon=True).start()

    # Threads.

    def _worker(self) -> None:
        while True:
            with self._work:
                self._free += 1
                while not self._waiting:
                    self._work.wait()
                self._free -= 1
                connection = self._waiting.popleft()
                self._busy.add(connection)
            is_kept = False
            try:
                is_kept = connection.serve()
            except OSError:
                # A client that goes away is not an error.
                pass
            except Exception as error:
                # Whatever a client managed to break is its connection alone.
                self._tell(f"{type(error).__name__}: {error}")
            finally:
                with self._lock:
                    self._busy.discard(connection)
                if is_kept:
                    self._returned.append(connection)
                else:
                    connection.close()
                if is_kept or self.is_ending:
                    self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    # The end.

    def _drain(self) -> None:
        for connection in list(self._idle):
            self._unwatch(connection)
            connection.close()
        while (self._busy or self._waiting) and time.monotonic() < (self._deadline or 0):
            self._selector.select(0.05)
            with contextlib.suppress(OSError):
                self._awake.recv(4096)
            self._take_back()

    def _end(self) -> None:
        with self._lock:
            left = [*self._waiting, *self._busy, *self._idle, *self._returned]
            self._waiting.clear()
        for connection in left:
            # The thread that works on it gets an error; it closes the socket.
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 2.0
        while self._busy and time.monotonic() < until:
            time.sleep(0.01)
        self._selector.close()
        self._awake.close()
        self._waker.close()
