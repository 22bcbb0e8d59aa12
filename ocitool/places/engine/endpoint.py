"""Where an engine listens, found the way the `docker` and `podman` commands find it."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from ocitool.errors import NotFound, UsageError

_DOCKER_SOCKET = "/var/run/docker.sock"
_PODMAN_SOCKET = "/run/podman/podman.sock"
_DEFAULT_CONTEXT = "default"


class Endpoint(Struct, frozen=True, kw_only=True):
    """An engine's address. `url` is unix://PATH, http://HOST:PORT or https://HOST:PORT.

    `certificates` is a folder with ca.pem, cert.pem and key.pem, for https. `origin` says where
    the address was found, for messages.
    """

    kind: str
    url: str
    origin: str
    certificates: str | None = None

    @property
    def socket(self) -> str | None:
        """The path of the unix socket, or None."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None


def docker_endpoint(environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return Docker's address: DOCKER_HOST, else the context, else the usual sockets."""
    variables = os.environ if environment is None else environment
    if host := variables.get("DOCKER_HOST"):
        certificates = _certificates(variables) if variables.get("DOCKER_TLS_VERIFY") else None
        return _endpoint("docker", host, "DOCKER_HOST", certificates)
    folder = Path(variables.get("DOCKER_CONFIG") or Path(_home(variables)) / ".docker")
    context = variables.get("DOCKER_CONTEXT") or _current_context(folder)
    if context and context != _DEFAULT_CONTEXT:
        return _context(folder, context)
    runtime = variables.get("XDG_RUNTIME_DIR")
    candidates = [_DOCKER_SOCKET, *([f"{runtime}/docker.sock"] if runtime else [])]
    return _endpoint("docker", f"unix://{_first_there(candidates)}", "the usual socket")


def podman_endpoint(environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return Podman's address: CONTAINER_HOST, else the rootless or the system's socket."""
    variables = os.environ if environment is None else environment
    if host := variables.get("CONTAINER_HOST"):
        return _endpoint("podman", host, "CONTAINER_HOST")
    runtime = variables.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    candidates = [_PODMAN_SOCKET, f"{runtime}/podman/podman.sock"]
    if os.getuid() != 0:
        candidates.reverse()
    return _endpoint("podman", f"unix://{_first_there(candidates)}", "the usual socket")


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


def _first_there(paths: Iterable[str]) -> str:
    found = list(paths)
    return next((path for path in found if os.path.exists(path)), found[0])


def _home(variables: Mapping[str, str]) -> str:
    return variables.get("HOME") or os.path.expanduser("~")


def _certificates(variables: Mapping[str, str]) -> str:
    return variables.get("DOCKER_CERT_PATH") or str(Path(_home(variables)) / ".docker")


def _current_context(folder: Path) -> str | None:
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    context = value.get("currentContext") if isinstance(value, dict) else None
    return context if isinstance(context, str) else None


def _context(folder: Path, name: str) -> Endpoint:
    """Return the address that a docker context holds; its folder is named by a sha256."""
    directory = hashlib.sha256(name.encode()).hexdigest()
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
