"""hosts.toml of containerd, one in a folder for each registry (containerd docs/hosts.md)."""

import os
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from ocitool.oci import Reference
from ocitool.places.registry.mirrors.endpoint import (
    Endpoint,
    configuration_folders,
    read_toml,
)

_API = "/v2"


def mirrors(
    reference: Reference, environment: Mapping[str, str]
) -> tuple[list[Endpoint], Endpoint | None]:
    """Return the mirrors for an image in their order, and where its registry is in truth.

    None where that is the registry that the name says.
    """
    path, document = _document(reference.domain, environment)
    if document is None:
        return [], None
    hosts = document.get("host")
    found = [
        endpoint
        for url, settings in (hosts.items() if isinstance(hosts, dict) else ())
        if isinstance(settings, dict)
        and _serves(settings, reference)
        and (endpoint := _endpoint(url, settings, reference, path)) is not None
    ]
    server = document.get("server")
    origin = None
    if isinstance(server, str):
        origin = _endpoint(server, document, reference, path)
    return found, None if origin is None or _is_own(origin, reference) else origin


def _document(
    domain: str, environment: Mapping[str, str]
) -> tuple[str, Mapping[str, object] | None]:
    for folder in _folders(domain, environment):
        path = os.path.join(folder, "hosts.toml")
        document = read_toml(path)
        if document is not None:
            return path, document
    return "", None


def _folders(domain: str, environment: Mapping[str, str]) -> Iterator[str]:
    host, colon, port = domain.rpartition(":")
    names = [domain, f"{host}_{port}_"] if colon else [domain]
    for name in (*names, "_default"):
        for folder in configuration_folders(environment, "containerd"):
            yield os.path.join(folder, "certs.d", name)


def _serves(settings: Mapping[str, object], reference: Reference) -> bool:
    """Tell whether a host gives out content, and answers what a tag names where there is none."""
    capabilities = settings.get("capabilities")
    if not isinstance(capabilities, list):
        return True
    return "pull" in capabilities and (reference.digest is not None or "resolve" in capabilities)


def _endpoint(
    url: str, settings: Mapping[str, object], reference: Reference, file: str
) -> Endpoint | None:
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    root, prefix = _root(parts, settings)
    authority = settings.get("ca")
    return Endpoint(
        domain=parts.netloc,
        path=f"{prefix}{reference.path}",
        origin=file,
        root=root,
        asks_for=reference.domain if parts.netloc != reference.domain else None,
        is_insecure=settings.get("skip_verify") is True,
        is_plain=parts.scheme == "http",
        ca_cert=authority if isinstance(authority, str) else None,
    )


def _root(parts: SplitResult, settings: Mapping[str, object]) -> tuple[str, str]:
    """Return where the API of a host begins, and what stands before the names of repositories."""
    path = parts.path.rstrip("/")
    if settings.get("override_path") is not True:
        return (path if path.endswith(_API) else f"{path}{_API}"), ""
    if path.startswith(f"{_API}/"):
        # Harbor's projects: the API is where it always is, the names of repositories are longer.
        return _API, f"{path.removeprefix(f'{_API}/')}/"
    return path, ""


def _is_own(endpoint: Endpoint, reference: Reference) -> bool:
    from ocitool.places.registry.hosts import Host

    names = {reference.domain, Host(reference.domain).address}
    return endpoint.domain in names and endpoint.root == _API and endpoint.path == reference.path
