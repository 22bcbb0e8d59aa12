"""Answering a registry's challenges, as an httpx.Auth: requests go in, authorized ones come out.

No sockets and no environment: tokens are fetched by the client whose requests need them.
"""

import time
from collections.abc import Callable, Generator, Sequence

import httpx

from ocitool.places.registry.auth.flow import Conversation
from ocitool.places.registry.auth.state import Knowledge
from ocitool.places.registry.auth.token_servers import RealmPolicy
from ocitool.places.registry.auth.tokens import TokenServerBusy
from ocitool.places.registry.credentials.credential import Credential
from ocitool.places.registry.http.locations import is_same_host

__all__ = ["Authorizer", "TokenServerBusy"]


class Authorizer(httpx.Auth):
    """Answers one registry's challenges. Thread-safe; one per registry host and credential.

    A request to any other origin than `base` goes without Authorization. `find` looks the
    credential up, once and not before a challenge comes. `allowed_realms` are hosts that may see
    it beside the registry's own and the known ones. A request carries as extensions "scopes", the
    rights it needs, and "writing". Only reading goes on without the credential when that is
    refused, and says so through `warn`. `clock` counts seconds.

    Raises AccessDenied, TokenServerBusy (which may be tried again), and what `find` raises.
    """

    def __init__(
        self,
        base: httpx.URL,
        *,
        find: Callable[[], Credential | None],
        allowed_realms: Sequence[str] = (),
        anonymous_fallback: bool = True,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base = base
        self._known = Knowledge(
            RealmPolicy(base, tuple(allowed_realms)),
            find=find,
            warn=warn,
            clock=clock,
            is_strict=not anonymous_fallback,
        )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request with what it needs, and before it the requests that get that."""
        request.headers.pop("authorization", None)
        if is_same_host(str(request.url), str(self.base)):
            yield from Conversation(self._known, request).flow()
        else:
            yield request
