"""An engine on a unix socket that gives the answers it was told to, and remembers the questions."""

import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Answer = Callable[[str, str], tuple[int, bytes]]
"""Gives the status and the body for a method and a path."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def engine(path: Path, answer: Answer) -> Iterator[list[str]]:
    """Serve on a socket for the block; yields what was asked, such as "GET /images/json"."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.drain()
            status, body = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_POST = do_GET  # noqa: N815 - the server looks for these names

        def drain(self) -> None:
            """Read a body that is sent in chunks."""
            while self.headers.get("Transfer-Encoding") == "chunked":
                size = int(self.rfile.readline(), 16)
                self.rfile.read(size + 2)
                if not size:
                    return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def address_string(self) -> str:
            """A client on a unix socket has no address."""
            return "unix"

    with _UnixServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
