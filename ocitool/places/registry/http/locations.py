"""Where a registry sends us, and whether we go there.

A Location is opaque: its bytes are kept, as the state of an upload is in them (distribution-spec,
"Pushing blobs"). Only the scheme and port that a registry behind a TLS proxy gets wrong
about itself are repaired.
"""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httpx

from ocitool.errors import Refused
from ocitool.oci.quoting import quoted
from ocitool.places.registry.hosts import is_inner

_HOST = re.compile(r"[\w.:-]+")
_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of a URL, the port filled in; Refused when it is not a URL.

    The host is the one to which the request will go: read by the library that sends it.
    """
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise _not_a_url(url) from error
    is_port = parts.port is None or 0 < parts.port < 1 << 16
    if not is_port or not _HOST.fullmatch(parts.host):
        raise _not_a_url(url)
    return parts.scheme, parts.host.lower(), parts.port or _PORTS.get(parts.scheme, 0)


def resolve(location: str, asked: str) -> str:
    """Return the URL of a Location in the answer to a request for the URL `asked`.

    The same host by plain http where https was used, or without the port that was used, is what
    a registry says that does not know of the proxy before it: it is put right. Refused for what
    is not a URL.
    """
    if location.startswith("/") and not location.startswith("//"):
        scheme, _, rest = asked.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}{location}"
    try:
        url = location if "://" in location[:12] else urljoin(asked, location)
        return _repair(url, urlsplit(url), urlsplit(asked))
    except ValueError as error:
        raise _not_a_url(location) from error


def _repair(url: str, theirs: SplitResult, ours: SplitResult) -> str:
    if theirs.hostname != ours.hostname:
        return url
    if ours.scheme == "https" and theirs.scheme == "http":
        url = f"https{url[4:]}"
    if theirs.port is None and ours.port is not None:
        url = url.replace(f"://{theirs.netloc}", f"://{ours.netloc}", 1)
    return url


def _not_a_url(text: str) -> Refused:
    return Refused(
        f"the registry sent us to {quoted(text[:80])}, which is not an address",
        hint="the registry, or a proxy in front of it, is broken",
    )


def check(url: str, asked: str, *, insecure: bool) -> None:
    """Raise Refused where a registry must not send us.

    From https to http, unless `insecure`; and from elsewhere to this machine or its own link,
    where services trust every caller.
    """
    scheme, host, _ = origin(url)
    was, source, _ = origin(asked)
    if scheme not in _PORTS:
        raise Refused(f"{source} sent us to {quoted(url[:80])}, which is not an http address")
    if was == "https" and scheme == "http" and not insecure:
        raise Refused(
            f"{source} sent us from https to plain http at {host}",
            hint="content would travel in the open; --insecure allows it",
        )
    if is_inner(host) and not is_inner(source):
        raise Refused(f"{source} sent us to {host}, an address inside this machine or network")


def with_query(url: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Add parameters to a URL as text, keeping the rest as it is."""
    added = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters)
    return f"{url}{'&' if '?' in url else '?'}{added}"


def is_same_host(url: str, asked: str) -> bool:
    """Tell whether two URLs are of one scheme, host and port."""
    return origin(url) == origin(asked)
