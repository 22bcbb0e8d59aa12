"""The emulated registry lets in whom it should, and asks in the ways of real ones."""

import base64
import json
import time

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import Reply, send
from tests.support.registry import Access, EmulatedRegistry, Quirks, TokenQuirks
from tests.support.tokens import TokenOffice, TokenServer

DATA = b"some data"
TARGET = f"/v2/a/blobs/{Digest.of(DATA)}"
UPLOADS = "/v2/a/blobs/uploads/"
BASIC = {"Authorization": "Basic " + base64.b64encode(b"user:pass").decode()}
WRONG = {"Authorization": "Basic " + base64.b64encode(b"user:word").decode()}


def opened(access: Access, tokens: TokenQuirks | TokenOffice | None = None) -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(access=access), tokens=tokens)
    registry.add_blob("a", DATA)
    return registry


def token(host: str, query: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    reply = send(host, "GET", f"/token?{query}", headers=headers)
    assert reply.status == 200
    bearer = json.loads(reply.body)["token"]
    return {"Authorization": f"Bearer {bearer}"}


def challenges(reply: Reply) -> list[str]:
    return reply.headers.get_all("WWW-Authenticate", [])


class TestBasic:
    def test_a_password_opens_the_registry(self) -> None:
        with opened(Access(scheme="basic")) as registry:
            replies = [send(registry.host, "GET", TARGET, headers=h) for h in ({}, WRONG, BASIC)]
        assert [reply.status for reply in replies] == [401, 401, 200]
        assert challenges(replies[0]) == ['Basic realm="Emulated"']


class TestBearer:
    def test_a_token_opens_what_it_names(self) -> None:
        with opened(Access(scheme="bearer")) as registry:
            bearer = token(registry.host, "scope=repository:a:pull", BASIC)
            assert send(registry.host, "GET", TARGET, headers=bearer).status == 200
            refused = send(registry.host, "POST", UPLOADS, headers=bearer)
            url = registry.url
        assert refused.status == 401
        service = f'Bearer realm="{url}/token",service="emulated"'
        scope = 'scope="repository:a:pull,push",error="insufficient_scope"'
        assert challenges(refused) == [f"{service},{scope}"]

    def test_a_mount_needs_both_repositories(self) -> None:
        with opened(Access(scheme="bearer")) as registry:
            target = f"/v2/b/blobs/uploads/?mount={Digest.of(DATA)}&from=a"
            refused = send(registry.host, "POST", target)
            both = "scope=repository:b:pull,push&scope=repository:a:pull"
            bearer = token(registry.host, both, BASIC)
            assert send(registry.host, "POST", target, headers=bearer).status == 201
        assert 'scope="repository:b:pull,push repository:a:pull"' in challenges(refused)[0]

    def test_a_token_grows_old(self) -> None:
        with opened(Access(scheme="bearer"), TokenQuirks(lifetime=0.2)) as registry:
            bearer = token(registry.host, "scope=repository:a:pull", BASIC)
            fresh = send(registry.host, "GET", TARGET, headers=bearer)
            time.sleep(0.25)
            old = send(registry.host, "GET", TARGET, headers=bearer)
        assert (fresh.status, old.status) == (200, 401)
        assert 'error="invalid_token"' in challenges(old)[0]

    def test_tokens_can_be_revoked(self) -> None:
        with opened(Access(scheme="bearer")) as registry:
            bearer = token(registry.host, "scope=repository:a:pull", BASIC)
            registry.office.revoke_all()
            assert send(registry.host, "GET", TARGET, headers=bearer).status == 401

    def test_wrong_credentials_get_no_token(self) -> None:
        with opened(Access(scheme="bearer")) as registry:
            assert send(registry.host, "GET", "/token", headers=WRONG).status == 401

    def test_nobody_gets_what_anyone_may_have(self) -> None:
        quirks = TokenQuirks(anonymous=frozenset({"pull"}))
        with opened(Access(scheme="bearer"), quirks) as registry:
            bearer = token(registry.host, "scope=repository:a:pull,push")
            assert send(registry.host, "GET", TARGET, headers=bearer).status == 200
            assert send(registry.host, "POST", UPLOADS, headers=bearer).status == 401

    def test_the_first_scope_may_be_the_only_one(self) -> None:
        with opened(Access(scheme="bearer"), TokenQuirks(first_scope_only=True)) as registry:
            both = "scope=repository:b:pull&scope=repository:a:pull"
            bearer = token(registry.host, both, BASIC)
            assert send(registry.host, "GET", TARGET, headers=bearer).status == 401

    def test_an_identity_token_is_exchanged_by_post(self) -> None:
        form = b"grant_type=refresh_token&refresh_token=identity&scope=repository%3Aa%3Apull"
        with opened(Access(scheme="bearer")) as registry:
            reply = send(registry.host, "POST", "/token", form)
            bearer = {"Authorization": f"Bearer {json.loads(reply.body)['token']}"}
            assert send(registry.host, "GET", TARGET, headers=bearer).status == 200
            assert (
                send(registry.host, "POST", "/token", form.replace(b"identity", b"x")).status == 401
            )

    @pytest.mark.parametrize("status", [404, 405])
    def test_post_may_be_unknown(self, status: int) -> None:
        with opened(Access(scheme="bearer"), TokenQuirks(post_status=status)) as registry:
            assert send(registry.host, "POST", "/token", b"grant_type=password").status == status

    def test_the_answer_has_other_fields(self) -> None:
        quirks = TokenQuirks(field_name="access_token", expires_in=-1)
        with opened(Access(scheme="bearer"), quirks) as registry:
            fields = json.loads(send(registry.host, "GET", "/token").body)
        assert set(fields) == {"access_token", "issued_at"}

    def test_the_clock_is_wrong(self) -> None:
        with opened(Access(scheme="bearer"), TokenQuirks(clock_ahead=86400.0)) as registry:
            issued = json.loads(send(registry.host, "GET", "/token").body)["issued_at"]
        assert issued > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86000))

    def test_the_answer_is_no_token(self) -> None:
        with opened(Access(scheme="bearer"), TokenQuirks(body=b"<html>")) as registry:
            assert send(registry.host, "GET", "/token").body == b"<html>"

    def test_the_realm_is_elsewhere(self) -> None:
        office = TokenOffice()
        with TokenServer(office) as tokens:
            access = Access(scheme="bearer", realm=tokens.realm)
            with opened(access, office) as registry:
                refused = send(registry.host, "GET", TARGET)
                bearer = token(tokens.host, "scope=repository:a:pull", BASIC)
                assert send(registry.host, "GET", TARGET, headers=bearer).status == 200
            assert f'realm="{tokens.realm}"' in challenges(refused)[0]


class TestChallenges:
    def test_they_are_sent_as_spelled(self) -> None:
        lines = ("Negotiate", 'BEARER realm={realm}, Scope="{scope}"')
        with opened(Access(scheme="bearer", challenges=lines)) as registry:
            reply = send(registry.host, "GET", TARGET)
            realm = f"{registry.url}/token"
        assert challenges(reply) == [
            "Negotiate",
            f'BEARER realm={realm}, Scope="repository:a:pull"',
        ]

    def test_the_header_may_be_missing(self) -> None:
        with opened(Access(scheme="bearer", challenge_at="never")) as registry:
            reply = send(registry.host, "GET", TARGET)
        assert (reply.status, challenges(reply)) == (401, [])

    def test_only_the_ping_may_have_it(self) -> None:
        with opened(Access(scheme="bearer", challenge_at="ping")) as registry:
            found = [challenges(send(registry.host, "GET", path)) for path in ("/v2/", TARGET)]
        assert [len(each) for each in found] == [1, 0]

    def test_the_ping_may_be_open(self) -> None:
        with opened(Access(scheme="bearer", open_ping=True, anonymous_pull=True)) as registry:
            replies = [
                send(registry.host, "GET", "/v2/"),
                send(registry.host, "GET", TARGET),
                send(registry.host, "POST", UPLOADS),
                send(registry.host, "GET", TARGET, headers={"Authorization": "Bearer old"}),
            ]
        assert [reply.status for reply in replies] == [200, 200, 401, 401]

    def test_a_token_that_does_not_suffice_may_be_forbidden(self) -> None:
        with opened(Access(scheme="bearer", denied_status=403)) as registry:
            bearer = token(registry.host, "scope=repository:a:pull", BASIC)
            assert send(registry.host, "POST", UPLOADS, headers=bearer).status == 403
