"""Where an engine listens, found the way the `docker` and `podman` commands find it."""

import glob
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ocitool.errors import NotFound, UsageError
from ocitool.home import in_home

KINDS = ("docker", "podman")
CONTAINERD_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
)
"""Where a containerd usually listens, the likeliest place first."""
_SYSTEM_SOCKETS = {"docker": "/var/run/docker.sock", "podman": "/run/podman/podman.sock"}
_USER_SOCKETS = {"docker": "docker.sock", "podman": "podman/podman.sock"}
_USERS = "/run/user"
_DEFAULT_CONTEXT = "default"


class Endpoint(Struct, frozen=True, kw_only=True):
    """An engine's address. `url` is unix://PATH, http://HOST:PORT or https://HOST:PORT.

    `certificates` is a folder with ca.pem, cert.pem and key.pem, for https. `origin` says where
    the address was found, for messages; `is_named` whether a variable, a context or the user gave
    it, so that an engine must be there.
    """

    kind: str
    url: str
    origin: str
    certificates: str | None = None
    is_named: bool = True

    @property
    def socket(self) -> str | None:
        """The path of the unix socket, or None."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None


class EngineSystem(Struct, frozen=True, kw_only=True):
    """What an engine runs on: `os` such as "linux", empty if it does not say.

    `has_classic_store` is True for a docker that keeps layers itself, not in containerd.
    """

    os: str
    has_classic_store: bool


def engine_endpoint(kind: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return the address that the `docker` or `podman` command would use.

    Docker: DOCKER_HOST, else the context, else a usual socket. Podman: CONTAINER_HOST, else a
    usual socket. Of the usual sockets the first that exists counts, else the first. UsageError for
    an address that cannot be reached from here, NotFound for a context that does not exist.
    """
    variables = os.environ if environment is None else environment
    named = _named_docker(variables) if kind == "docker" else _named_podman(variables)
    if named is not None:
        return named
    sockets = _usual_sockets(kind, variables)
    return _usual(kind, next((path for path in sockets if os.path.exists(path)), sockets[0]))


def usual_endpoints(kind: str, environment: Mapping[str, str] | None = None) -> list[Endpoint]:
    """Return the engines of a kind whose usual socket exists: the system's and the user's.

    For root these are the sockets of all users. A socket in a folder that this user may not look
    into, such as that of root's podman, does not count.
    """
    variables = os.environ if environment is None else environment
    different: dict[str, str] = {}
    for path in filter(is_socket, _usual_sockets(kind, variables)):
        different.setdefault(os.path.realpath(path), path)
    return [_usual(kind, path) for path in different.values()]


def endpoint_at(kind: str, address: str) -> Endpoint:
    """Return an engine at an address that the user gave, such as unix:///run/docker.sock."""
    return _endpoint(kind, address, f"{kind}:{address}")


def _named_docker(variables: Mapping[str, str]) -> Endpoint | None:
    if host := variables.get("DOCKER_HOST"):
        certificates = _certificates(variables) if variables.get("DOCKER_TLS_VERIFY") else None
        return _endpoint("docker", host, "DOCKER_HOST", certificates)
    named = variables.get("DOCKER_CONFIG") or in_home(variables, ".docker")
    folder = None if named is None else Path(named)
    context = variables.get("DOCKER_CONTEXT") or (_current_context(folder) if folder else None)
    if context and context != _DEFAULT_CONTEXT:
        return _context(folder, context)
    return None


def _named_podman(variables: Mapping[str, str]) -> Endpoint | None:
    host = variables.get("CONTAINER_HOST")
    return _endpoint("podman", host, "CONTAINER_HOST") if host else None


def _usual_sockets(kind: str, variables: Mapping[str, str]) -> list[str]:
    """Return where an engine usually listens, the likeliest place first."""
    system, name = _SYSTEM_SOCKETS[kind], _USER_SOCKETS[kind]
    own = os.path.join(variables.get("XDG_RUNTIME_DIR") or f"{_USERS}/{os.getuid()}", name)
    if os.getuid() == 0:
        return [system, own, *sorted(glob.glob(f"{_USERS}/*/{name}"))]
    return [system, own] if kind == "docker" else [own, system]


def _usual(kind: str, path: str) -> Endpoint:
    return Endpoint(kind=kind, url=f"unix://{path}", origin="the usual socket", is_named=False)


def is_socket(path: str) -> bool:
    """Tell whether a socket is there that this user can see."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _endpoint(kind: str, host: str, origin: str, certificates: str | None = None) -> Endpoint:
    if host.startswith("tcp://"):
        scheme = "https" if certificates else "http"
        host = f"{scheme}://{host.removeprefix('tcp://')}"
    if not host.startswith(("unix://", "http://", "https://")):
        raise UsageError(
            f"{origin} names an engine at {host!r}; ocitool reaches unix:// and tcp:// only",
            hint="forward its socket, for example with ssh -L, and name that",
        )
    return Endpoint(kind=kind, url=host.rstrip("/"), origin=origin, certificates=certificates)


def _certificates(variables: Mapping[str, str]) -> str:
    found = variables.get("DOCKER_CERT_PATH") or in_home(variables, ".docker")
    if found is None:
        raise UsageError(
            "there is no home folder to find docker's certificates in",
            hint="set HOME or DOCKER_CERT_PATH",
        )
    return found


def _current_context(folder: Path) -> str | None:
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    context = value.get("currentContext") if isinstance(value, dict) else None
    return context if isinstance(context, str) else None


def _context(folder: Path | None, name: str) -> Endpoint:
    """Return the address that a docker context holds; its folder is named by a sha256."""
    directory = hashlib.sha256(name.encode()).hexdigest()
    if folder is None:
        raise UsageError(
            f"there is no home folder to find the docker context {name!r} in",
            hint="set HOME or DOCKER_CONFIG",
        )
    try:
        text = (folder / "contexts/meta" / directory / "meta.json").read_text(encoding="utf-8")
        host = json.loads(text)["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound(
            f"there is no docker context {name!r}", hint="`docker context ls` lists them"
        ) from error
    tls = folder / "contexts/tls" / directory / "docker"
    certificates = str(tls) if tls.is_dir() else None
    return _endpoint("docker", str(host), f"docker context {name!r}", certificates)
