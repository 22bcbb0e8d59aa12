"""The sources of container lists: the store, engines over their sockets, and files."""

import os
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from ocitool.containers.listings import engine_uses, read_listing
from ocitool.containers.records import containers
from ocitool.containers.running import running_bundles
from ocitool.containers.uses import ContainerProvider, ContainerUse
from ocitool.errors import OcitoolError, Refused, UsageError
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout

if TYPE_CHECKING:
    from ocitool.places.engine import Endpoint

_LISTING_BYTES = 256 << 20
_ENGINES = ("docker", "podman")
_FILES = ("docker", "podman", "cri", "kube")
_WORDS = "store, docker, podman, docker:FILE, podman:FILE, cri:FILE, kube:FILE or none"


class StoreProvider(Struct, frozen=True):
    """The containers that `container create` made in a store."""

    layout: Layout
    name: str = "store"

    def uses(self) -> list[ContainerUse]:
        """Return every container of the store; Refused if a record cannot be read."""
        found = containers(self.layout)
        active = running_bundles(container.bundle for container in found)
        return [
            ContainerUse(
                provider=self.name,
                id=container.id,
                name=container.name,
                state="running" if container.bundle in active else "created",
                digests=(container.digest, container.manifest, container.config),
            )
            for container in found
        ]


class EngineProvider(Struct, frozen=True):
    """The containers of a Docker or Podman engine, also those of other tools in its storage."""

    name: str
    find: "Callable[[], Endpoint]"

    @classmethod
    def of(cls, kind: str) -> Self:
        """Return the provider of the docker or podman engine that this machine uses."""
        from ocitool.places.engine import docker_endpoint, podman_endpoint

        return cls(kind, docker_endpoint if kind == "docker" else podman_endpoint)

    def uses(self) -> list[ContainerUse]:
        """Return every container of the engine; Refused if it does not answer."""
        from ocitool.places.engine import Engine

        try:
            with Engine(self.find()) as engine:
                return engine_uses(engine.containers(), self.name)
        except Refused:
            raise
        except OcitoolError as error:
            raise Refused(
                f"{self.name} cannot say which images its containers use: {error.message}",
                hint=f"{error.hint or 'start it'}; or choose what is asked with --containers",
            ) from error


class FileProvider(Struct, frozen=True):
    """The containers in a file that another tool printed. `name` is KIND:FILE."""

    name: str

    def uses(self) -> list[ContainerUse]:
        """Return every container of the file; Refused if it cannot be read or understood."""
        kind, _, path = self.name.partition(":")
        try:
            with open(path, "rb") as file:
                data = file.read(_LISTING_BYTES + 1)
        except OSError as error:
            raise Refused(
                f"{quoted(self.name)} cannot be read: {error.strerror}",
                hint="correct the path, or leave it out",
            ) from error
        if len(data) > _LISTING_BYTES:
            raise Refused(f"{quoted(self.name)} is larger than {_LISTING_BYTES} bytes")
        return read_listing(kind, data, self.name)


def providers(words: Sequence[str], *, layout: Layout) -> list[ContainerProvider]:
    """Return the providers to ask, given the words of `--containers`.

    `none` means no provider. Otherwise: the store itself, the engines named (if none is named,
    every engine whose socket exists), and the files named. UsageError for an unknown word, and for
    `none` together with others.
    """
    if "none" in words:
        if len(set(words)) > 1:
            raise UsageError("--containers none cannot be combined with other values")
        return []
    found = [_provider(word, layout) for word in dict.fromkeys(words)]
    if all(isinstance(one, FileProvider) for one in found):
        found = [EngineProvider.of(word) for word in _ENGINES if _is_there(word)] + found
    if "store" not in words:
        found.insert(0, StoreProvider(layout))
    return found


def _provider(word: str, layout: Layout) -> ContainerProvider:
    if word == "store":
        return StoreProvider(layout)
    if word in _ENGINES:
        return EngineProvider.of(word)
    kind, _, path = word.partition(":")
    if kind in _FILES and path:
        return FileProvider(word)
    raise UsageError(f"--containers {quoted(word)} is not one of {_WORDS}")


def _is_there(word: str) -> bool:
    """Tell whether an engine may be running: its socket exists, or cannot be looked at."""
    from ocitool.places.engine import docker_endpoint, podman_endpoint

    try:
        endpoint = docker_endpoint() if word == "docker" else podman_endpoint()
        return endpoint.socket is None or stat.S_ISSOCK(os.stat(endpoint.socket).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, OcitoolError):
        # It is asked, so that its failure is reported.
        return True
