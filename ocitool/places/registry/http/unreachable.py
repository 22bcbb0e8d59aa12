"""What it means that a registry could not be talked to, and what a person can do about it."""

import re

import httpx

from ocitool.errors import AccessDenied, OcitoolError, Unavailable
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http.problems import PLAIN_HINT, PROXY_HINT
from ocitool.places.registry.http.retrying import is_about_tls

_WENT_AWAY = "it has answered before: look whether it still runs, then try again"
_NUMBER = re.compile(r"^\[Errno -?\d+\] ")


def unreachable(
    domain: str,
    error: httpx.TransportError,
    *,
    wants_tls: bool = False,
    has_answered: bool = False,
) -> OcitoolError:
    """Return the error for a registry whose connection failed.

    `wants_tls` says that it was spoken to in plain http and answers to TLS, `has_answered` that it
    has answered to this run.
    """
    other = _other_host(domain, error)
    about = f"{domain} cannot be reached"
    if other is not None:
        about = f"{domain} sends us to {other}, which cannot be reached"
    if isinstance(error, httpx.ProxyError):
        if str(error).startswith("407"):
            return AccessDenied(f"{about}: the proxy answered {error}", hint=PROXY_HINT)
        return Unavailable(
            f"{about} through the proxy: {error}", hint="look at HTTPS_PROXY and NO_PROXY"
        )
    if is_about_tls(error):
        return Unavailable(f"{about} by TLS: {error}", hint=_tls_hint(str(error)))
    if wants_tls:
        return Unavailable(f"{about} by plain http: {_reason(error)}", hint=PLAIN_HINT)
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"{domain} did not answer in time: {_reason(error)}")
    if has_answered and other is None:
        return Unavailable(f"{about} any more: {_reason(error)}", hint=_WENT_AWAY)
    hint = _network_hint(str(error)) or (PLAIN_HINT if _spoke_plain_http(error) else None)
    return Unavailable(f"{about}: {_reason(error)}", hint=hint)


def _spoke_plain_http(error: httpx.TransportError) -> bool:
    """Tell whether an answer to a request without TLS broke off or was not HTTP."""
    try:
        plain = error.request.url.scheme == "http"
    except RuntimeError:
        return False
    return plain and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)


def _other_host(domain: str, error: httpx.TransportError) -> str | None:
    """Return the host that was asked, when it is another one than the registry's own."""
    try:
        asked = error.request.url
    except RuntimeError:
        return None
    netloc = asked.netloc.decode("ascii", "replace")
    usual = 443 if asked.scheme == "https" else 80
    spellings = {netloc.lower(), f"{netloc.lower()}:{asked.port or usual}"}
    return None if spellings & {domain.lower(), Host(domain).address.lower()} else netloc


def _reason(error: Exception) -> str:
    return _NUMBER.sub("", str(error)) or type(error).__name__


def _tls_hint(text: str) -> str:
    if "self-signed" in text or "unable to get local issuer" in text:
        return (
            "name its authority with --ca-cert FILE or put it into certs.d; "
            "--insecure verifies nothing"
        )
    if "expired" in text:
        return "its certificate has expired, or the clock here is wrong"
    if "Hostname mismatch" in text or "doesn't match" in text or "IP address mismatch" in text:
        return "the certificate is for another host: look at the name"
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        return "it does not speak TLS: --plain-http, if that is meant"
    if "CERTIFICATE_REQUIRED" in text or "alert" in text:
        return "it wants a client certificate: --client-cert and --client-key"
    return "look at the certificate, at --ca-cert and at --client-cert"


def _network_hint(text: str) -> str | None:
    if "Name or service not known" in text or "name resolution" in text or "nodename" in text:
        return "there is no such host name: look at the name and at the network"
    if "refused" in text:
        return "nothing listens there: look at the host and the port"
    return None
