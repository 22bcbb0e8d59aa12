"""Home folders with credential files and helpers in them."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

from ocitool.places.registry.credentials.chain import Credential, CredentialChain
from tests.places.registry.fake_helpers import Helpers

SECRET = "canary-s3cret"
HUB_KEY = "https://index.docker.io/v1/"
HOST = "host.example:5000"


def entry(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def auths(**users: str) -> dict[str, object]:
    return {"auths": {key: entry(user) for key, user in users.items()}}


@dataclass
class Home:
    """A home folder with the environment that leads to it."""

    folder: Path
    warnings: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.helpers = Helpers(self.folder / "bin")
        self.variables = {
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "PATH": f"{self.helpers.folder}:/usr/bin:/bin",
        }

    def write(self, name: str, content: object) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def docker(self, content: object) -> str:
        return self.write(".docker/config.json", content)

    def chain(
        self,
        *,
        username: str | None = None,
        password: str | None = None,
        authfile: str | None = None,
        helper_seconds: float = 30,
    ) -> CredentialChain:
        return CredentialChain(
            username=username,
            password=password,
            authfile=authfile,
            environment=self.variables,
            warn=self.warnings.append,
            helper_seconds=helper_seconds,
        )

    def find(
        self, domain: str = HOST, path: str = "a/b", *, writing: bool = False
    ) -> Credential | None:
        return self.chain().find(domain, path, writing=writing)

    def user(self, domain: str = HOST, path: str = "a/b") -> str | None:
        """Return who we are to a repository; nothing must be amiss."""
        found = self.find(domain, path, writing=True)
        assert self.warnings == []
        return None if found is None else found.username
