"""containerd and CRI runtimes, asked by the tools that belong to them: `ctr` and `crictl`."""

import os
import shutil
import stat
from collections.abc import Iterator

from msgspec import Struct

from ocitool.containers.listings import read_listing
from ocitool.containers.uses import ContainerUse
from ocitool.errors import NotFound, OcitoolError, Refused
from ocitool.events import Observer
from ocitool.places.engine import CONTAINERD_SOCKETS

RUNTIMES = ("containerd", "cri")
_CRI_SOCKETS = ("/run/crio/crio.sock",)
_TOOLS = {"containerd": "ctr", "cri": "crictl"}
_OF_DOCKER = ("moby", "plugins.moby")


class RuntimeProvider(Struct, frozen=True):
    """The containers of a runtime behind a socket; `kind` is containerd (all namespaces) or cri."""

    kind: str
    name: str
    socket: str

    def uses(self) -> list[ContainerUse]:
        """Return every container of the runtime; Refused if it or its tool does not answer."""
        if self.kind == "cri":
            listed = self._run("--runtime-endpoint", f"unix://{self.socket}", *_LIST)
            return read_listing("cri", listed.encode(), self.name)
        return [
            use
            for namespace in self._containerd("namespaces", "ls", "-q").split()
            # Docker's containers are asked of docker, which knows their images.
            if namespace not in _OF_DOCKER
            for use in self._of_namespace(namespace)
        ]

    def _of_namespace(self, namespace: str) -> Iterator[ContainerUse]:
        inside = ("-n", namespace)
        states = dict(_columns(self._containerd(*inside, "tasks", "ls"), -1))
        digests = dict(_columns(self._containerd(*inside, "images", "ls"), 2))
        for identity in self._containerd(*inside, "containers", "ls", "-q").split():
            listed = self._containerd(*inside, "containers", "info", identity, may_be_gone=True)
            for use in read_listing("containerd", listed.encode(), self.name):
                state = states.get(identity, "created").lower()
                yield ContainerUse(
                    provider=use.provider, id=use.id, name=use.name, state=state, names=use.names
                )
                # The name may mean another image since then, so both count.
                found = tuple(digests[name] for name in use.names if name in digests)
                yield ContainerUse(
                    provider=use.provider, id=use.id, name=use.name, state=state, digests=found
                )

    def _containerd(self, *arguments: str, may_be_gone: bool = False) -> str:
        return self._run("--address", self.socket, *arguments, may_be_gone=may_be_gone)

    def _run(self, *arguments: str, may_be_gone: bool = False) -> str:
        from ocitool.places.engine import ask_tool

        try:
            return ask_tool(_TOOLS[self.kind], *arguments)
        except OcitoolError as error:
            if may_be_gone and isinstance(error, NotFound):
                return ""
            raise self._refused(error.message) from error

    def _refused(self, why: str) -> Refused:
        return Refused(
            f"{self.name} cannot say which images its containers use: {why}",
            hint=f"correct it, give {self.kind}:FILE, or choose what is asked with --containers",
        )


_LIST = ("ps", "-a", "-o", "json")


def named_runtimes(kind: str) -> list[RuntimeProvider]:
    """Return the runtimes of a kind that are here; Refused when there is none."""
    sockets = CONTAINERD_SOCKETS if kind == "containerd" else (*_CRI_SOCKETS, *CONTAINERD_SOCKETS)
    found = [path for path in sockets if _is_there(path)]
    if not found:
        raise Refused(
            f"there is no {kind} here: none of {', '.join(sockets)} exists",
            hint=f"name its socket: --containers {kind}:unix://SOCKET",
        )
    return [_provider(kind, path, number) for number, path in enumerate(found)]


def runtime_at(kind: str, address: str) -> RuntimeProvider:
    """Return the runtime behind a socket that the user named, such as unix:///run/x.sock."""
    return RuntimeProvider(kind, f"{kind}:{address}", address.removeprefix("unix://"))


def usual_runtimes(observer: Observer) -> list[RuntimeProvider]:
    """Return the runtimes to ask without being told to: those that are here and can be asked.

    Remarks each that is here and cannot be asked, because its tool is not installed or this user
    may not use its socket.
    """
    found: list[RuntimeProvider] = []
    for path in filter(_is_there, (*CONTAINERD_SOCKETS, *_CRI_SOCKETS)):
        kinds = ("cri",) if path in _CRI_SOCKETS else RUNTIMES
        kind = next((kind for kind in kinds if shutil.which(_TOOLS[kind])), None)
        if not os.access(path, os.R_OK | os.W_OK):
            observer.remark(_not_asked(kinds[0], path, "permission denied"))
        elif kind is None:
            tools = " and ".join(f"{_TOOLS[kind]} is not installed" for kind in kinds)
            observer.remark(_not_asked(kinds[0], path, tools))
        else:
            found.append(_provider(kind, path, sum(one.kind == kind for one in found)))
    return found


def _provider(kind: str, path: str, number: int) -> RuntimeProvider:
    return RuntimeProvider(kind, f"{kind}:unix://{path}" if number else kind, path)


def _not_asked(kind: str, path: str, why: str) -> str:
    return f"the containers of {path} are not known: {why}; --containers {kind}:FILE adds them"


def _is_there(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _columns(table: str, column: int) -> Iterator[tuple[str, str]]:
    """Yield the first and another column of a table, without its header."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > max(column, 0):
            yield fields[0], fields[column]
