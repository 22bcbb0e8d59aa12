"""Which repositories to ask for an image, and in which order: mirrors first, its registry last."""

from collections.abc import Mapping

from ocitool.oci import Reference
from ocitool.places.registry.mirrors import hosts_toml, registries_conf
from ocitool.places.registry.mirrors.endpoint import Endpoint
from ocitool.places.registry.options import HostRules
from ocitool.places.registry.registries import Registries
from ocitool.places.registry.repository import Repository
from ocitool.places.registry.session import Session

_RETRIES = 1
"""A mirror that does not answer is left for the next place soon."""


def find_endpoints(reference: Reference, environment: Mapping[str, str]) -> list[Endpoint | None]:
    """Return where to ask for an image; None stands for the registry that its name says.

    Refused where registries.conf blocks the registry, UsageError for a file that cannot be read.
    """
    mirrors, place = registries_conf.mirrors(reference, environment)
    more, other_place = hosts_toml.mirrors(reference, environment)
    found: list[Endpoint | None] = [*mirrors, *more, place or other_place]
    return found


def repositories(registries: Registries, reference: Reference) -> list[Repository]:
    """Return the repositories to ask for an image; each gets only the credential for its host."""
    found = find_endpoints(reference, registries.environment)
    return [
        Repository.of(registries, reference)
        if endpoint is None
        else _repository(registries, reference, endpoint, is_last=endpoint is found[-1])
        for endpoint in found
    ]


def _repository(
    registries: Registries, reference: Reference, endpoint: Endpoint, *, is_last: bool
) -> Repository:
    rules = HostRules(
        is_insecure=endpoint.is_insecure, is_plain=endpoint.is_plain, ca_cert=endpoint.ca_cert
    )
    if rules != HostRules():
        registries.learn(endpoint.domain, rules)
    session = Session(
        registries,
        endpoint.domain,
        endpoint.path,
        root=endpoint.root,
        asks_for=endpoint.asks_for,
        retry_limit=None if is_last else _RETRIES,
    )
    return Repository(session, known_as=reference.repository)
