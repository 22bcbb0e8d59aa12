"""ocitool info: what ocitool finds on this machine."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.operations.info import EngineInfo, Info, StoreInfo
    from ocitool.places.registry import RegistryOptions
    from ocitool.places.registry.settings import CredentialPlace, HostSettings

_LABEL = 14

Hosts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[HOST…]", help="Registries to say more about, such as ghcr.io."),
]


@with_options(out=JSON_OUTPUT, options=REGISTRY)
def info(hosts: Hosts = None, *, out: Output, options: "RegistryOptions") -> None:
    """Show what ocitool found: store, engines, credential files, certificates and proxies.

    For each HOST it shows where its credential comes from, and how it is reached. Nothing secret
    is shown, and no registry is asked, so the output can be part of a bug report.
    """
    from ocitool.images.locations import registry_host
    from ocitool.operations.info import info as find

    domains = [registry_host(host) for host in hosts or ()]
    out.result(find(out.options.store_if_any, domains, options), text=_lines)


def _lines(found: "Info") -> Iterator[str]:
    registries = found.registries
    yield from _labelled("ocitool", f"{found.version}, Python {found.python}, {found.system}")
    yield from _labelled("store", *_store(found.store))
    for engine in found.engines:
        yield from _labelled(engine.kind, *_engine(engine))
    yield from _labelled("credentials", *(_credentials(place) for place in registries.credentials))
    yield from _labelled("certificates", *registries.authorities, *registries.certificate_folders)
    yield from _labelled("proxies", *(f"{one.variable}={one.value}" for one in registries.proxies))
    for host in found.hosts:
        yield from _labelled(host.host, *_host(host))


def _labelled(label: str, *values: str) -> Iterator[str]:
    for number, value in enumerate(values or ("none",)):
        title = label if number == 0 else ""
        if len(title) >= _LABEL:
            yield safe(title)
            title = ""
        yield f"{safe(title):<{_LABEL}}{safe(value)}"


def _store(store: "StoreInfo") -> Iterator[str]:
    from ocitool.cli.render.columns import counted, size

    if store.path is None:
        yield f"none: {store.problem} (set HOME, or name a folder with --store)"
        return
    free = f"{size(store.free)} free"
    yield store.path
    if store.problem is not None:
        yield f"{store.problem}; {free}"
    elif store.exists:
        yield f"{counted(store.images or 0, 'image')}, {size(store.stored)}, {free}"
    else:
        yield f"does not exist yet, {free}"


def _engine(engine: "EngineInfo") -> Iterator[str]:
    where = f"{engine.url} ({engine.origin})" if engine.url is not None else ""
    yield where or engine.problem or "none"
    if where:
        yield engine.problem or f"version {engine.version}"


def _credentials(place: "CredentialPlace") -> str:
    parts = [*place.registries, *(f"helper {name}" for name in place.helpers)]
    return f"{place.path}: {place.problem or ', '.join(parts) or 'no registry'}"


def _host(host: "HostSettings") -> Iterator[str]:
    if host.credential is not None:
        yield f"{host.credential_kind} from {host.credential}"
    else:
        yield "no credential: access is anonymous"
    yield f"proxy {host.proxy}" if host.proxy is not None else "no proxy"
    yield from (f"certificate {path}" for path in host.certificates)
    if host.problem is not None:
        yield f"problem: {host.problem}"
