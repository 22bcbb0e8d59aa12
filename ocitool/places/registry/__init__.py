"""Registries as a place: their repositories, over HTTP (OCI distribution-spec 1.1).

What to find where:

- `repository` reads images (`download` resumes broken blobs), `writing` stores them (`upload`,
  `upload_session`); `listing` and `referrers` find out what there is;
- `session` takes each request about a repository through its steps, retry(redirect(auth(wire)));
- `registries` is what all requests of a command share, `options` what a user says about them,
  `hosts` what the name of a registry tells about it;
- `http` holds the steps, the connections, and the errors that refusals become (`http.problems`);
- `auth` answers challenges, `credentials` finds the password to answer them with, and `aws` the
  one for Amazon's registry, where it also creates repositories.
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
        "options": "RegistryOptions",
        "registries": "Registries",
        "repository": "Repository",
        "session": "Session",
        "writing": "RepositoryWriter",
    },
)
