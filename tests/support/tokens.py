"""A token server: the other half of Bearer authentication. distribution, "Token Authentication".

It answers GET with Basic credentials (or none) and POST in the way of OAuth 2. Its tokens are RS256
JWTs that Debian's docker-registry trusts, or opaque words that the emulated registry looks up.
"""

import base64
import binascii
import json
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

from tests.support.certificates import openssl, self_signed
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer, ServerTls

Actions = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuirks:
    """How the token server behaves. Times are in seconds.

    `expires_in` is what it says about `lifetime`; -1 leaves it out. `never` are actions that it
    silently does not grant. `body` replaces every answer.
    """

    users: Mapping[str, str] = field(default_factory=lambda: {"user": "pass"})
    refresh_tokens: frozenset[str] = frozenset({"identity"})
    anonymous: Actions = frozenset()
    never: Actions = frozenset()
    lifetime: float = 300.0
    expires_in: int | None = None
    field_name: Literal["token", "access_token"] = "token"
    post_status: int | None = None  # 404 or 405: only GET is known
    first_scope_only: bool = False
    clock_ahead: float = 0.0  # of `issued_at`
    status: int = 200
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows, by "TYPE:NAME", until a moment of the monotonic clock."""

    actions: Mapping[str, Actions]
    until: float


class TokenOffice:
    """Hands out tokens and knows what they allow. Safe to use from several threads."""

    def __init__(self, quirks: TokenQuirks | None = None, signer: "Signer | None" = None) -> None:
        self.quirks = quirks or TokenQuirks()
        self._signer = signer
        self._grants: dict[str, Grant] = {}
        self._lock = threading.Lock()

    def grant_of(self, token: str) -> Grant | None:
        """Return what a token allows; None when it is unknown or too old."""
        grant = self._grants.get(token)
        return grant if grant is not None and time.monotonic() < grant.until else None

    def revoke_all(self) -> None:
        """Make every token that was handed out worthless."""
        with self._lock:
            self._grants.clear()

    def issue(self, user: str | None, scopes: Iterable[str], service: str) -> str:
        """Return a new token for scopes such as "repository:a/b:pull,push"."""
        quirks = self.quirks
        actions: dict[str, Actions] = {}
        for scope in scopes:
            resource, _, wanted = scope.rpartition(":")
            asked = frozenset(wanted.split(",")) - quirks.never
            given = asked if user is not None else asked & quirks.anonymous
            actions[resource] = actions.get(resource, frozenset()) | given
        token = secrets.token_urlsafe(24)
        if self._signer is not None:
            token = self._signer.token(user or "", actions, service, quirks.lifetime)
        with self._lock:
            self._grants[token] = Grant(actions, time.monotonic() + quirks.lifetime)
        return token

    def answer(self, exchange: Exchange) -> None:
        """Answer a request for a token."""
        quirks = self.quirks
        if exchange.method == "POST" and quirks.post_status is not None:
            exchange.answer(quirks.post_status, b"no such thing")
            return
        form = parse_qs(
            exchange.body().decode() if exchange.method == "POST" else exchange.raw_query
        )
        known, user = self._identity(exchange, form)
        if not known:
            body = b'{"details":"incorrect username or password"}'
            exchange.answer(401, body, {"Content-Type": "application/json"})
            return
        if quirks.body is not None:
            exchange.answer(quirks.status, quirks.body, {"Content-Type": "application/json"})
            return
        scopes = form.get("scope", [])
        scopes = scopes[:1] if quirks.first_scope_only else scopes
        words = [word for scope in scopes for word in scope.split()]
        token = self.issue(user, words, form.get("service", [""])[0])
        exchange.answer(quirks.status, self._body(token), {"Content-Type": "application/json"})

    def _body(self, token: str) -> bytes:
        quirks = self.quirks
        issued = time.gmtime(time.time() + quirks.clock_ahead)
        fields: dict[str, object] = {
            quirks.field_name: token,
            "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", issued),
            "expires_in": int(quirks.lifetime) if quirks.expires_in is None else quirks.expires_in,
        }
        if fields["expires_in"] == -1:
            del fields["expires_in"]
        return json.dumps(fields).encode()

    def _identity(
        self, exchange: Exchange, form: Mapping[str, list[str]]
    ) -> tuple[bool, str | None]:
        """Tell whether the caller may have tokens, and as whom."""
        quirks = self.quirks
        if exchange.method != "POST":
            header = exchange.headers.get("Authorization")
            return (True, None) if header is None else _login(basic(header), quirks.users)
        kind = form.get("grant_type", [""])[0]
        if kind == "refresh_token":
            return form.get("refresh_token", [""])[0] in quirks.refresh_tokens, "identity"
        pair = (form.get("username", [""])[0], form.get("password", [""])[0])
        return _login(pair if kind == "password" else None, quirks.users)


def _login(pair: tuple[str, str] | None, users: Mapping[str, str]) -> tuple[bool, str | None]:
    if pair is None or users.get(pair[0]) != pair[1]:
        return False, None
    return True, pair[0]


def basic(header: str) -> tuple[str, str] | None:
    """Return the name and password of an Authorization header, or None for any other."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, password


class Signer:
    """Signs JWTs by `openssl dgst -sign`. `certificate` is a docker-registry's rootcertbundle."""

    issuer = "Test Issuer"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        pair = self_signed(folder, "token", "tokens", new_key=("-newkey", "rsa:2048", "-nodes"))
        self.certificate, self._key = pair.certificate, pair.key
        lines = self.certificate.read_text().splitlines()
        self._x5c = "".join(line for line in lines if not line.startswith("-----"))

    def token(
        self, subject: str, actions: Mapping[str, Actions], service: str, lifetime: float
    ) -> str:
        """Return a JWT. RFC 7519; distribution, "Token Authentication Implementation"."""
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": sorted(granted)}
            for (kind, _, name), granted in (
                (resource.partition(":"), granted) for resource, granted in actions.items()
            )
        ]
        claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": service,
            "iat": now,
            "nbf": now - 5,
            "exp": now + int(lifetime),
            "jti": secrets.token_hex(8),
            "access": access,
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._x5c]}
        signed = f"{_coded(json.dumps(header).encode())}.{_coded(json.dumps(claims).encode())}"
        signature = openssl("dgst", "-sha256", "-sign", self._key, stdin=signed.encode())
        return f"{signed}.{_coded(signature)}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer(RecordingServer):
    """A token server on a port of its own; `realm` is what challenges should name."""

    def __init__(self, office: TokenOffice, tls: ServerTls | None = None) -> None:
        super().__init__(tls)
        self.office = office
        self.realm = f"{self.url}/token"

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        if exchange.path == "/token":
            self.office.answer(exchange)
        else:
            exchange.answer(404, b"not here")
