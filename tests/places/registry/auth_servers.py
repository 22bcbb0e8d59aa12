"""A registry and its token server behind a transport of the tests, and a client that asks them."""

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import httpx

from ocitool.places.registry.auth.authorizer import Authorizer
from ocitool.places.registry.credentials.credential import Credential

HOST = "registry.example"
BASE = f"https://{HOST}"
PULL = ("repository:a/b:pull",)
PUSH = ("repository:a/b:pull,push", "repository:c/d:pull")
SECRET = "canary-s3cret"
USER = Credential(username="ann", password=SECRET, origin="/home/ann/.docker/config.json")
IDENTITY = Credential(identity_token=SECRET, origin="/home/ann/.docker/config.json")
REGISTRY_TOKEN = Credential(registry_token=SECRET, origin="/home/ann/.docker/config.json")


def refused(*challenges: str) -> httpx.Response:
    return httpx.Response(401, headers=[("WWW-Authenticate", text) for text in challenges])


def basic_of(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def form_of(request: httpx.Request) -> dict[str, list[str]]:
    return parse_qs(request.content.decode())


@dataclass
class Servers:
    """A registry that takes the tokens of its token server; tests replace what either does."""

    realm: str = f"{BASE}/token"
    error: str = ""
    lifetime: object = 300
    log: list[httpx.Request] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)
    registry: Callable[[httpx.Request], httpx.Response] | None = None
    tokens: Callable[[httpx.Request], httpx.Response] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        # A request that is sent again is the same object with another header.
        seen = httpx.Request(
            request.method, request.url, headers=request.headers, extensions=request.extensions
        )
        is_token = request.url.path == httpx.URL(self.realm).path
        assert isinstance(request.stream, httpx.SyncByteStream)
        seen._content = b"".join(request.stream)
        with self.lock:
            self.log.append(seen)
        if is_token:
            return (self.tokens or self.issue)(request)
        self.bodies.append(seen.content)
        return (self.registry or self.answer)(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and token in self.valid:
            return httpx.Response(200, text="content")
        return refused(self.challenge)

    @property
    def challenge(self) -> str:
        return f'Bearer realm="{self.realm}",service="registry"{self.error}'

    def issue(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            token = f"token-{len(self.issued) + 1}"
            self.issued.append(token)
            self.valid.add(token)
        return httpx.Response(200, json={"token": token, "expires_in": self.lifetime})

    def asked(self, path: str = "/token") -> list[httpx.Request]:
        return [request for request in self.log if request.url.path == path]

    @property
    def sent(self) -> list[str | None]:
        """The Authorization of each request to the registry."""
        path = httpx.URL(self.realm).path
        return [
            request.headers.get("authorization")
            for request in self.log
            if request.url.path not in (path, "/v2/")
        ]


class Wire(httpx.BaseTransport):
    """Hands requests over without reading their bodies, and answers without theirs being read."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.servers(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=answer.stream)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """A client that sends through an authorizer."""

    def __init__(
        self,
        servers: Servers,
        credential: Credential | None = None,
        *,
        allowed: tuple[str, ...] = (),
        fallback: bool = True,
        base: str = BASE,
    ) -> None:
        self.servers = servers
        self.clock = Clock()
        self.warnings: list[str] = []
        self.lookups = 0
        self._credential = credential
        self.base = base
        self.authorizer = Authorizer(
            httpx.URL(base),
            find=self._find,
            allowed_realms=allowed,
            anonymous_fallback=fallback,
            warn=self.warnings.append,
            clock=self.clock,
        )
        self.client = httpx.Client(transport=Wire(servers))

    def _find(self) -> Credential | None:
        self.lookups += 1
        return self._credential

    def send(
        self,
        method: str = "GET",
        url: str | None = None,
        *,
        scopes: tuple[str, ...] = PULL,
        writing: bool = False,
        content: httpx.SyncByteStream | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        request = self.client.build_request(
            method,
            url or f"{self.base}/v2/a/b/tags/list",
            content=content,
            headers=headers,
            extensions={"scopes": scopes, "writing": writing},
        )
        return self.client.send(request, auth=self.authorizer, stream=True)


class Pieces(httpx.SyncByteStream):
    """A body that can be iterated again, and counts how often it was."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.times = 0
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        self.times += 1
        for part in self.parts:
            self.taken += 1
            yield part
