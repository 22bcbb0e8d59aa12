"""A server that nobody should visit with a secret."""

import base64
import threading
from collections.abc import Mapping

from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer, ServerTls

_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")


class Trap(RecordingServer):
    """Answers every request alike, and remembers all that came."""

    def __init__(
        self,
        status: int = 404,
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        super().__init__(tls)
        self._answer = (status, body, {"Content-Type": "application/json", **(headers or {})})
        self._bodies: list[bytes] = []
        self._lock = threading.Lock()

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        body = exchange.body()
        with self._lock:
            self._bodies.append(body)
        exchange.answer(*self._answer)

    @property
    def credentials(self) -> list[str]:
        """The headers that came and can carry a credential, as "name: value"."""
        return [
            f"{name}: {logged.headers[name]}"
            for logged in list(self.log)
            for name in _SECRET_HEADERS
            if name in logged.headers
        ]

    def saw(self, secret: str) -> bool:
        """Tell whether a text came in a target, header or body, plainly or within base64."""
        parts = [body.decode("latin-1") for body in self._bodies]
        for logged in list(self.log):
            parts += [logged.target, *logged.headers.values()]
        words = [word for part in parts for word in part.replace("&", " ").split()]
        return any(secret in text for text in (*parts, *map(_decoded, words)))


def _decoded(word: str) -> str:
    try:
        return base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_").decode("latin-1")
    except ValueError:
        return ""
