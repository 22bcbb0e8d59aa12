"""The names that registries have in credential files, and which of them covers a repository.

A registry's host is written plainly, with a port, or as a URL with `/v1/` or `/v2/` behind it;
podman also writes `host/namespace` (containers-auth.json, section "FORMAT").
"""

from collections.abc import Iterable

from ocitool.oci.reference import DEFAULT_DOMAIN

HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = (DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io")
_VERSIONS = ("v1", "v2")


def server_key(domain: str, namespace: str = "") -> str:
    """Return the name under which docker stores a registry's credential, podman a namespace's."""
    if namespace:
        return f"{domain}/{namespace}"
    return HUB_KEY if is_hub(domain) else domain


def is_hub(domain: str) -> bool:
    """Tell whether a host is one of Docker Hub's names."""
    return domain.lower() in _HUB_NAMES


def server_keys(domain: str) -> tuple[str, ...]:
    """Return the names under which helpers may know a registry, docker's own first."""
    return (HUB_KEY, *_HUB_NAMES[:2]) if is_hub(domain) else (domain,)


def host_of(key: str) -> str:
    """Return the host that a key of a file is about, lower case; Docker Hub's is `docker.io`."""
    return _parse(key)[0]


def is_about(key: str, domain: str, namespace: str = "") -> bool:
    """Tell whether a key is about a whole registry, or about exactly this namespace of it."""
    return _parse(key) == (_canonical(domain), namespace)


def has_namespace(key: str) -> bool:
    """Tell whether a key is about a namespace of a registry."""
    return bool(_parse(key)[1])


def best_first(keys: Iterable[str], domain: str, path: str = "") -> list[str]:
    """Return the keys that cover a repository: the longest namespace first.

    Among equals docker's own spelling comes first, then the plain name of the host.
    """
    host = _canonical(domain)
    found = []
    for key in keys:
        its_host, namespace = _parse(key)
        if its_host == host and _covers(namespace, path):
            is_other = key != server_key(domain)
            found.append((-len(namespace), is_other, key.lower() != host, key))
    # Keys that are alike keep the order of the file.
    return [key for *_, key in sorted(found, key=lambda item: item[:-1])]


def _covers(namespace: str, path: str) -> bool:
    return not namespace or path == namespace or path.startswith(f"{namespace}/")


def _parse(key: str) -> tuple[str, str]:
    """Return (host, namespace) of a key."""
    _, separator, rest = key.partition("://")
    if separator:
        return _canonical(rest.partition("/")[0]), ""
    host, _, namespace = key.partition("/")
    namespace = namespace.strip("/")
    return _canonical(host), "" if namespace in _VERSIONS else namespace


def _canonical(host: str) -> str:
    return DEFAULT_DOMAIN if is_hub(host) else host.lower()
