"""Which token server a registry may send us to, and which of them may see a credential.

A registry is not trusted with the choice: an attacker who answers in its place could name any
server and collect passwords, or reach services that trust this machine (as in CVE-2020-15157).
"""

import contextlib
import fnmatch
import socket
from collections.abc import Callable, Sequence

import httpx
from msgspec import Struct

from ocitool.errors import AccessDenied
from ocitool.oci.quoting import quoted
from ocitool.places.registry.hosts import address_literal, is_inner

_HUB_API = "registry-1.docker.io"
_HUB = "docker.io"
_LARGEST_PORT = 65535
# Registries (as shell patterns) whose token server has another host.
_KNOWN_PAIRS: tuple[tuple[str, str], ...] = (
    ("*.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
    ("registry.suse.com", "scc.suse.com"),
    ("registry.rancher.com", "scc.suse.com"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
    ("rg.*.scw.cloud", "api.scaleway.com"),
)


_COUNTRY, _SHORT = 2, 3
# Domains below which everybody gets a name.
_SHARED = (
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudapp.azure.com",
    "cloudapp.net",
    "cloudfront.net",
    "duckdns.org",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.io",
    "nip.io",
    "on.aws",
    "onrender.com",
    "pages.dev",
    "pkg.dev",
    "run.app",
    "sslip.io",
    "vercel.app",
    "workers.dev",
    "xip.io",
)


class TokenServerRefused(AccessDenied):
    """A registry names a token server that is not spoken to, or that is not known as its own."""


class TokenServerPolicy(Struct, frozen=True):
    """Which token servers one registry may name. `allowed` are hosts, or hosts with a port.

    `remembered` looks up what a login allowed. With `trusts_own_domain` a server may see the
    credential that is in the registry's own domain.
    """

    base: httpx.URL
    allowed: Sequence[str] = ()
    remembered: Callable[[], Sequence[str]] = tuple
    trusts_own_domain: bool = False

    @property
    def registry(self) -> str:
        """The registry as image names spell it."""
        return shown_host(self.base)

    def resolve(self, realm: str, asked: httpx.URL) -> httpx.URL:
        """Return the URL of a token server: a challenge's realm, relative to the URL `asked`.

        Raises AccessDenied for a server that must not be spoken to at all: another scheme, plain
        http for a registry that speaks https, and an address inside this machine or on its own
        link for a registry that is elsewhere.
        """
        try:
            url = asked.join(realm.partition("#")[0].strip())
        except (httpx.InvalidURL, ValueError):
            raise self._refusal(realm, "is not a URL") from None
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise self._refusal(realm, "is not an http address")
        if url.port is not None and not 0 < url.port <= _LARGEST_PORT:
            raise self._refusal(realm, "has an impossible port")
        if url.scheme == "http" and self.base.scheme != "http":
            raise self._refusal(realm, "is not encrypted, though the registry is")
        if _is_inner(url.host) and not _is_inner(self.base.host):
            raise self._refusal(realm, "is inside this machine or network, and the registry is not")
        return url

    def check_credential(self, url: httpx.URL) -> None:
        """Raise AccessDenied unless a credential of this registry may go to the token server."""
        if self._is_known(url) or self._is_allowed(url) or self.is_in_own_domain(url):
            return
        raise TokenServerRefused(
            f"{self.registry} wants its credential sent to {url.host}, which is not known to be "
            "its token server",
            hint=f"if it is: ocitool login {self.registry} --allow-realm {url.host}, or for one "
            f"command --allow-realm {url.host} or OCITOOL_ALLOW_REALM={url.host}",
        )

    def is_in_own_domain(self, url: httpx.URL) -> bool:
        """Tell whether a server is trusted only for being in the registry's own domain."""
        is_ours = self.trusts_own_domain and is_sibling(self.base.host, url.host)
        return is_ours and not (self._is_known(url) or self._is_allowed(url))

    def _is_allowed(self, url: httpx.URL) -> bool:
        if any(_is_allowed(entry, url) for entry in self.allowed):
            return True
        return any(_is_allowed(entry, url) for entry in self.remembered())

    def _is_known(self, url: httpx.URL) -> bool:
        host, registry = _name(url.host), _name(self.base.host)
        if host == registry:
            return True
        return any(
            host == server and fnmatch.fnmatchcase(registry, pattern)
            for pattern, server in _KNOWN_PAIRS
        )

    def _refusal(self, realm: str, why: str) -> AccessDenied:
        return TokenServerRefused(
            f"{self.registry} names a token server that {why}: {quoted(realm)}",
            hint="nothing was sent to it; look at the registry's address and configuration",
        )


def is_sibling(registry: str, server: str) -> bool:
    """Tell whether two hosts are in one domain that somebody has registered.

    Where strangers get names side by side, as below `co.uk` or `github.io`, that says nothing.
    """
    if address_literal(registry) is not None or address_literal(server) is not None:
        return False
    ours, theirs = (_name(host).split(".") for host in (registry, server))
    size = 2
    if len(ours[-1]) == _COUNTRY and len(ours) > 1 and len(ours[-2]) <= _SHORT:
        size = 3
    shared = ".".join(ours[-size:])
    is_shared = len(ours) >= size and ours[-size:] == theirs[-size:]
    return is_shared and not any(shared == one or one.endswith(f".{shared}") for one in _SHARED)


def shown_host(base: httpx.URL) -> str:
    """Return a registry's host and port as image names spell it."""
    if base.host == _HUB_API:
        return _HUB
    return base.netloc.decode("ascii", "replace")


def _is_allowed(entry: str, url: httpx.URL) -> bool:
    """Tell whether `HOST`, `HOST:PORT` or a URL of a host, as a person writes it, means `url`."""
    text = entry if "://" in entry else f"{url.scheme}://{entry}"
    with contextlib.suppress(httpx.InvalidURL):
        parsed = httpx.URL(text)
        same_port = parsed.port is None or parsed.port == url.port
        return _name(parsed.host) == _name(url.host) and same_port
    return False


def _name(host: str) -> str:
    return host.lower().rstrip(".")


def _is_inner(host: str) -> bool:
    """Tell whether a host is a loopback or link-local address, in any form resolvers take."""
    name = _name(host)
    with contextlib.suppress(OSError, ValueError):
        # 127.1, 0x7f000001 and 2130706433 are addresses to a resolver, too.
        name = socket.inet_ntoa(socket.inet_aton(name))
    return is_inner(name)
