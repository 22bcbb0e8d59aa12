"""Amazon's registry interface: the token that its registries take as a password; repositories."""

import base64
import binascii
from collections.abc import Mapping

from ocitool.errors import AccessDenied, UsageError
from ocitool.places.registry.aws.client import AwsClient, AwsRefusal
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.aws.identity import find_keys, require_keys
from ocitool.places.registry.aws.signing import AwsKeys
from ocitool.places.registry.credentials.credential import Credential

_PRIVATE = "AmazonEC2ContainerRegistry_V20150921"
_PUBLIC = "SpencerFrontendService"


def login_credential(environment: Mapping[str, str], domain: str) -> Credential:
    """Return a credential for one of Amazon's registries, good for 12 hours.

    AccessDenied when there are no AWS credentials, or they do not suffice.
    """
    with AwsClient(environment) as client:
        host = host_of(domain)
        return _credential(client, host, require_keys(client, host))


def ambient_credential(environment: Mapping[str, str], domain: str) -> Credential | None:
    """Return a credential by what the environment or ~/.aws say; None where they say nothing."""
    host = EcrHost.parse(domain)
    if host is None or host.is_public:
        return None
    with AwsClient(environment) as client:
        keys = find_keys(client, host, of_this_machine=False)
        return None if keys is None else _credential(client, host, keys)


def create_repository(environment: Mapping[str, str], domain: str, path: str) -> bool:
    """Create a repository; return False when it exists already.

    UsageError for registries that create repositories by themselves.
    """
    host = host_of(domain)
    wanted: dict[str, object] = {"repositoryName": path, "registryId": host.account}
    if host.is_public:
        # The first part of a public name is its owner's.
        wanted = {"repositoryName": path.partition("/")[2] or path}
    with AwsClient(environment) as client:
        keys = require_keys(client, host)
        try:
            call(client, host, keys, "CreateRepository", wanted)
        except AwsRefusal as refusal:
            if refusal.is_already_there:
                return False
            raise
    return True


def host_of(domain: str) -> EcrHost:
    """Return what the host of a registry says; UsageError when it is not one of Amazon's."""
    host = EcrHost.parse(domain)
    if host is None:
        raise UsageError(
            f"{domain} creates repositories when they are pushed to", hint="leave out --create-repo"
        )
    return host


def _credential(client: AwsClient, host: EcrHost, keys: AwsKeys) -> Credential:
    answer = call(client, host, keys, "GetAuthorizationToken", {})
    data = answer.get("authorizationData")
    entry = data[0] if isinstance(data, list) and data else data
    text = entry.get("authorizationToken") if isinstance(entry, dict) else None
    try:
        decoded = base64.b64decode(str(text), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    user, colon, password = decoded.partition(":")
    if not colon:
        raise AccessDenied("there is no token in the answer to GetAuthorizationToken")
    return Credential(username=user, password=password, origin=keys.origin)


def call(
    client: AwsClient, host: EcrHost, keys: AwsKeys, operation: str, value: object
) -> Mapping[str, object]:
    """Call an operation of the registry's interface. Raises AwsRefusal."""
    target = f"{_PUBLIC if host.is_public else _PRIVATE}.{operation}"
    url = f"{host.api(client.environment).rstrip('/')}/"
    return client.signed(url, host.service, host.region, keys, target, value)
