"""Where credentials are looked for, in order, and where `login` writes one."""

import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.places.registry.credentials.credential import CredentialProblem
from ocitool.places.registry.credentials.file import CredentialFile

_AUTHFILE = "REGISTRY_AUTH_FILE"
_INLINE = "DOCKER_AUTH_CONFIG"


class CredentialSource(Struct, frozen=True, kw_only=True):
    """A file, or a variable that holds the content itself. With `is_required` it has to exist."""

    path: str
    content: str | None = None
    is_required: bool = False
    is_legacy: bool = False

    def read(self) -> CredentialFile | None:
        """Return what is there, or None; raises CredentialProblem."""
        if self.content is not None:
            data = self.content.encode("utf-8", "surrogateescape")
            return CredentialFile.parse(data, self.path)
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
    """
    if authfile:
        yield CredentialSource(path=authfile, is_required=True)
    if environment.get(_AUTHFILE):
        yield CredentialSource(path=environment[_AUTHFILE])
    if environment.get(_INLINE):
        yield CredentialSource(path=_INLINE, content=environment[_INLINE])
    yield CredentialSource(path=docker_config(environment))
    yield CredentialSource(path=os.path.join(_runtime(environment), "containers", "auth.json"))
    yield CredentialSource(
        path=os.path.join(_configuration(environment), "containers", "auth.json")
    )
    yield CredentialSource(path=os.path.join(_home(environment), ".dockercfg"), is_legacy=True)


def written_path(environment: Mapping[str, str], authfile: str | None = None) -> str:
    """Return the file that `login` and `logout` change."""
    return authfile or environment.get(_AUTHFILE) or docker_config(environment)


def docker_config(environment: Mapping[str, str]) -> str:
    """Return the path of docker's own config.json."""
    folder = environment.get("DOCKER_CONFIG") or os.path.join(_home(environment), ".docker")
    return os.path.join(folder, "config.json")


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _runtime(environment: Mapping[str, str]) -> str:
    return environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"


def _configuration(environment: Mapping[str, str]) -> str:
    return environment.get("XDG_CONFIG_HOME") or os.path.join(_home(environment), ".config")
