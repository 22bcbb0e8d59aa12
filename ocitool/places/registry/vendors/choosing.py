"""Which interface a repository is cleaned up by."""

from typing import Final

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.places.registry.session import Session
from ocitool.places.registry.vendors.plain import PlainService
from ocitool.places.registry.vendors.service import Service

APIS: Final = ("auto", "oci", "ghcr", "ecr")
_ABSENT: Final = ("gitlab", "harbor")
"""Interfaces that exist, and that nothing here speaks."""


def check_api(api: str) -> None:
    """Raise UsageError for an interface that is not known here."""
    if api in _ABSENT:
        raise UsageError(
            f"--api {api}: the interface of {api} is not spoken here",
            hint="--api oci uses the specification's own, which lists tags alone",
        )
    if api not in APIS:
        raise UsageError(f"--api {quoted(api)} is not one of {', '.join(APIS)}")


def service_for(session: Session, api: str = "auto") -> Service:
    """Return the interface that `api` names, or that the registry's host has; UsageError."""
    check_api(api)
    host = session.host
    if api == "ghcr" or (api == "auto" and host.is_github):
        from ocitool.places.registry.vendors.github import GitHubService

        return GitHubService(session)
    if api == "ecr" or (api == "auto" and host.is_ecr):
        from ocitool.places.registry.vendors.amazon import AmazonService

        return AmazonService(session)
    return PlainService(session)
