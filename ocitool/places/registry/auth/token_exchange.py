"""The exchange with a token server: requests for a token, wherever they are redirected to."""

from collections.abc import Callable

import httpx
from msgspec import Struct

from ocitool.errors import AccessDenied, OcitoolError
from ocitool.places.registry.auth.token_servers import TokenServerPolicy
from ocitool.places.registry.auth.tokens import Token, TokenRequest, is_unsupported, read_limited
from ocitool.places.registry.http.redirects import Steps, follow

_REDIRECTS = 4


class TokenRedirects(Struct, frozen=True):
    """The policy of requests to token servers: the rules for the first server hold for all.

    The credential goes along, where it may be seen.
    """

    asked: TokenRequest
    servers: TokenServerPolicy
    limit: int = _REDIRECTS
    dropped_headers: frozenset[str] = frozenset({"host"})

    def target(self, request: httpx.Request, response: httpx.Response) -> str:
        """Return the URL to go on to; AccessDenied where the request must not go."""
        url = self.servers.resolve(response.headers["location"], request.url)
        if self.asked.credential is not None:
            self.servers.check_credential(url)
        return str(url)

    def release(self, response: httpx.Response) -> None:
        """Read the response, as httpx wants it of all answers but the last."""
        read_limited(response)

    def too_many(self) -> OcitoolError:
        """Return the error for a token server that redirects without end."""
        return AccessDenied(
            f"the token server {self.asked.where} redirects more than {self.limit} times"
        )


def exchange(
    asked: TokenRequest, servers: TokenServerPolicy, clock: Callable[[], float]
) -> Steps[Token]:
    """Yield the requests that get a token, and return it.

    An identity token is exchanged by POST, and by GET where the server knows no other way. Raises
    what `TokenRequest.read` raises, and AccessDenied when a credential is to go where it may not.
    """
    if asked.refresh_token is not None:
        response = yield from _follow(asked, asked.by_post(), servers)
        if not is_unsupported(response):
            return asked.read(response, clock())
    response = yield from _follow(asked, asked.by_get(), servers)
    return asked.read(response, clock())


def _follow(
    asked: TokenRequest, request: httpx.Request, servers: TokenServerPolicy
) -> Steps[httpx.Response]:
    response = yield from follow(request, TokenRedirects(asked, servers))
    read_limited(response)
    return response
