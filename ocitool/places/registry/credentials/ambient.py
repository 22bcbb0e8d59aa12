"""Credentials that a job in CI has by itself, for registries for which nothing is configured.

GITHUB_TOKEN for GitHub's registry; AWS credentials for Amazon's. Their use is told.
"""

from collections.abc import Callable, Mapping

from ocitool.errors import AccessDenied, Unavailable
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.credentials.credential import Credential, CredentialProblem
from ocitool.places.registry.hosts import Host

_TOKEN, _ACTOR = "GITHUB_TOKEN", "GITHUB_ACTOR"


def find_ambient(
    domain: str, environment: Mapping[str, str], remark: Callable[[str], None]
) -> Credential | None:
    """Return the credential that the environment has for a registry, or None.

    CredentialProblem where AWS credentials are there and do not work.
    """
    host = Host(domain)
    if host.is_github:
        token, actor = environment.get(_TOKEN), environment.get(_ACTOR)
        if not token or not actor:
            return None
        remark(f"no credential for {domain} is configured: {_TOKEN} is used, as {actor}")
        return Credential(username=actor, password=token, origin=_TOKEN)
    amazon = EcrHost.parse(domain)
    return None if amazon is None or amazon.is_public else _of_amazon(domain, environment, remark)


def _of_amazon(
    domain: str, environment: Mapping[str, str], remark: Callable[[str], None]
) -> Credential | None:
    from ocitool.places.registry.aws.ecr import ambient_credential

    try:
        found = ambient_credential(environment, domain)
    except (AccessDenied, Unavailable) as error:
        raise CredentialProblem(f"{domain}: {error.message}", hint=error.hint) from error
    if found is not None:
        remark(f"no credential for {domain} is configured: one comes from {found.origin}")
    return found
