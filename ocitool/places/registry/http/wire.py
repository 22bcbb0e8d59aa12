"""The innermost step of a request: it is sent once, when its host may be asked."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from ocitool.errors import Refused
from ocitool.places.registry.http.backoff import HostBackoff, quota_left
from ocitool.places.registry.http.retrying import RETRIED_STATUS

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Wire:
    """Sends requests of one registry. `warn` is told what the registry says to its users."""

    client: httpx.Client
    domain: str
    backoff: HostBackoff
    warn: Callable[[str], None]

    def send(self, request: httpx.Request, auth: httpx.Auth) -> httpx.Response:
        """Send a request once and return its response, the body unread.

        `auth` answers challenges on the way. Raises httpx.TransportError and what `auth` raises.
        """
        self.backoff.enter()
        try:
            # A copy, as the body is read with less patience than an answer is waited for.
            request.extensions["timeout"] = dict(request.extensions["timeout"])
            response = self.client.send(request, auth=auth, stream=True)
        except httpx.RemoteProtocolError as error:
            # The library reads a Location even when it is told not to follow it.
            if "location header" in str(error):
                raise bad_address(self.domain, error) from error
            raise
        finally:
            self.backoff.leave()
        self.backoff.has_answered = True
        self.backoff.quota = quota_left(response.headers) or self.backoff.quota
        self._hear_warnings(response)
        if response.status_code not in RETRIED_STATUS:
            self.backoff.note_success()
        return response

    def _hear_warnings(self, response: httpx.Response) -> None:
        for text in response.headers.get_list("warning"):
            code, _, rest = text.partition(" ")
            said = rest.partition(" ")[2].strip().strip('"') if code == "299" else ""
            if said:
                self.warn(f"{self.domain} says: {said[:_SHOWN]}")


def bad_address(domain: str, error: Exception) -> Refused:
    """Return the error for a URL of the registry that cannot be read."""
    return Refused(f"{domain} sent us to what is not an address: {error}")
