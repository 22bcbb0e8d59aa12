"""The one rule for redirects; where they may lead is the business of a policy.

Registries and token servers both redirect, and differ in what may go along: see `RegistryRedirects`
here and `TokenRedirects` in `auth.token_exchange`.
"""

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

import httpx
from msgspec import Struct

from ocitool.errors import OcitoolError, Refused, Unavailable
from ocitool.places.registry.http import locations

SEE_OTHER = 303
_STATUSES = frozenset({301, 302, SEE_OTHER, 307, 308})

Result = TypeVar("Result")
Steps = Generator[httpx.Request, httpx.Response, Result]


class RedirectPolicy(Protocol):
    """Where redirects may lead, how many are followed, and what does not go along."""

    @property
    def limit(self) -> int:
        """How many redirects of one request are followed."""

    @property
    def dropped_headers(self) -> frozenset[str]:
        """The headers, in lower case, that are not sent on to the next server."""

    def target(self, request: httpx.Request, response: httpx.Response) -> str:
        """Return the URL to go on to; raises where this request must not go."""

    def release(self, response: httpx.Response) -> None:
        """Let go of a response that was a redirect."""

    def too_many(self) -> OcitoolError:
        """Return the error for more redirects than `limit`."""


def follow(request: httpx.Request, policy: RedirectPolicy) -> Steps[httpx.Response]:
    """Yield a request and then the requests that redirects lead to; return the last response.

    The method and the body stay the same. Each request is to be answered by its response, its body
    unread.
    """
    for _ in range(policy.limit + 1):
        response = yield request
        if response.status_code not in _STATUSES or "location" not in response.headers:
            return response
        policy.release(response)
        request = _redirect(request, policy.target(request, response), policy.dropped_headers)
    raise policy.too_many()


def drive(steps: Steps[Result], send: Callable[[httpx.Request], httpx.Response]) -> Result:
    """Send every request that the steps yield; return what they return."""
    request = next(steps)
    while True:
        try:
            request = steps.send(send(request))
        except StopIteration as end:
            result: Result = end.value
            return result


def _redirect(request: httpx.Request, url: str, dropped: frozenset[str]) -> httpx.Request:
    headers = {key: value for key, value in request.headers.items() if key not in dropped}
    moved = httpx.Request(request.method, url, headers=headers, extensions=dict(request.extensions))
    # The headers that say how long the body is were kept. Given as content, even an empty body
    # would be announced as chunks, which storage refuses.
    moved.stream = request.stream
    return moved


class RegistryRedirects(Struct, frozen=True):
    """The policy of a registry's own requests: no credential leaves its host.

    With `insecure` a redirect may lead from https to http.
    """

    domain: str
    limit: int
    insecure: bool
    dropped_headers: frozenset[str] = frozenset({"host", "authorization", "cookie"})

    def target(self, request: httpx.Request, response: httpx.Response) -> str:
        """Return the URL to go on to; Refused where a registry must not send us."""
        if response.status_code == SEE_OTHER and request.method not in ("GET", "HEAD"):
            raise Refused(f"{self.domain} wants an upload to become a download (303)")
        asked = str(request.url)
        url = locations.resolve(response.headers["location"], asked)
        locations.check(url, asked, insecure=self.insecure)
        return url

    def release(self, response: httpx.Response) -> None:
        """Close the response; its body is of no interest."""
        response.close()

    def too_many(self) -> OcitoolError:
        """Return the error for a registry that redirects without end."""
        return Unavailable(
            f"{self.domain} redirects more than {self.limit} times",
            hint="it may be a loop: check any proxy in front of the registry",
        )
