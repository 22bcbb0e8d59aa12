"""Credentials for a role (AWS Security Token Service, version 2011-06-15).

The answers are XML; of it four elements count, which hold no other element.
"""

import html
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from msgspec import Struct

from ocitool.errors import AccessDenied, OcitoolError
from ocitool.places.registry.aws.client import AwsClient, Call, refusal
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.aws.signing import AwsKeys, SigningScope, sign
from ocitool.places.registry.http.request import Answer

_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
_SESSION = "ocitool"


class Role(Struct, frozen=True, kw_only=True):
    """A role to take on."""

    arn: str
    session: str = _SESSION
    external_id: str | None = None


def by_web_identity(
    client: AwsClient, host: EcrHost, role: Role, token: str, origin: str
) -> AwsKeys:
    """Exchange the token of another identity provider (Kubernetes, GitHub, GitLab) for a role."""
    form = _form("AssumeRoleWithWebIdentity", role, WebIdentityToken=token)
    url = host.sts(client.environment)
    call = Call(method="POST", url=url, headers=_FORM, body=form, secrets=(token,))
    return _keys(client, call, "AssumeRoleWithWebIdentity", origin)


def by_keys(client: AwsClient, host: EcrHost, role: Role, keys: AwsKeys, origin: str) -> AwsKeys:
    """Take on a role with credentials that are there already."""
    more = {} if role.external_id is None else {"ExternalId": role.external_id}
    form = _form("AssumeRole", role, **more)
    url = host.sts(client.environment)
    scope = SigningScope("sts", host.region, client.now())
    headers = sign(keys, scope, url, _FORM, form)
    call = Call(method="POST", url=url, headers=headers, body=form, secrets=keys.secrets)
    return _keys(client, call, "AssumeRole", origin)


def _form(action: str, role: Role, **more: str) -> bytes:
    fields: Mapping[str, str] = {
        "Action": action,
        "Version": "2011-06-15",
        "RoleArn": role.arn,
        "RoleSessionName": role.session,
        **more,
    }
    return urlencode(fields, errors="surrogateescape").encode("ascii")


def _keys(client: AwsClient, call: Call, action: str, origin: str) -> AwsKeys:
    answer = client.send(call)
    if answer.status != 200:
        raise _refusal(call, answer, action, origin)
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    access, secret, token = (_element(answer.text, name) for name in names)
    if not (access and secret and token):
        raise AccessDenied(f"there are no credentials in the answer to {action}")
    return AwsKeys(access_key=access, secret_key=secret, session_token=token, origin=origin)


def _refusal(call: Call, answer: Answer, action: str, origin: str) -> OcitoolError:
    code, said = _element(answer.text, "Code") or "", _element(answer.text, "Message") or ""
    return refusal(call, answer, action, code, said, origin)


def _element(text: str, name: str) -> str | None:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found.group(1)).strip() if found is not None else None
