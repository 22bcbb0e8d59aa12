"""Who we are at Amazon: credentials from the places where its own tools look, in their order."""

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from ocitool.errors import AccessDenied
from ocitool.places.registry.aws.client import AwsClient, Call, hide
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.aws.metadata import of_container, of_machine, read_token
from ocitool.places.registry.aws.profiles import Profiles
from ocitool.places.registry.aws.signing import AwsKeys
from ocitool.places.registry.aws.sts import Role, by_web_identity
from ocitool.places.registry.http.locations import with_query

_AUDIENCE = "sts.amazonaws.com"
_AUDIENCE_CHINA = "sts.amazonaws.com.cn"
_NOWHERE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN with "
    "AWS_WEB_IDENTITY_TOKEN_FILE, or AWS_PROFILE"
)


def find_keys(client: AwsClient, host: EcrHost, *, of_this_machine: bool = True) -> AwsKeys | None:
    """Return AWS credentials: of the variables, a web identity, a profile, the container.

    With `of_this_machine` those of the machine come last, which takes a request to its metadata.
    None when there are none; AccessDenied where there are some that do not work.
    """
    environment = client.environment
    looks: list[Callable[[], AwsKeys | None]] = [
        lambda: of_variables(environment),
        lambda: of_web_identity(client, host),
        lambda: Profiles(client, host, lambda: of_variables(environment)).find(),
        lambda: of_container(client),
    ]
    if of_this_machine:
        looks.append(lambda: of_machine(client))
    for look in looks:
        found = look()
        if found is not None:
            return found
    return None


def require_keys(client: AwsClient, host: EcrHost) -> AwsKeys:
    """Return AWS credentials, also those of the machine; AccessDenied when there are none."""
    found = find_keys(client, host)
    if found is None:
        raise AccessDenied(
            "no AWS credentials were found: in the variables, as a web identity, in ~/.aws, of "
            "the container or of the machine",
            hint=_NOWHERE,
        )
    return found


def of_variables(environment: Mapping[str, str]) -> AwsKeys | None:
    """Return the credentials that the environment holds itself."""
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    return AwsKeys(
        access_key=access,
        secret_key=secret,
        session_token=environment.get("AWS_SESSION_TOKEN") or None,
        origin="AWS_ACCESS_KEY_ID",
    )


def of_web_identity(client: AwsClient, host: EcrHost) -> AwsKeys | None:
    """Return credentials for the role in AWS_ROLE_ARN, by a token of another identity provider.

    The token is in a file (Kubernetes), in a variable (GitLab's id_tokens), or GitHub gives it to
    a job with the permission `id-token: write`.
    """
    environment = client.environment
    arn = environment.get("AWS_ROLE_ARN")
    if not arn:
        return None
    path = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    token = read_token(path) if path else environment.get("AWS_WEB_IDENTITY_TOKEN")
    token = token or _github_token(client, host)
    if not token:
        return None
    session = environment.get("AWS_ROLE_SESSION_NAME") or "ocitool"
    return by_web_identity(client, host, Role(arn=arn, session=session), token, f"the role {arn}")


def _github_token(client: AwsClient, host: EcrHost) -> str | None:
    environment = client.environment
    url = environment.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    bearer = environment.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    if not url or not bearer:
        return None
    audience = _AUDIENCE_CHINA if host.suffix.endswith(".cn") else _AUDIENCE
    call = Call(
        method="GET",
        url=with_query(url, [("audience", audience)]),
        headers={"Authorization": f"Bearer {bearer}", "Accept": "application/json"},
        secrets=(bearer,),
    )
    answer = client.send(call)
    token = None
    if answer.status == 200:
        try:
            token = json.loads(answer.body)["value"]
        except (ValueError, RecursionError, KeyError, TypeError):
            token = None
    if not isinstance(token, str) or not token:
        said = hide(answer.text, call.secrets)[:200] if answer.status != 200 else "no token"
        raise AccessDenied(
            f"{urlsplit(url).hostname} gave no identity token ({answer.status}): {said}",
            hint="the job needs `permissions: id-token: write`",
        )
    return token
