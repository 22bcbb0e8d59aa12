"""What ocitool finds on this machine: the store, engines, and the settings for registries."""

import os
import platform
import stat
from collections.abc import Sequence

from msgspec import Struct

from ocitool.errors import NotFound, OcitoolError
from ocitool.places.engine import KINDS, Engine, engine_endpoint
from ocitool.places.layout import Layout
from ocitool.places.registry.options import RegistryOptions
from ocitool.places.registry.settings import (
    HostSettings,
    RegistrySettings,
    host_settings,
    registry_settings,
)
from ocitool.version import __version__


class StoreInfo(Struct, frozen=True, kw_only=True):
    """The store: its named and unnamed images and artifacts, the bytes of its blobs, free bytes.

    Numbers are None where they cannot be read; `problem` says why. `path` is None for a user
    without a home folder, who has not named a store.
    """

    path: str | None
    exists: bool = False
    images: int | None = None
    stored: int | None = None
    free: int | None = None
    problem: str | None = None


class EngineInfo(Struct, frozen=True, kw_only=True):
    """An engine: where it listens, how that was found, and its version if it answers."""

    kind: str
    url: str | None = None
    origin: str | None = None
    version: str | None = None
    problem: str | None = None


class Info(Struct, frozen=True, kw_only=True):
    """What ocitool found, without anything secret."""

    version: str
    python: str
    system: str
    store: StoreInfo
    engines: tuple[EngineInfo, ...]
    registries: RegistrySettings
    hosts: tuple[HostSettings, ...]


def info(store: str | None, hosts: Sequence[str], options: RegistryOptions) -> Info:
    """Find out what there is. Engines and credential helpers are asked; registries are not."""
    return Info(
        version=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        store=_store(store),
        engines=tuple(_engine(kind) for kind in KINDS),
        registries=registry_settings(options),
        hosts=tuple(host_settings(host, options) for host in hosts),
    )


def _store(path: str | None) -> StoreInfo:
    if path is None:
        return StoreInfo(path=None, problem="there is no home folder for the store")
    try:
        with Layout.existing(path) as layout:
            sizes = [layout.blob_size(digest) for digest in layout.blob_digests()]
            return StoreInfo(
                path=path,
                exists=True,
                images=len(layout.roots()),
                stored=sum(size for size in sizes if size is not None),
                free=_free(path),
            )
    except NotFound:
        return StoreInfo(path=path, free=_free(path))
    except OcitoolError as error:
        return StoreInfo(path=path, exists=True, free=_free(path), problem=error.message)


def _free(path: str) -> int | None:
    """Return the free bytes of the file system that holds a path or, before it exists, will."""
    here = os.path.abspath(path)
    while not os.path.exists(here):
        here = os.path.dirname(here)
    try:
        found = os.statvfs(here)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _engine(kind: str) -> EngineInfo:
    try:
        endpoint = engine_endpoint(kind)
    except OcitoolError as error:
        return EngineInfo(kind=kind, problem=error.message)
    known = EngineInfo(kind=kind, url=endpoint.url, origin=endpoint.origin)
    if endpoint.socket is not None and not _is_socket(endpoint.socket):
        return EngineInfo(kind=kind, url=known.url, origin=known.origin, problem="not there")
    try:
        with Engine(endpoint) as engine:
            return EngineInfo(
                kind=kind, url=known.url, origin=known.origin, version=engine.version()
            )
    except OcitoolError as error:
        return EngineInfo(kind=kind, url=known.url, origin=known.origin, problem=error.message)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except PermissionError:
        # It is asked, so that the refusal is reported.
        return True
    except OSError:
        return False
