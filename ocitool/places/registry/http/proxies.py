"""Which proxy a request takes: the environment's variables, read the way Go's programs read them.

NO_PROXY lists hosts, domains (`corp`, `.corp`, `*.corp`), addresses, CIDR ranges and `*`, each with
a port or without. This machine itself is never reached by a proxy.
"""

import ipaddress
from collections.abc import Mapping

from ocitool.errors import UsageError
from ocitool.places.registry.hosts import address_literal, is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(
    scheme: str, host: str, port: int | None, environment: Mapping[str, str]
) -> str | None:
    """Return the URL of the proxy for a request, or None to connect directly."""
    if is_loopback(host):
        return None
    found = _variable(environment, f"{scheme}_proxy") or _variable(environment, "all_proxy")
    if not found:
        return None
    if is_exempt(host, port or _DEFAULT_PORTS[scheme], _variable(environment, "no_proxy")):
        return None
    url = found if "://" in found else f"http://{found}"
    if not url.startswith(("http://", "https://", "socks5://", "socks5h://")):
        raise UsageError(
            f"the proxy for {scheme} is given as an address that is not http, https or socks5",
            hint=f"look at {scheme.upper()}_PROXY and ALL_PROXY",
        )
    return url


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Tell whether an entry of NO_PROXY covers a host."""
    host = host.strip("[]").lower().rstrip(".")
    entries = (part.strip().lower() for part in no_proxy.replace(",", " ").split())
    return any(_covers(entry, host, port) for entry in entries)


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _in_range(entry, host)
    name, wanted = _split_port(entry)
    if wanted is not None and wanted != port:
        return False
    literal = address_literal(name)
    if literal is not None:
        return literal == address_literal(host)
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _in_range(entry: str, host: str) -> bool:
    address = address_literal(host)
    try:
        return address is not None and address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    if address_literal(entry) is not None:
        return entry, None
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdigit() else None
    name, colon, port = entry.rpartition(":")
    return (name, int(port)) if colon and port.isdigit() else (entry, None)


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""
