"""Messages to and from token servers: requests for a token, and their answers.

Nothing here sends anything: `TokenRequest` builds requests and reads answers (distribution's
"Token Authentication" and "OAuth2 Token Authentication").
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx

from ocitool.errors import AccessDenied, LimitExceeded, MalformedDocument
from ocitool.oci import DEFAULT_LIMITS
from ocitool.oci.document import decode_object
from ocitool.places.registry.credentials.credential import Credential, how_to_mend
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.retrying import RETRIED_STATUS, ServerBusy

_CLIENT = "ocitool"
_SHORTEST_LIFETIME = 60.0
_MARGIN_SECONDS, _MARGIN_SHARE = 60.0, 0.2
_SHOWN = 200
_SHARED_HEADERS = ("user-agent", "accept-encoding")
_REFUSALS = frozenset({400, 401, 403})
_NO_SUCH_METHOD = frozenset({404, 405})
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_SECRET_FIELD = re.compile(r'("[a-z_]*token"\s*:\s*")[^"]*', re.IGNORECASE)


class CredentialRefused(AccessDenied):
    """A token server refuses the credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token. `received` is by the local clock; a server's own may be wrong. In seconds."""

    value: str = field(repr=False)
    scopes: tuple[str, ...]
    received: float
    lifetime: float

    def lasts(self, now: float) -> bool:
        """Tell whether enough of its life is left to begin a request with it."""
        left = self.received + self.lifetime - now
        return left > min(_MARGIN_SECONDS, _MARGIN_SHARE * self.lifetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is asked of a token server; without a `credential` the request is anonymous."""

    realm: httpx.URL
    service: str
    scopes: tuple[str, ...]
    credential: Credential | None
    registry: str
    headers: Mapping[str, str]
    extensions: Mapping[str, object] = field(repr=False)

    @property
    def where(self) -> str:
        """The token server without its query, for messages."""
        return f"{self.realm.scheme}://{self.realm.netloc.decode('ascii')}{self.realm.path}"

    @property
    def refresh_token(self) -> str | None:
        """The identity token that the server is to exchange, if that is what the credential is."""
        return self.credential.identity_token if self.credential is not None else None

    def by_get(self) -> httpx.Request:
        """Return the request as GET, with a parameter for each scope."""
        parameters = [("service", self.service)] if self.service else []
        # Some servers read only the first scope: the caller puts the one to push to there.
        parameters += [("scope", scope) for scope in self.scopes]
        headers = dict(self.headers)
        if self.credential is not None:
            if self.credential.username:
                parameters.append(("account", _printable(self.credential.username)))
            headers["Authorization"] = basic_header(self.credential)
        url = locations.with_query(str(self.realm), parameters) if parameters else self.realm
        return self._request("GET", url, headers, None)

    def by_post(self) -> httpx.Request:
        """Return the request as POST, which exchanges an identity token for an access token."""
        form = {
            "grant_type": "refresh_token",
            "client_id": _CLIENT,
            "refresh_token": self.refresh_token or "",
        }
        if self.service:
            form["service"] = self.service
        if self.scopes:
            form["scope"] = " ".join(self.scopes)
        headers = {**self.headers, "Content-Type": "application/x-www-form-urlencoded"}
        content = urlencode(form, errors="surrogateescape").encode("ascii")
        return self._request("POST", self.realm, headers, content)

    def read(self, response: httpx.Response, now: float) -> Token:
        """Return the token of an answer that was read.

        Raises CredentialRefused, ServerBusy, or AccessDenied when there is none in it.
        """
        status = response.status_code
        if status in RETRIED_STATUS or status >= 500:
            raise ServerBusy(
                f"the token server {self.where} answered {status}",
                status=status,
                headers=response.headers,
            )
        if status in _REFUSALS:
            raise self._refusal(response)
        found = _fields(response.content) if status < 300 else {}
        value = found.get("token") or found.get("access_token")
        if not isinstance(value, str) or not _SENDABLE.fullmatch(value):
            raise AccessDenied(
                f"no token in response from {self.where}: {self._excerpt(response)}",
                hint=self._hint(),
            )
        lifetime = max(_SHORTEST_LIFETIME, _seconds(found.get("expires_in")))
        return Token(value=value, scopes=self.scopes, received=now, lifetime=lifetime)

    def _request(
        self, method: str, url: httpx.URL | str, headers: Mapping[str, str], content: bytes | None
    ) -> httpx.Request:
        return httpx.Request(
            method, url, headers=headers, content=content, extensions=dict(self.extensions)
        )

    def _refusal(self, response: httpx.Response) -> AccessDenied:
        said = self._excerpt(response)
        answered = f"answered {response.status_code}: {said}" if said else "refused"
        if self.credential is None:
            return AccessDenied(
                f"{self.registry} wants credentials: {self.where} {answered}",
                hint=self._hint(),
            )
        return CredentialRefused(
            f"the credential for {self.registry} from {self.credential.origin} was refused: "
            f"{self.where} {answered}",
            hint=how_to_mend(self.registry, self.credential.origin),
        )

    def _hint(self) -> str:
        return f"ocitool login {self.registry}"

    def _excerpt(self, response: httpx.Response) -> str:
        """Return the beginning of an answer, without anything that is secret."""
        text = _SECRET_FIELD.sub(r"\1***", response.content.decode("utf-8", "replace"))
        for secret in _secrets(self.credential):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_SHOWN]


def is_unsupported(response: httpx.Response) -> bool:
    """Tell whether a token server does not know the POST form, and is to be asked by GET."""
    return response.status_code in _NO_SUCH_METHOD


def basic_header(credential: Credential) -> str:
    """Return the credential as the value of an Authorization header (RFC 7617)."""
    pair = ":".join(credential.pair).encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def shared_headers(request: httpx.Request) -> dict[str, str]:
    """Return the headers that the requests for a token share with the one that needs it."""
    return {key: request.headers[key] for key in _SHARED_HEADERS if key in request.headers}


def bearer_header(credential: Credential) -> str:
    """Return a credential's registry token as the value of an Authorization header."""
    token = credential.registry_token or ""
    if not _SENDABLE.fullmatch(token):
        raise AccessDenied(f"the registry token from {credential.origin} is damaged")
    return f"Bearer {token}"


def read_limited(response: httpx.Response, limit: int = DEFAULT_LIMITS.token_bytes) -> None:
    """Read an answer whose length only its sender knows, up to `limit` bytes."""
    # Compressed, a small answer could become a large one; none was asked for.
    response.headers.pop("content-encoding", None)
    if isinstance(response.stream, httpx.SyncByteStream) and not response.is_stream_consumed:
        response.stream = _Bounded(response.stream, limit)
    response.read()


class _Bounded(httpx.SyncByteStream):
    """The beginning of a stream."""

    def __init__(self, stream: httpx.SyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for part in self._stream:
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    def close(self) -> None:
        self._stream.close()


def _fields(body: bytes) -> Mapping[str, object]:
    try:
        return decode_object(body, what="the answer", limit=DEFAULT_LIMITS.token_bytes)
    except (MalformedDocument, LimitExceeded):
        return {}


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return number if number < float("inf") else 0.0


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _secrets(credential: Credential | None) -> Sequence[str]:
    if credential is None:
        return ()
    parts = (credential.password, credential.identity_token, credential.registry_token)
    plain = [part for part in parts if part]
    escaped = [json.dumps(part)[1:-1] for part in plain]
    return [basic_header(credential).removeprefix("Basic "), *escaped, *plain]
