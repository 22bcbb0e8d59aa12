"""The exchange with a token server: from what is asked to the token, wherever it is sent on to."""

from collections.abc import Callable, Generator

import httpx

from ocitool.places.registry.auth.token_servers import RealmPolicy
from ocitool.places.registry.auth.tokens import (
    Token,
    TokenRequest,
    bound,
    is_unsupported,
    moved,
    redirect_of,
)

_REDIRECTS = 5


def exchanged(
    asked: TokenRequest, realms: RealmPolicy, clock: Callable[[], float]
) -> Generator[httpx.Request, httpx.Response, Token]:
    """Yield the requests that get a token, and return it.

    An identity token is exchanged by POST, and by GET where the server knows no other way. Raises
    what `TokenRequest.read` raises, and AccessDenied when a credential is to go where it may not.
    """
    if asked.refresh_token is not None:
        response = yield from _followed(asked, asked.by_post(), realms)
        if not is_unsupported(response):
            return asked.read(response, clock())
    response = yield from _followed(asked, asked.by_get(), realms)
    return asked.read(response, clock())


def _followed(
    asked: TokenRequest, request: httpx.Request, realms: RealmPolicy
) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
    """Send a request, and on to where the server says, by the rules for the first server."""
    for _ in range(_REDIRECTS):
        if asked.credential is not None:
            realms.check_credential(request.url)
        response = yield request
        bound(response)
        location = redirect_of(response)
        if location is None:
            break
        request = moved(request, realms.resolved(location, request.url))
    return response
