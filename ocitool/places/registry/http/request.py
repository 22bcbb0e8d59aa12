"""Requests to registries and their answers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from msgspec import Struct

from ocitool.oci import Limits
from ocitool.places.registry.http.stalls import watch

_ERROR_BODIES = 16
"""An answer without a limit of its own may be this many times as long as an error's text."""


class Request(Struct, frozen=True):
    """One request to a registry.

    `scopes` are the rights that it needs, as a token server is asked for them. A `body` that is a
    stream is iterated anew for every attempt.
    """

    method: str
    url: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes | httpx.SyncByteStream | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response whose body was read, up to a limit. `url` is the one that answered in the end."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    url: str

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode("utf-8", "replace")


def read(response: httpx.Response, limits: Limits, limit: int | None = None) -> Answer:
    """Read the body of a response, up to a little more than `limit` bytes, and close it.

    The caller looks at the length if it set a limit. Raises httpx.TransportError for content that
    was cut off; a refusal counts even when its text was cut off.
    """
    most = limits.error_body_bytes * _ERROR_BODIES if limit is None else limit
    parts: list[bytes] = []
    size = 0
    stalls = watch(response, limits)
    try:
        for part in response.iter_raw():
            stalls.saw(len(part), response.request)
            parts.append(part)
            size += len(part)
            if size > most:
                break
    except httpx.TransportError:
        if response.status_code < 300:
            raise
    finally:
        response.close()
    return Answer(
        status=response.status_code,
        headers=response.headers,
        body=b"".join(parts),
        url=str(response.request.url),
    )
