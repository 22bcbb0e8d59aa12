"""Tokens: how they are asked for, what is taken for one, and how long it is used."""

import json
from urllib.parse import parse_qsl

import httpx
import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry.credentials.credential import Credential
from ocitool.places.registry.http.retrying import ServerBusy
from tests.places.registry.auth_servers import (
    BASE,
    HOST,
    IDENTITY,
    PULL,
    PUSH,
    SECRET,
    USER,
    Caller,
    Pieces,
    Servers,
    basic_of,
    form_of,
    refused,
)


class TestTokenByGet:
    def first(self, credential: Credential | None, scopes: tuple[str, ...]) -> httpx.Request:
        servers = Servers()
        Caller(servers, credential).send("POST", scopes=scopes, writing=True)
        return servers.asked()[0]

    def test_each_repository_is_a_scope_of_its_own_the_one_to_push_to_first(self) -> None:
        asked = self.first(None, PUSH)
        assert parse_qsl(asked.url.query.decode()) == [
            ("service", "registry"),
            ("scope", "repository:a/b:pull,push"),
            ("scope", "repository:c/d:pull"),
        ]

    def test_an_anonymous_request_has_no_authorization(self) -> None:
        assert "authorization" not in self.first(None, PULL).headers

    def test_a_user_sends_the_stored_password_and_says_who_it_is(self) -> None:
        asked = self.first(USER, PULL)
        assert asked.headers["authorization"] == basic_of("ann", SECRET)
        assert asked.url.params["account"] == "ann"

    def test_a_renewal_sends_the_password_again_and_not_the_old_token(self) -> None:
        servers = Servers()
        caller = Caller(servers, USER)
        caller.send()
        servers.valid.clear()
        assert caller.send().status_code == 200
        assert [one.headers["authorization"] for one in servers.asked()] == [
            basic_of("ann", SECRET)
        ] * 2

    def test_the_realms_own_query_is_kept(self) -> None:
        servers = Servers(realm=f"{BASE}/token?tenant=a%2Fb")
        Caller(servers).send()
        assert servers.asked()[0].url.query.startswith(b"tenant=a%2Fb&service=registry&scope=")

    def test_a_relative_realm_is_of_the_registry(self) -> None:
        servers = Servers(realm="/token")
        assert Caller(servers, USER).send().status_code == 200
        assert servers.asked()[0].url.host == HOST

    def test_a_challenge_without_a_service_asks_without_one(self) -> None:
        servers = Servers()
        servers.registry = lambda request: (
            servers.answer(request)
            if "authorization" in request.headers
            else refused(f'Bearer realm="{servers.realm}",service=""')
        )
        Caller(servers).send()
        assert "service" not in servers.asked()[0].url.params

    def test_a_request_without_scopes_asks_for_none(self) -> None:
        assert "scope" not in self.first(USER, ()).url.params

    def test_the_timeouts_of_the_request_hold_for_the_token_too(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send()
        asked, request = servers.asked()[0], servers.log[0]
        assert asked.extensions["timeout"] == request.extensions["timeout"]
        assert asked.headers["user-agent"] == request.headers["user-agent"]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_token_server_may_send_us_on_within_its_host(self, status: int) -> None:
        servers = Servers()
        servers.tokens = lambda request: httpx.Response(status, headers={"Location": "/t2?x=1"})
        servers.registry = lambda request: (
            servers.issue(request) if request.url.path == "/t2" else servers.answer(request)
        )
        assert Caller(servers, USER).send().status_code == 200
        assert servers.asked("/t2")[0].headers["authorization"] == basic_of("ann", SECRET)

    def test_but_not_with_a_credential_to_another(self) -> None:
        servers = Servers()
        servers.tokens = lambda request: httpx.Response(
            307, headers={"Location": "https://evil.example/token"}
        )
        with pytest.raises(AccessDenied, match=r"evil\.example"):
            Caller(servers, USER).send()
        assert {request.url.host for request in servers.log} == {HOST}

    def test_and_not_for_ever(self) -> None:
        servers = Servers()
        servers.tokens = lambda request: httpx.Response(307, headers={"Location": "/token"})
        with pytest.raises(AccessDenied, match="redirects more than 4 times"):
            Caller(servers).send()
        assert len(servers.asked()) == 5


class TestTokenByPost:
    def test_an_identity_token_is_exchanged(self) -> None:
        servers = Servers()
        assert Caller(servers, IDENTITY).send("POST", scopes=PUSH, writing=True).status_code == 200
        (asked,) = servers.asked()
        assert asked.method == "POST"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert form_of(asked) == {
            "grant_type": ["refresh_token"],
            "service": ["registry"],
            "client_id": ["ocitool"],
            "scope": ["repository:a/b:pull,push repository:c/d:pull"],
            "refresh_token": [SECRET],
        }
        assert "authorization" not in asked.headers

    @pytest.mark.parametrize("status", [404, 405])
    def test_a_server_that_knows_no_post_is_asked_by_get(self, status: int) -> None:
        servers = Servers()
        servers.tokens = lambda request: (
            httpx.Response(status) if request.method == "POST" else servers.issue(request)
        )
        assert Caller(servers, IDENTITY).send().status_code == 200
        assert [request.method for request in servers.asked()] == ["POST", "GET"]
        assert servers.asked()[1].headers["authorization"] == basic_of("<token>", SECRET)

    def test_a_name_beside_the_identity_token_does_not_become_its_password(self) -> None:
        servers = Servers()
        credential = Credential(username="0000", identity_token=SECRET, origin="f")
        Caller(servers, credential).send()
        assert servers.asked()[0].method == "POST"


class TestAnswersOfTokenServers:
    @pytest.mark.parametrize("name", ["token", "access_token"])
    def test_either_field_holds_the_token(self, name: str) -> None:
        servers = Servers(valid={"abc"}, tokens=lambda _: httpx.Response(200, json={name: "abc"}))
        assert Caller(servers).send().status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            b'{"details":"incorrect username or password"}',
            b"<html><body>Sign in</body></html>",
            b"",
            b"[]",
            b'{"token":""}',
            b'{"token":7}',
            b'{"token":"a b"}',
            b'{"token":"a\\r\\nX: y"}',
            b'{"token":"caf\xc3\xa9"}',
            b'{"token":null,"access_token":null}',
            b'{"token":"a","token":"b"}',
            b"[" * 100_000,
            b"\xff\xfe",
        ],
    )
    def test_an_answer_without_a_token_is_an_error(self, body: bytes) -> None:
        servers = Servers(tokens=lambda _: httpx.Response(200, content=body))
        with pytest.raises(AccessDenied, match=f"no token in response from {BASE}/token: "):
            Caller(servers, USER).send(writing=True)

    def test_the_beginning_of_such_an_answer_is_shown(self) -> None:
        body = '{"details":"incorrect  username\n or password"}' + "x" * 500
        servers = Servers(tokens=lambda _: httpx.Response(200, text=body))
        with pytest.raises(AccessDenied) as caught:
            Caller(servers).send()
        shown = caught.value.message.partition("/token: ")[2]
        assert shown.startswith('{"details":"incorrect username or password"}xxx')
        assert len(shown) == 200

    def test_more_than_the_limit_is_not_read(self) -> None:
        flood = Pieces(*[b" " * 65_536] * 1000)
        servers = Servers(tokens=lambda _: httpx.Response(200, stream=flood))
        with pytest.raises(AccessDenied, match="no token"):
            Caller(servers).send()
        assert flood.taken <= 3

    def test_a_compressed_answer_is_not_unpacked(self) -> None:
        servers = Servers(
            tokens=lambda _: httpx.Response(
                200, stream=Pieces(b'{"token":"abc"}'), headers={"Content-Encoding": "gzip"}
            ),
            valid={"abc"},
        )
        assert Caller(servers).send().status_code == 200

    def test_the_refusal_of_a_request_is_read_no_further_than_that(self) -> None:
        flood = Pieces(*[b" " * 65_536] * 1000)
        servers = Servers()
        servers.registry = lambda request: (
            servers.answer(request)
            if "authorization" in request.headers
            else httpx.Response(401, headers={"WWW-Authenticate": servers.challenge}, stream=flood)
        )
        assert Caller(servers).send().status_code == 200
        assert flood.taken <= 3

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_a_refused_credential_is_named_by_where_it_came_from(self, status: int) -> None:
        servers = Servers(tokens=lambda _: httpx.Response(status, text="wrong password"))
        with pytest.raises(AccessDenied) as caught:
            Caller(servers, USER).send(writing=True)
        assert USER.origin in caught.value.message
        assert "wrong password" in caught.value.message
        mend = f"`ocitool login {HOST}` replaces it, `ocitool logout {HOST}` removes it"
        assert caught.value.hint == mend

    def test_an_anonymous_refusal_says_to_log_in(self) -> None:
        servers = Servers(tokens=lambda _: httpx.Response(401))
        with pytest.raises(AccessDenied, match="wants credentials") as caught:
            Caller(servers).send()
        assert caught.value.hint == f"ocitool login {HOST}"

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 522])
    def test_a_busy_server_is_for_the_session_to_try_again(self, status: int) -> None:
        headers = {"Retry-After": "7"}
        servers = Servers(tokens=lambda _: httpx.Response(status, headers=headers))
        caller = Caller(servers, USER)
        with pytest.raises(ServerBusy) as caught:
            caller.send()
        assert caught.value.status == status
        assert caught.value.headers["retry-after"] == "7"
        servers.tokens = None
        assert caller.send().status_code == 200

    def test_docker_hub_is_called_by_its_usual_name(self) -> None:
        servers = Servers(realm="https://auth.docker.io/token")
        servers.tokens = lambda _: httpx.Response(401)
        with pytest.raises(AccessDenied) as caught:
            Caller(servers, base="https://registry-1.docker.io").send()
        assert caught.value.hint == "ocitool login docker.io"


class TestTime:
    @pytest.mark.parametrize(
        ("lifetime", "seconds"),
        [(300, 239), (3600, 3539), (100, 79), (60, 47), ("300", 239), (86400.5, 86340)],
    )
    def test_a_token_is_used_while_enough_of_its_life_is_left(
        self, lifetime: object, seconds: float
    ) -> None:
        servers = Servers(lifetime=lifetime)
        caller = Caller(servers)
        caller.send()
        caller.clock.now += seconds
        caller.send()
        assert len(servers.issued) == 1
        caller.clock.now += 2
        caller.send()
        assert len(servers.issued) == 2

    @pytest.mark.parametrize("lifetime", [None, 0, 5, -1, "soon", True, [], 1e400])
    def test_a_token_is_believed_to_last_a_minute_at_least(self, lifetime: object) -> None:
        servers = Servers()
        text = json.dumps({"token": "abc", "expires_in": lifetime})
        servers.tokens = lambda _: httpx.Response(200, text=text.replace("Infinity", "1e400"))
        servers.valid.add("abc")
        if lifetime == 1e400:
            with pytest.raises(AccessDenied):
                Caller(servers).send()
            return
        caller = Caller(servers)
        caller.send()
        caller.clock.now += 47
        caller.send()
        assert len(servers.asked()) == 1
        caller.clock.now += 2
        caller.send()
        assert len(servers.asked()) == 2

    def test_the_servers_own_clock_does_not_matter(self) -> None:
        servers = Servers(valid={"abc"})
        servers.tokens = lambda _: httpx.Response(
            200, json={"token": "abc", "expires_in": 300, "issued_at": "1999-01-01T00:00:00Z"}
        )
        caller = Caller(servers)
        caller.send()
        caller.send()
        assert len(servers.asked()) == 1

    def test_a_token_is_renewed_before_an_upload_that_it_would_not_survive(self) -> None:
        servers = Servers(lifetime=300)
        caller = Caller(servers)
        caller.send(scopes=PUSH, writing=True)
        caller.clock.now += 250
        body = Pieces(b"layer")
        assert caller.send("PUT", scopes=PUSH, writing=True, content=body).status_code == 200
        assert body.times == 1
        assert servers.sent[-1] == "Bearer token-2"

    def test_a_token_that_expired_during_an_upload_is_renewed_and_the_body_sent_again(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send(scopes=PUSH, writing=True)
        servers.valid.clear()
        body = Pieces(b"layer")
        assert caller.send("PUT", scopes=PUSH, writing=True, content=body).status_code == 200
        assert body.times == 2

    def test_a_registry_that_takes_no_token_gets_the_last_word(self) -> None:
        servers = Servers()
        servers.registry = lambda _: refused(servers.challenge)
        caller = Caller(servers)
        response = caller.send()
        assert response.status_code == 401
        assert not response.is_stream_consumed
        assert servers.sent == [None, "Bearer token-1", "Bearer token-2"]


class TestScopesThatAreMissing:
    def test_what_a_registry_says_is_missing_is_asked_for_once_more(self) -> None:
        servers = Servers()

        def registry(request: httpx.Request) -> httpx.Response:
            if request.headers.get("authorization") == "Bearer token-2":
                return httpx.Response(200)
            return refused(
                f'{servers.challenge},error="insufficient_scope",'
                'scope="repository:a/b:pull,delete repository:e/f:pull"'
            )

        servers.registry = registry
        assert Caller(servers).send().status_code == 200
        assert servers.asked()[1].url.params.get_list("scope") == [
            "repository:a/b:pull,delete",
            "repository:e/f:pull",
        ]

    def test_the_wider_token_serves_the_next_request(self) -> None:
        servers = Servers(error=',error="insufficient_scope",scope="aws"')
        servers.tokens = lambda request: (
            servers.issue(request)
            if "aws" in request.url.params.get_list("scope")
            else httpx.Response(200, json={"token": "narrow"})
        )
        caller = Caller(servers)
        assert caller.send().status_code == 200
        assert caller.send().status_code == 200
        assert servers.sent == [None, "Bearer narrow", "Bearer token-1", "Bearer token-1"]

    def test_nothing_more_to_ask_for_is_a_refusal(self) -> None:
        servers = Servers(error=',error="insufficient_scope",scope="repository:a/b:pull"')
        servers.registry = lambda _: refused(servers.challenge)
        assert Caller(servers).send().status_code == 401
        assert len(servers.issued) == 1

    def test_a_registry_that_always_wants_more_does_not_keep_us(self) -> None:
        servers = Servers()
        servers.registry = lambda _: refused(
            f'{servers.challenge},error="insufficient_scope",scope="r:{len(servers.log)}:pull"'
        )
        assert Caller(servers).send().status_code == 401
        assert len(servers.log) < 10

    def test_odd_scopes_of_a_challenge_do_not_change_what_we_ask_for(self) -> None:
        servers = Servers(error=',scope="aws"')
        caller = Caller(servers)
        caller.send()
        caller.send("PUT", writing=False)
        assert servers.asked()[0].url.params.get_list("scope") == list(PULL)
        assert len(servers.issued) == 1
