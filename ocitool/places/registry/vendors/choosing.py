"""Which interface a repository is cleaned up by."""

from typing import Final

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.places.registry.session import Session
from ocitool.places.registry.vendors.plain import PlainService
from ocitool.places.registry.vendors.service import Service

APIS: Final = ("auto", "oci")


def service_for(session: Session, api: str = "auto") -> Service:
    """Return the interface that `api` names, or that the registry's host has; UsageError."""
    if api not in APIS:
        raise UsageError(f"--api {quoted(api)} is not one of {', '.join(APIS)}")
    return PlainService(session)
