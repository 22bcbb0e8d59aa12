"""Place 3: repositories in registries, over HTTP (OCI distribution-spec 1.1).

`registries` is what all of a command shares, `session` the conversation about one repository, over
`transport` and `connections`, with credentials by `auth`;
`repository` reads images, `writing` stores them, `listing` and `referrers` find out what there is.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.places.registry.options import RegistryOptions as RegistryOptions
    from ocitool.places.registry.registries import Registries as Registries
    from ocitool.places.registry.repository import Repository as Repository
    from ocitool.places.registry.session import Session as Session
    from ocitool.places.registry.writing import RepositoryWriter as RepositoryWriter

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Registries": "registries",
        "RegistryOptions": "options",
        "Repository": "repository",
        "RepositoryWriter": "writing",
        "Session": "session",
    },
)
