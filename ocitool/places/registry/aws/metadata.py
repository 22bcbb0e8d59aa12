"""Credentials that a container or a machine at Amazon has for itself."""

import ipaddress
import json
from collections.abc import Mapping

import httpx

from ocitool.errors import AccessDenied, UsageError
from ocitool.places.registry.aws.client import AwsClient, Call
from ocitool.places.registry.aws.signing import AwsKeys
from ocitool.places.registry.hosts import is_loopback
from ocitool.places.registry.http.request import Answer

_ECS = "http://169.254.170.2"
_CONTAINER_HOSTS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
_MACHINE = "http://169.254.169.254"
_MACHINE_V6 = "http://[fd00:ec2::254]"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_LIFETIME = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
_LONGEST = 64 << 10


def of_container(client: AwsClient) -> AwsKeys | None:
    """Return the credentials of this container (ECS, EKS Pod Identity); None where it has none."""
    environment = client.environment
    relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    full = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not relative and not full:
        return None
    url = f"{_ECS}{relative}" if relative else full or ""
    _check_container(url)
    headers, secrets = _authorization(environment)
    call = Call(method="GET", url=url, headers=headers, secrets=secrets)
    answer = client.ask_machine(call)
    if answer is None or answer.status != 200:
        said = "does not answer" if answer is None else f"answered {answer.status}"
        raise AccessDenied(
            f"the container's source of AWS credentials {said}",
            hint="look at AWS_CONTAINER_CREDENTIALS_FULL_URI and the task's role",
        )
    return _keys(answer, "the container's role")


def of_machine(client: AwsClient) -> AwsKeys | None:
    """Return the credentials of this machine's role (EC2, IMDSv2); None where there is none."""
    environment = client.environment
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    is_v6 = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
    base = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or (
        _MACHINE_V6 if is_v6 else _MACHINE
    )
    base = base.rstrip("/")
    session = client.ask_machine(
        Call(method="PUT", url=f"{base}/latest/api/token", headers=_LIFETIME)
    )
    if session is None or session.status != 200:
        return None
    headers = {"X-aws-ec2-metadata-token": session.text.strip()}
    roles = client.ask_machine(Call(method="GET", url=f"{base}{_ROLES}", headers=headers))
    if roles is None or roles.status != 200 or not roles.text.strip():
        return None
    role = roles.text.split()[0]
    answer = client.ask_machine(Call(method="GET", url=f"{base}{_ROLES}{role}", headers=headers))
    if answer is None or answer.status != 200:
        return None
    return _keys(answer, f"this machine's role {role[:64]}")


def _check_container(url: str) -> None:
    """Refuse to show the container's authorization to any host but its own, as AWS' tools do."""
    parsed = httpx.URL(url)
    name = parsed.host
    if parsed.scheme == "https" or (
        parsed.scheme == "http" and (is_loopback(name) or _is_of_container(name))
    ):
        return
    raise UsageError(
        f"AWS_CONTAINER_CREDENTIALS_FULL_URI leads to {name} without TLS",
        hint="only this machine and the container's own metadata are asked by http",
    )


def _is_of_container(name: str) -> bool:
    try:
        return str(ipaddress.ip_address(name)) in _CONTAINER_HOSTS
    except ValueError:
        return False


def _authorization(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    path = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") or ""
    if path:
        token = read_token(path)
    return ({"Authorization": token}, (token,)) if token else ({}, ())


def read_token(path: str) -> str:
    """Return the token that a file holds."""
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST).decode("utf-8", "replace").strip()
    except OSError as error:
        raise AccessDenied(f"the token in {path} cannot be read: {error.strerror}") from error


def _keys(answer: Answer, origin: str) -> AwsKeys:
    try:
        value = json.loads(answer.body)
        return AwsKeys(
            access_key=str(value["AccessKeyId"]),
            secret_key=str(value["SecretAccessKey"]),
            session_token=str(value["Token"]) if value.get("Token") else None,
            origin=origin,
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise AccessDenied(f"{origin}: the answer holds no AWS credentials") from None
