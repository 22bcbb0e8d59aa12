"""Place 3: repositories in registries, over HTTP (OCI distribution-spec 1.1).

`registries` is what all of a command shares, `session` the conversation about one repository, over
`transport` and `connections`, with credentials by `auth`;
`repository` reads images, `writing` stores them, `listing` and `referrers` find out what there is.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.registry.options import RegistryOptions
    from ocitool.registry.registries import Registries
    from ocitool.registry.repository import Repository
    from ocitool.registry.session import Session
    from ocitool.registry.writing import RepositoryWriter

_HOMES = {
    "RegistryOptions": "options",
    "Repository": "repository",
    "Registries": "registries",
    "Session": "session",
    "RepositoryWriter": "writing",
}

__all__ = ["Registries", "RegistryOptions", "Repository", "RepositoryWriter", "Session"]


def __getattr__(name: str) -> object:
    """Load what is asked for, so that nobody pays for the rest."""
    from importlib import import_module

    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(name) from None
    return getattr(import_module(f"ocitool.registry.{home}"), name)
