"""A client that does exactly what it is told, for tests of the test servers themselves."""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: HTTPMessage
    body: bytes


def connect(
    host: str, tls: ssl.SSLContext | None = None, timeout: float = TIMEOUT
) -> http.client.HTTPConnection:
    """Return a connection to "address:port"."""
    if tls is not None:
        return http.client.HTTPSConnection(host, timeout=timeout, context=tls)
    return http.client.HTTPConnection(host, timeout=timeout)


def send(
    host: str,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT,
) -> Reply:
    """Send one request on a connection of its own, and read the answer."""
    connection = connect(host, tls, timeout)
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()
