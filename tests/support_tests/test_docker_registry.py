"""Debian's registry runs in each of its configurations, and asks for what it should."""

import base64
import json
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import send
from tests.support.docker_registry import running_registry
from tests.support.tokens import TokenQuirks

BASIC = {"Authorization": "Basic " + base64.b64encode(b"user:pass").decode()}
SCOPE = "repository:a/b:pull,push"


def test_a_plain_registry_takes_a_blob_and_deletes_it(tmp_path: Path) -> None:
    data = b"some data"
    digest = Digest.of(data)
    with running_registry(tmp_path) as registry:
        started = send(registry.host, "POST", "/v2/a/b/blobs/uploads/")
        location = started.headers["Location"].removeprefix(f"http://{registry.host}")
        done = send(registry.host, "PUT", f"{location}&digest={quote(str(digest))}", data)
        got = send(registry.host, "GET", f"/v2/a/b/blobs/{digest}")
        deleted = send(registry.host, "DELETE", f"/v2/a/b/blobs/{digest}")
    assert (done.status, got.body, deleted.status) == (201, data, 202)


def test_deletion_can_be_forbidden(tmp_path: Path) -> None:
    with running_registry(tmp_path, delete=False) as registry:
        reply = send(registry.host, "DELETE", f"/v2/a/b/blobs/{Digest.of(b'')}")
    assert reply.status == 405


def test_a_registry_with_passwords_lets_its_user_in(tmp_path: Path) -> None:
    with running_registry(tmp_path, "htpasswd") as registry:
        refused = send(registry.host, "GET", "/v2/")
        welcome = send(registry.host, "GET", "/v2/", headers=BASIC)
        started = send(registry.host, "POST", "/v2/a/blobs/uploads/", headers=BASIC)
    assert (refused.status, welcome.status) == (401, 200)
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="Test Realm"'
    assert started.headers["Location"].startswith("/v2/a/blobs/uploads/")


def test_a_registry_with_tokens_trusts_those_of_its_server(tmp_path: Path) -> None:
    with running_registry(tmp_path, "token") as registry:
        assert registry.tokens is not None
        refused = send(registry.host, "POST", "/v2/a/b/blobs/uploads/")
        target = f"/token?service=docker-registry&scope={SCOPE}"
        answer = send(registry.tokens.host, "GET", target, headers=BASIC)
        bearer = {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}
        started = send(registry.host, "POST", "/v2/a/b/blobs/uploads/", headers=bearer)
        elsewhere = send(registry.host, "POST", "/v2/c/blobs/uploads/", headers=bearer)
        realm = registry.tokens.realm
    assert (refused.status, started.status, elsewhere.status) == (401, 202, 401)
    # The registry keeps actions in a map: their order is of chance.
    challenge = refused.headers["WWW-Authenticate"].replace("push,pull", "pull,push")
    assert challenge == f'Bearer realm="{realm}",service="docker-registry",scope="{SCOPE}"'


def test_a_token_without_a_right_does_not_give_it(tmp_path: Path) -> None:
    quirks = TokenQuirks(never=frozenset({"push"}))
    with running_registry(tmp_path, "token", token_quirks=quirks) as registry:
        assert registry.tokens is not None
        target = f"/token?service=docker-registry&scope={SCOPE}"
        answer = send(registry.tokens.host, "GET", target, headers=BASIC)
        bearer = {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}
        reply = send(registry.host, "POST", "/v2/a/b/blobs/uploads/", headers=bearer)
    assert (reply.status, "insufficient_scope" in reply.headers["WWW-Authenticate"]) == (401, True)


def test_a_registry_over_tls_wants_a_certificate(tmp_path: Path) -> None:
    with running_registry(tmp_path, "tls") as registry:
        context = registry.context()
        assert send(registry.host, "GET", "/v2/", tls=context).status == 200
        anonymous = ssl.create_default_context(cafile=registry.ca)
        with pytest.raises(ssl.SSLError):
            send(registry.host, "GET", "/v2/", tls=anonymous)
        with pytest.raises(ssl.SSLCertVerificationError):
            send(registry.host, "GET", "/v2/", tls=ssl.create_default_context())
