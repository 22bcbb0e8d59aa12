"""ocitool login at Amazon's registries, with AWS credentials in place of a name and a password."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.cli.output import Output
    from ocitool.places.registry import RegistryOptions
    from ocitool.places.registry.credentials.store import CredentialStore

_HELPER = "ecr-login"


def login_at_amazon(
    domain: str,
    store: "CredentialStore",
    check: "Callable[[RegistryOptions], object]",
    out: "Output",
    registry: "RegistryOptions",
) -> tuple[str, str]:
    """Get a password for the registry and store it, unless Amazon's own helper does all that.

    Returns the user name and what keeps the password. `check` asks the registry whether it accepts
    the credential of the options.
    """
    if store.helper(domain) == _HELPER:
        check(registry)
        return "AWS", f"helper docker-credential-{_HELPER}"
    from ocitool.places.registry.aws.ecr import login_credential

    found = login_credential(os.environ, domain)
    user, password = found.pair
    out.remark([f"a token for 12 hours comes from the AWS credentials of {found.origin}"])
    check(replace(registry, username=user, password=password))
    return user, store.save(domain, found)
