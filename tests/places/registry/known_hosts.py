"""Registries under their real names: a proxy leads the name to one of the test, over TLS."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.places.registry.pushes import Pusher, Shelf, pushing, shelf
from tests.support.certificates import Authority
from tests.support.fault_proxy import ConnectProxy
from tests.support.registry import EmulatedRegistry, Quirks, TokenQuirks


class Named:
    """One emulated registry that answers to a name such as ghcr.io."""

    def __init__(self, name: str, registry: EmulatedRegistry, proxy: str, ca: Path) -> None:
        self.name = name
        self.registry = registry
        self._reach: dict[str, Any] = {
            "environment": {"HTTPS_PROXY": proxy},
            "ca_cert": str(ca),
        }

    def pushing(self, **more: Any) -> "contextlib.AbstractContextManager[Pusher]":
        """Open what pushes blobs there; `more` are options."""
        return pushing(self.name, **{**self._reach, **more})

    def shelf(self, folder: Path, **more: Any) -> "contextlib.AbstractContextManager[Shelf]":
        """Open a layout with what pushes its images there; `more` are options."""
        return shelf(folder, **{**self._reach, **more})

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which the command finds the registry."""
        return {
            "HTTPS_PROXY": self._reach["environment"]["HTTPS_PROXY"],
            "SSL_CERT_FILE": self._reach["ca_cert"],
        }


@contextlib.contextmanager
def named(
    name: str,
    folder: Path,
    quirks: Quirks | None = None,
    *,
    answers: str | None = None,
    tokens: TokenQuirks | None = None,
) -> Iterator[Named]:
    """Run a registry under a name; `answers` is the host that is asked, where that differs."""
    host = answers or name
    told = quirks or Quirks()
    # What it says of itself must be true behind the proxy, too.
    told = replace(
        told, location="relative", access=replace(told.access, realm=f"https://{host}/token")
    )
    authority = Authority(folder / "authority")
    tls = authority.server(names=(host, "127.0.0.1")).serve()
    with EmulatedRegistry(told, tls, tokens=tokens) as registry:
        routes = {f"{host}:443": registry.host}
        with ConnectProxy(routes=routes) as proxy:
            yield Named(name, registry, proxy.url, authority.certificate)
