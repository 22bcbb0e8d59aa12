"""Requests in words, for a user who looks for a fault; nothing secret is in them."""

import contextlib
import time
from collections.abc import Callable, Iterator

import httpx

Trace = Callable[[str], None]

_SHOWN_QUERY = frozenset(
    {"account", "artifacttype", "digest", "from", "last", "mount", "n", "ns", "scope", "service"}
)
"""Parameters of the distribution API and of token servers; others may carry signatures."""
_LONGEST_SEGMENT = 128


@contextlib.contextmanager
def traced(request: httpx.Request, trace: Trace) -> Iterator[Callable[[int], None]]:
    """Tell of a request when its block ends; the block gives the status of the answer."""
    began = time.monotonic()
    ended = "no answer"

    def answered(status: int) -> None:
        nonlocal ended
        ended = str(status)

    try:
        yield answered
    except httpx.TransportError as error:
        ended = f"no answer ({type(error).__name__})"
        raise
    finally:
        trace(f"{request_line(request)}: {ended}, {time.monotonic() - began:.2f} s")


def request_line(request: httpx.Request) -> str:
    """Return method, URL and kind of credential, with everything masked that may be secret."""
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    shown = {"basic": " with a password", "bearer": " with a token", "": ""}
    return f"{request.method} {_shown(request.url)}{shown.get(scheme, ' with a credential')}"


def _shown(url: httpx.URL) -> str:
    host = url.netloc.decode("ascii", "replace")
    path = "/".join(map(_shown_segment, url.path.split("/")))
    query = "&".join(
        f"{key}={value if key.lower() in _SHOWN_QUERY else '***'}"
        for key, value in url.params.multi_items()
    )
    return f"{url.scheme}://{host}{path}{'?' if query else ''}{query}"


def _shown_segment(segment: str) -> str:
    """Mask what is like a signature; names, tags and digests are shorter and have no `=`."""
    return "***" if "=" in segment or len(segment) > _LONGEST_SEGMENT + 7 else segment
