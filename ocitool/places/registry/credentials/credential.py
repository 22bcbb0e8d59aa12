"""The credential that identifies us to a registry."""

import os
from dataclasses import dataclass, field

from ocitool.errors import AccessDenied

IDENTITY_USER = "<token>"
"""The user name that says: the password is an identity token (docker's helper protocol)."""
TYPED, HELPER = "the command line", "helper "
"""The origin of what was given to this run, and how that of a helper's answer begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A name and password, or a token in their place. `origin` says where it was found.

    An `identity_token` is exchanged for access tokens at the token server; a `registry_token` is
    itself what the registry is shown. No secret is in the value's text.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)
    origin: str = ""

    @classmethod
    def of_pair(cls, username: str, secret: str, origin: str) -> "Credential":
        """Return what a name and a secret mean: the name `<token>` makes it an identity token."""
        if username == IDENTITY_USER:
            return cls(identity_token=secret, origin=origin)
        return cls(username=username, password=secret, origin=origin)

    @property
    def kind(self) -> str:
        """What identifies us, in words."""
        if self.registry_token is not None:
            return "registry token"
        return "identity token" if self.identity_token is not None else "password"

    @property
    def pair(self) -> tuple[str, str]:
        """The name and secret by which helpers know it, and `Basic` sends it."""
        if self.password is not None:
            return self.username or "", self.password
        return self.username or IDENTITY_USER, self.identity_token or ""


def how_to_mend(registry: str, origin: str) -> str:
    """Return what to do about a credential from `origin` that a registry refuses."""
    if origin == TYPED:
        return "look at the user name and the password that were given"
    if os.path.isabs(origin) or origin.startswith(HELPER):
        return f"`ocitool login {registry}` replaces it, `ocitool logout {registry}` removes it"
    return f"correct it there; or remove it from there, and `ocitool login {registry}` asks for one"


class CredentialProblem(AccessDenied):
    """A credential cannot be looked up: reads continue without it, writes do not."""
