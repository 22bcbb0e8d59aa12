"""Where credentials are looked for, in order, and where `login` writes one."""

import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.home import base_folder, in_home
from ocitool.places.registry.credentials.credential import CredentialProblem
from ocitool.places.registry.credentials.file import CredentialFile

_AUTHFILE = "REGISTRY_AUTH_FILE"
_INLINE = "DOCKER_AUTH_CONFIG"
_DOCKER_NAME, _PODMAN_NAME = "config.json", "auth.json"


class CredentialSource(Struct, frozen=True, kw_only=True):
    """A file, or a variable that holds the content itself. With `is_required` it has to exist.

    A `is_default` place was not named by anybody: in a folder that may not be entered it counts as
    absent, as where another user's podman has been.
    """

    path: str
    content: str | None = None
    is_required: bool = False
    is_default: bool = False
    is_legacy: bool = False

    def read(self) -> CredentialFile | None:
        """Return what is there, or None; raises CredentialProblem."""
        if self.content is not None:
            data = self.content.encode("utf-8", "surrogateescape")
            return CredentialFile.parse(data, self.path)
        if self.is_default and not _may_be_looked_at(self.path):
            return None
        found = CredentialFile.read(self.path, is_legacy=self.is_legacy)
        if found is None and self.is_required:
            raise CredentialProblem(
                f"{self.path} does not exist", hint="look at --authfile, or log in with it"
            )
        return found


def sources(
    environment: Mapping[str, str], authfile: str | None = None
) -> Iterator[CredentialSource]:
    """Yield the sources in the order in which they count.

    `--authfile`, REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, docker's file, podman's two, .dockercfg.
    Those in the home folder are left out where there is none.
    """
    if authfile:
        yield CredentialSource(path=authfile, is_required=True)
    if environment.get(_AUTHFILE):
        yield CredentialSource(path=environment[_AUTHFILE])
    if environment.get(_INLINE):
        yield CredentialSource(path=_INLINE, content=environment[_INLINE])
    folder = environment.get("DOCKER_CONFIG")
    if folder:
        yield CredentialSource(path=os.path.join(folder, _DOCKER_NAME))
    for path in _default_paths(environment, with_docker=not folder):
        yield CredentialSource(path=path, is_default=True)
    legacy = in_home(environment, ".dockercfg")
    if legacy is not None:
        yield CredentialSource(path=legacy, is_default=True, is_legacy=True)


def _default_paths(environment: Mapping[str, str], *, with_docker: bool) -> Iterator[str]:
    docker = in_home(environment, ".docker", _DOCKER_NAME) if with_docker else None
    if docker is not None:
        yield docker
    yield _podman_runtime(environment)
    configuration = base_folder(environment, "XDG_CONFIG_HOME", ".config")
    if configuration is not None:
        yield os.path.join(configuration, "containers", _PODMAN_NAME)


def written_path(environment: Mapping[str, str], authfile: str | None = None) -> str:
    """Return the file that `login` and `logout` change; UsageError where there is no place."""
    path = authfile or environment.get(_AUTHFILE) or docker_config(environment)
    if path is None:
        raise UsageError(
            "there is no home folder to keep a credential in",
            hint="set HOME or DOCKER_CONFIG, or give --authfile FILE",
        )
    return path


def docker_config(environment: Mapping[str, str]) -> str | None:
    """Return the path of docker's own config.json, None where there is no home folder."""
    folder = environment.get("DOCKER_CONFIG") or in_home(environment, ".docker")
    return None if folder is None else os.path.join(folder, _DOCKER_NAME)


def _podman_runtime(environment: Mapping[str, str]) -> str:
    """Return the file that `podman login` writes (containers-auth.json(5))."""
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and os.path.isabs(folder):
        return os.path.join(folder, "containers", _PODMAN_NAME)
    # Here the folder has no `containers` of its own below the number.
    return f"/run/containers/{os.getuid()}/{_PODMAN_NAME}"


def _may_be_looked_at(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return False
    except OSError:
        return True
    return True
