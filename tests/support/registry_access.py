"""Who may do what in the emulated registry. distribution-spec, "Authentication"; RFC 7235."""

import re
from collections.abc import Iterator

from tests.support.http_exchange import Exchange
from tests.support.registry_quirks import Access
from tests.support.registry_state import Refusal
from tests.support.tokens import Actions, TokenOffice, basic

_REPOSITORY = re.compile(r"/v2/(?P<name>.+?)/(?:blobs|manifests|tags|referrers)/").match
_READING = ("GET", "HEAD")
Needs = dict[str, Actions]


class Gate:
    """Lets requests pass or refuses them with a challenge that names `realm`."""

    def __init__(self, access: Access, office: TokenOffice, realm: str) -> None:
        self._access = access
        self._office = office
        self._realm = realm

    def check(self, exchange: Exchange) -> None:
        """Refuse a request that lacks the right credentials."""
        access = self._access
        ping = exchange.path in ("/v2", "/v2/")
        if access.scheme == "none" or (ping and access.open_ping):
            return
        header = exchange.headers.get("Authorization")
        reading = exchange.method in _READING and not ping
        if header is None and reading and access.anonymous_pull:
            return
        needs = dict(_needs(exchange))
        if access.scheme == "basic":
            self._check_password(header, ping, needs)
        else:
            self._check_token(header, ping, needs)

    def _check_password(self, header: str | None, ping: bool, needs: Needs) -> None:
        pair = None if header is None else basic(header)
        if pair is None or self._access.users.get(pair[0]) != pair[1]:
            raise self._refusal(401, ping, needs)

    def _check_token(self, header: str | None, ping: bool, needs: Needs) -> None:
        scheme, _, token = (header or "").partition(" ")
        grant = self._office.grant_of(token) if scheme.lower() == "bearer" else None
        if grant is None:
            raise self._refusal(401, ping, needs, None if header is None else "invalid_token")
        for resource, actions in needs.items():
            if not actions <= grant.actions.get(resource, frozenset()):
                status = self._access.denied_status
                raise self._refusal(status, ping, needs, "insufficient_scope")

    def _refusal(self, status: int, ping: bool, needs: Needs, error: str | None = None) -> Refusal:
        access = self._access
        headers = {}
        at = access.challenge_at
        if status == 401 and (at == "always" or (at == "ping" and ping)):
            # One line for each: a line feed separates them.
            headers["WWW-Authenticate"] = "\n".join(self._challenges(needs, error))
        code = "UNAUTHORIZED" if status == 401 else "DENIED"
        return Refusal(status, code, "authentication required", headers)

    def _challenges(self, needs: Needs, error: str | None) -> Iterator[str]:
        access = self._access
        scope = " ".join(
            f"{resource}:{','.join(sorted(actions))}" for resource, actions in needs.items()
        )
        for challenge in access.challenges or ():
            yield (
                challenge.replace("{realm}", self._realm)
                .replace("{service}", access.service)
                .replace("{scope}", scope)
            )
        if access.challenges is not None:
            return
        if access.scheme == "basic":
            yield 'Basic realm="Emulated"'
            return
        parts = [f'realm="{self._realm}"', f'service="{access.service}"']
        parts += [f'scope="{scope}"'] if scope else []
        parts += [f'error="{error}"'] if error else []
        yield f"Bearer {','.join(parts)}"


def _needs(exchange: Exchange) -> Iterator[tuple[str, Actions]]:
    """Yield what a request needs, the written repository first."""
    if exchange.path == "/v2/_catalog":
        yield "registry:catalog", frozenset({"*"})
    found = _REPOSITORY(exchange.path)
    if found is None:
        return
    if exchange.method in _READING:
        actions = {"pull"}
    elif exchange.method == "DELETE" and "/uploads/" not in exchange.path:
        actions = {"delete"}
    else:
        actions = {"pull", "push"}
    yield f"repository:{found['name']}", frozenset(actions)
    source = exchange.query("from") if exchange.method == "POST" else None
    if source is not None and source != found["name"]:
        yield f"repository:{source}", frozenset({"pull"})
