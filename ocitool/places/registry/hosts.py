"""What the name of a registry tells about it: its address, and known limits of its kind."""

import contextlib
import ipaddress
import re
import socket

from msgspec import Struct

from ocitool.oci.limits import MEBIBYTE
from ocitool.oci.reference import DEFAULT_DOMAIN

_HUB_API = "registry-1.docker.io"
_LOCALHOST = "localhost"
_ECR_ENDINGS = (".amazonaws.com", ".amazonaws.com.cn", ".on.aws")
ECR_PUBLIC = "public.ecr.aws"
_GOOGLE_ENDINGS = ("-docker.pkg.dev", "gcr.io")
_GITHUB = "ghcr.io"
_MOST = 128 * MEBIBYTE
_NUMERIC = re.compile(r"[0-9a-fx.]+", re.IGNORECASE)


class Host(Struct, frozen=True):
    """A registry's host, as the first part of an image name spells it, such as `host:5000`."""

    domain: str

    @property
    def address(self) -> str:
        """The host and port that answer the API; docker.io's own is another one."""
        return _HUB_API if self.domain == DEFAULT_DOMAIN else self.domain

    @property
    def name(self) -> str:
        """The host without its port and brackets."""
        return host_name(self.domain)

    @property
    def is_loopback(self) -> bool:
        """Tell whether the host is this machine, where plain http needs no permission."""
        return is_loopback(self.name)

    @property
    def is_hub(self) -> bool:
        """Tell whether this is Docker Hub."""
        return self.domain == DEFAULT_DOMAIN

    @property
    def is_ecr(self) -> bool:
        """Tell whether this is Amazon's registry, whose chunk replies are not to be believed."""
        return self.name == ECR_PUBLIC or (
            self.name.endswith(_ECR_ENDINGS) and (".dkr.ecr" in self.name or "dkr-ecr" in self.name)
        )

    @property
    def is_github(self) -> bool:
        """Tell whether this is GitHub's registry."""
        return self.name == _GITHUB

    @property
    def takes_chunks(self) -> bool:
        """Tell whether uploads may be sent in parts; Google's registries take only whole blobs."""
        return not self.name.endswith(_GOOGLE_ENDINGS)

    def chunk_size(self, wanted: int) -> int:
        """Return how large a part may be here, in bytes, when `wanted` was asked for."""
        if self.is_github:
            return min(wanted, 4 * MEBIBYTE)
        if self.is_ecr:
            return min(max(wanted, 5 * MEBIBYTE), 10 * MEBIBYTE)
        return min(wanted, _MOST)


def host_name(netloc: str) -> str:
    """Return the host of `host`, `host:port` or `[v6]:port`, lower case, without brackets."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    return netloc.partition(":")[0].lower()


def is_loopback(name: str) -> bool:
    """Tell whether a host name or address literal is this machine."""
    name = name.lower().rstrip(".")
    if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}"):
        return True
    found = address_literal(name)
    return found is not None and found.is_loopback


def is_inner(name: str) -> bool:
    """Tell whether a name is a loopback or link-local literal: never where a public host sends."""
    found = address_literal(name)
    return is_loopback(name) or (
        found is not None and (found.is_link_local or found.is_unspecified)
    )


def address_literal(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as, or None for a name.

    127.1, 0x7f000001 and 2130706433 are addresses to a resolver, too.
    """
    name = name.rstrip(".")
    if ":" not in name and _NUMERIC.fullmatch(name):
        with contextlib.suppress(OSError):
            name = socket.inet_ntoa(socket.inet_aton(name))
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
