"""The sources of container lists: the store, engines over their sockets, and files."""

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from ocitool.containers.lifecycle.state import container_states
from ocitool.containers.listings import engine_uses, read_listing
from ocitool.containers.records import Records, damaged_record, read_records
from ocitool.containers.runtimes import RUNTIMES, named_runtimes, runtime_at, usual_runtimes
from ocitool.containers.uses import ContainerProvider, ContainerUse
from ocitool.errors import OcitoolError, Refused, UsageError
from ocitool.events import SILENT, Observer
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout

if TYPE_CHECKING:
    from ocitool.places.engine import Endpoint

_LISTING_BYTES = 256 << 20
_ENGINES = ("docker", "podman")
_FILES = ("docker", "podman", "containerd", "cri", "kube")
_STORE_ONLY = ("store", "none")
_ADDRESS = re.compile(r"(unix|tcp|https?)://")
_WORDS = (
    "store, docker, podman, containerd, cri, one of these four with :unix://SOCKET, docker:FILE, "
    "podman:FILE, containerd:FILE, cri:FILE, kube:FILE or none"
)


class StoreProvider(Struct, frozen=True):
    """The containers that `container create` made in a store."""

    layout: Layout
    name: str = "store"

    def uses(self) -> list[ContainerUse]:
        """Return every container of the store; Refused if a record cannot be read."""
        records = read_records(self.layout)
        for path in records.damaged:
            raise damaged_record(path)
        return self._uses(records)

    def readable(self) -> list[ContainerUse]:
        """Return the containers whose records can be read."""
        return self._uses(read_records(self.layout))

    def _uses(self, records: Records) -> list[ContainerUse]:
        found = records.containers
        states = container_states(found)
        return [
            ContainerUse(
                provider=self.name,
                id=container.id,
                name=container.name,
                state=str(states[container.id].status),
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
        """Return the provider of the engine that the docker or podman command would use."""
        from ocitool.places.engine import engine_endpoint

        return cls(kind, lambda: engine_endpoint(kind))

    @classmethod
    def at(cls, endpoint: "Endpoint") -> Self:
        """Return the provider of the engine at an address; its name is that of `--containers`."""
        return cls(f"{endpoint.kind}:{endpoint.url}", lambda: endpoint)

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
    """The containers in a file that another tool printed. `name` is KIND:FILE.

    `observer` is told what the list cannot show.
    """

    name: str
    observer: Observer = SILENT

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
        return read_listing(kind, data, self.name, self.observer.remark)


def find_providers(
    words: Sequence[str], *, layout: Layout, observer: Observer = SILENT
) -> list[ContainerProvider]:
    """Return the providers to ask, given the words of `--containers`.

    The store itself always counts. Besides: the engines named (if none is named, every engine that
    a variable or a context names, or whose usual socket exists, and every containerd and CRI-O that
    can be asked), and the files named. `store` and `none` mean no engine that is not named;
    UsageError for `none` together with others, and for an unknown word. `observer` is told what
    cannot be seen.
    """
    if "none" in words and len(set(words)) > 1:
        raise UsageError("--containers none cannot be combined with other values")
    wanted = [word for word in dict.fromkeys(words) if word not in _STORE_ONLY]
    found = [provider for word in wanted for provider in _named(word, observer)]
    usual: list[ContainerProvider] = []
    if len(wanted) == len(words) and all(isinstance(one, FileProvider) for one in found):
        usual += (one for kind in _ENGINES for one in _engines(kind))
        usual += usual_runtimes(observer)
    return [StoreProvider(layout), *usual, *found]


def file_providers(words: Sequence[str], *, observer: Observer = SILENT) -> list[FileProvider]:
    """Return the providers of files, given words of `--containers`; UsageError for other words."""
    for word in words:
        kind, _, path = word.partition(":")
        if kind not in _FILES or not path or _ADDRESS.match(path):
            raise UsageError(f"--containers takes only files here, and not {quoted(word)}")
    return [FileProvider(word, observer) for word in words]


class Answers(Struct, frozen=True, kw_only=True):
    """What the providers say, and why some of them could not."""

    uses: tuple[ContainerUse, ...]
    problems: tuple[str, ...]


def known_uses(words: Sequence[str], *, layout: Layout, observer: Observer = SILENT) -> Answers:
    """Return the containers that are known, to show them; nothing may be removed by this list.

    Raises what `providers` raises, and Refused when an engine or a file that was named in `words`
    cannot answer.
    """
    uses: list[ContainerUse] = []
    problems: list[str] = []
    for provider in find_providers(words, layout=layout, observer=observer):
        try:
            uses += provider.uses()
        except Refused as error:
            if isinstance(provider, StoreProvider):
                uses += provider.readable()
            elif words:
                raise
            problems.append(error.message)
    return Answers(uses=tuple(uses), problems=tuple(problems))


def _named(word: str, observer: Observer) -> Sequence[ContainerProvider]:
    if word in _ENGINES:
        return _engines(word, asked=True)
    if word in RUNTIMES:
        return named_runtimes(word)
    kind, _, rest = word.partition(":")
    if kind in (*_ENGINES, *RUNTIMES) and _ADDRESS.match(rest):
        return [_at_address(kind, rest)]
    if kind in _FILES and rest:
        return [FileProvider(word, observer)]
    raise UsageError(f"--containers {quoted(word)} is not one of {_WORDS}")


def _at_address(kind: str, address: str) -> ContainerProvider:
    from ocitool.places.engine import endpoint_at

    if kind in RUNTIMES:
        return runtime_at(kind, address)
    return EngineProvider.at(endpoint_at(kind, address))


def _engines(kind: str, *, asked: bool = False) -> list[EngineProvider]:
    """Return the engines of a kind to ask: the one its command would use, and others beside it.

    Rootful and rootless engines often run side by side, each with containers of its own. The one
    that is named must answer, also if its socket is gone; a usual one only if its socket exists.
    """
    from ocitool.places.engine import engine_endpoint, usual_endpoints

    others = usual_endpoints(kind)
    try:
        used = engine_endpoint(kind)
    except OcitoolError:
        # It is asked, so that its failure is reported.
        return [EngineProvider.of(kind), *map(EngineProvider.at, others)]
    rest = [one for one in others if not _is_same(one, used)]
    first = [EngineProvider.of(kind)] if asked or used.is_named or len(rest) < len(others) else []
    return [*first, *map(EngineProvider.at, rest)]


def _is_same(one: "Endpoint", other: "Endpoint") -> bool:
    if one.socket is None or other.socket is None:
        return one.url == other.url
    return os.path.realpath(one.socket) == os.path.realpath(other.socket)
