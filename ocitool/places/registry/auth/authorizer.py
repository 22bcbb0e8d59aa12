"""The auth step of a request: an httpx.Auth that answers a registry's challenges.

No sockets and no environment: tokens are fetched by the client whose requests need them.
"""

import time
from collections.abc import Callable, Generator, Sequence

import httpx

from ocitool.places.registry.auth.flow import AuthFlow
from ocitool.places.registry.auth.state import AuthState
from ocitool.places.registry.auth.token_servers import TokenServerPolicy
from ocitool.places.registry.credentials.credential import Credential
from ocitool.places.registry.http.locations import is_same_host


class Authorizer(httpx.Auth):
    """Answers one registry's challenges. Thread-safe; one per registry host and credential.

    A request to any other origin than `base` goes without Authorization. `find` looks the
    credential up, once and not before a challenge. `allowed_realms` are token servers that may see
    it beside the registry's own and the known ones, `remembered_realms` looks up more of them, and
    with `trusts_own_domain` so may those in the registry's own domain. A request carries as
    extensions "scopes", the rights it needs, and "writing". Only reads continue without the
    credential when that is refused, and `warn` is told. `clock` counts seconds.

    Raises AccessDenied, ServerBusy (which may be tried again), and what `find` raises.
    """

    def __init__(
        self,
        base: httpx.URL,
        *,
        find: Callable[[], Credential | None],
        allowed_realms: Sequence[str] = (),
        remembered_realms: Callable[[], Sequence[str]] = tuple,
        trusts_own_domain: bool = False,
        anonymous_fallback: bool = True,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base = base
        self._state = AuthState(
            TokenServerPolicy(base, tuple(allowed_realms), remembered_realms, trusts_own_domain),
            find=find,
            warn=warn,
            clock=clock,
            is_strict=not anonymous_fallback,
        )

    @property
    def newly_trusted(self) -> str | None:
        """The token server that saw the credential only for being in the registry's own domain."""
        return self._state.newly_trusted

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request with what it needs, and before it the requests that get that."""
        request.headers.pop("authorization", None)
        if is_same_host(str(request.url), str(self.base)):
            yield from AuthFlow(self._state, request).run()
        else:
            yield request
