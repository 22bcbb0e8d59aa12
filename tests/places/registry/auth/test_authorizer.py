"""Answering challenges: what is sent, and when."""

from collections.abc import Callable

import httpx
import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry.credentials.credential import Credential
from tests.places.registry.auth_servers import (
    HOST,
    IDENTITY,
    PULL,
    PUSH,
    REGISTRY_TOKEN,
    SECRET,
    USER,
    Caller,
    Pieces,
    Servers,
    basic_of,
    refused,
)


class TestWithoutAChallenge:
    def test_nothing_is_sent_and_nothing_looked_up(self) -> None:
        servers = Servers(registry=lambda _: httpx.Response(200))
        caller = Caller(servers, USER)
        assert caller.send().status_code == 200
        assert servers.sent == [None]
        assert caller.lookups == 0

    def test_another_refusal_is_the_callers(self) -> None:
        caller = Caller(Servers(registry=lambda _: httpx.Response(403)), USER)
        assert caller.send().status_code == 403
        assert caller.lookups == 0


class TestBearer:
    def test_a_token_is_fetched_and_the_request_sent_again(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        response = caller.send()
        assert (response.status_code, response.read()) == (200, b"content")
        assert servers.sent == [None, "Bearer token-1"]

    def test_the_token_is_used_again(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        for _ in range(3):
            assert caller.send().status_code == 200
        assert servers.sent == [None, *["Bearer token-1"] * 3]
        assert len(servers.issued) == 1

    def test_the_order_of_scopes_makes_no_other_token(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send(scopes=PUSH)
        caller.send(scopes=PUSH[::-1])
        assert len(servers.issued) == 1

    def test_other_scopes_get_a_token_of_their_own_before_the_body_is_sent(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send(scopes=PULL)
        body = Pieces(b"layer")
        assert caller.send("PUT", scopes=PUSH, writing=True, content=body).status_code == 200
        assert body.times == 1
        assert servers.sent[-1] == "Bearer token-2"

    def test_the_credential_is_looked_up_once(self) -> None:
        caller = Caller(Servers(), USER)
        caller.send(scopes=PULL)
        caller.send(scopes=PUSH)
        assert caller.lookups == 1

    def test_an_anonymous_token_is_not_used_for_writing(self) -> None:
        servers = Servers()

        def refuse_ann(request: httpx.Request) -> httpx.Response:
            return (
                httpx.Response(401)
                if "authorization" in request.headers
                else servers.issue(request)
            )

        servers.tokens = refuse_ann
        caller = Caller(servers, USER)
        assert caller.send().status_code == 200
        with pytest.raises(AccessDenied, match="refused"):
            caller.send("HEAD", writing=True)

    def test_a_body_is_sent_again_from_its_beginning(self) -> None:
        servers = Servers()
        body = Pieces(b"one", b"two")
        caller = Caller(servers)
        headers = {"Content-Length": "6"}
        assert caller.send("PUT", writing=True, content=body, headers=headers).status_code == 200
        assert servers.bodies == [b"onetwo", b"onetwo"]


class TestBasic:
    def only_basic(self, *, public: bool = False, scheme: str = 'Basic realm="r"') -> Servers:
        def registry(request: httpx.Request) -> httpx.Response:
            given = request.headers.get("authorization")
            is_right = given == basic_of("ann", SECRET)
            is_open = public and given is None and request.method == "GET"
            return httpx.Response(200) if is_right or is_open else refused(scheme)

        return Servers(registry=registry)

    def test_the_password_goes_to_the_registry(self) -> None:
        servers = self.only_basic()
        assert Caller(servers, USER).send().status_code == 200
        assert servers.sent == [None, basic_of("ann", SECRET)]

    def test_once_known_it_is_sent_at_once(self) -> None:
        servers = self.only_basic()
        caller = Caller(servers, USER)
        caller.send()
        body = Pieces(b"layer")
        assert caller.send("PUT", writing=True, content=body).status_code == 200
        assert body.times == 1

    def test_without_credentials_the_way_out_is_told(self) -> None:
        with pytest.raises(AccessDenied, match=f"no credentials for {HOST}") as caught:
            Caller(self.only_basic()).send()
        assert caught.value.hint == f"ocitool login {HOST}"

    def test_without_credentials_what_is_public_is_still_read_after_a_refused_push(self) -> None:
        caller = Caller(self.only_basic(public=True))
        with pytest.raises(AccessDenied):
            caller.send("POST", writing=True)
        assert caller.send("GET").status_code == 200

    def test_a_wrong_password_is_a_refusal(self) -> None:
        servers = self.only_basic()
        wrong = Credential(username="ann", password="old", origin="f")
        assert Caller(servers, wrong).send(writing=True).status_code == 401
        assert len(servers.sent) == 2

    def test_a_wrong_password_does_not_keep_from_what_is_public(self) -> None:
        servers = self.only_basic(public=True)
        caller = Caller(servers, Credential(username="ann", password="old", origin="f"))
        caller.send("POST", writing=True)
        assert caller.send("GET").status_code == 200
        assert caller.send("GET").status_code == 200
        assert len(caller.warnings) == 1
        assert servers.sent[-3:] == [basic_of("ann", "old"), None, None]

    def test_a_name_and_password_beyond_ascii_travel_as_utf_8(self) -> None:
        servers = self.only_basic()
        Caller(servers, Credential(username="ä", password="p:ß", origin="f")).send(writing=True)
        assert servers.sent[1] == basic_of("ä", "p:ß")

    def test_an_identity_token_is_sent_as_dockers_name_for_it(self) -> None:
        servers = self.only_basic()
        Caller(servers, IDENTITY).send(writing=True)
        assert servers.sent[1] == basic_of("<token>", SECRET)


class TestSeveralChallenges:
    def test_a_scheme_that_is_not_ours_is_passed_over(self) -> None:
        servers = Servers()
        servers.registry = lambda request: (
            httpx.Response(200)
            if request.headers.get("authorization") == basic_of("ann", SECRET)
            else refused("Negotiate", 'Basic realm="r"')
        )
        assert Caller(servers, USER).send().status_code == 200

    def test_the_first_that_can_be_answered_is(self) -> None:
        servers = Servers()
        servers.registry = lambda request: (
            httpx.Response(200)
            if "authorization" in request.headers
            else refused(f'Basic realm="r", {servers.challenge}')
        )
        Caller(servers, USER).send()
        assert servers.sent == [None, basic_of("ann", SECRET)]

    def test_when_the_password_is_refused_a_token_is_tried(self) -> None:
        servers = Servers()
        servers.registry = lambda request: (
            servers.answer(request)
            if request.headers.get("authorization", "").startswith("Bearer")
            else refused('Basic realm="r"', servers.challenge)
        )
        assert Caller(servers, USER).send(writing=True).status_code == 200
        assert servers.sent == [None, basic_of("ann", SECRET), "Bearer token-1"]

    def test_when_there_is_no_token_the_password_is_tried_and_remembered(self) -> None:
        servers = Servers(tokens=lambda _: httpx.Response(401))
        servers.registry = lambda request: (
            httpx.Response(200)
            if request.headers.get("authorization") == basic_of("ann", SECRET)
            else refused(f'{servers.challenge}, Basic realm="r"')
        )
        caller = Caller(servers, USER)
        assert caller.send(writing=True).status_code == 200
        assert caller.send(writing=True).status_code == 200
        assert len(servers.asked()) == 1
        assert servers.sent == [None, *[basic_of("ann", SECRET)] * 2]

    def test_a_realm_that_is_not_allowed_leaves_the_password_for_the_registry(self) -> None:
        servers = Servers(realm="https://evil.example/token")
        servers.registry = lambda request: (
            httpx.Response(200)
            if request.headers.get("authorization") == basic_of("ann", SECRET)
            else refused(servers.challenge, 'Basic realm="r"')
        )
        assert Caller(servers, USER).send().status_code == 200
        assert {request.url.host for request in servers.log} == {HOST}


class TestARefusalWithoutAChallenge:
    def silent(self, ping: Callable[[], httpx.Response]) -> Servers:
        servers = Servers()

        def registry(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v2/":
                return ping()
            answer = servers.answer(request)
            return answer if answer.status_code == 200 else httpx.Response(401)

        servers.registry = registry
        return servers

    def test_the_root_of_the_api_is_asked_once(self) -> None:
        servers = self.silent(lambda: refused(servers.challenge))
        caller = Caller(servers)
        assert caller.send(scopes=PULL).status_code == 200
        assert caller.send(scopes=PUSH).status_code == 200
        assert len(servers.asked("/v2/")) == 1
        assert "authorization" not in servers.asked("/v2/")[0].headers

    def test_where_that_says_nothing_the_registrys_own_refusal_is_the_answer(self) -> None:
        servers = self.silent(lambda: httpx.Response(200, text="{}"))
        caller = Caller(servers, USER)
        response = caller.send()
        assert response.status_code == 401
        assert response.request.url.path == "/v2/a/b/tags/list"
        assert caller.send().status_code == 401
        assert len(servers.asked("/v2/")) == 1

    def test_the_last_refusal_can_be_read_by_the_caller(self) -> None:
        servers = self.silent(lambda: httpx.Response(404))
        caller = Caller(servers)
        servers.registry = lambda request: httpx.Response(401, stream=Pieces(b"why"))
        for _ in range(2):
            assert b"".join(caller.send().iter_raw()) == b"why"

    def test_what_an_earlier_refusal_said_counts(self) -> None:
        servers = self.silent(lambda: httpx.Response(200))
        servers.registry = None
        caller = Caller(servers)
        caller.send(scopes=PULL)
        servers.valid.clear()
        answer = servers.answer
        servers.registry = lambda request: (
            found if (found := answer(request)).status_code == 200 else httpx.Response(401)
        )
        assert caller.send(scopes=PULL).status_code == 200
        assert servers.asked("/v2/") == []

    def test_reading_may_be_open_where_writing_is_not(self) -> None:
        servers = Servers()
        servers.registry = lambda request: (
            httpx.Response(200) if request.method == "GET" else servers.answer(request)
        )
        caller = Caller(servers, USER)
        assert caller.send("GET").status_code == 200
        assert caller.send("POST", scopes=PUSH, writing=True).status_code == 200
        assert servers.sent == [None, None, "Bearer token-1"]


class TestRegistryToken:
    def test_it_is_shown_as_it_is(self) -> None:
        servers = Servers(valid={SECRET})
        caller = Caller(servers, REGISTRY_TOKEN)
        assert caller.send().status_code == 200
        assert caller.send("PUT", writing=True).status_code == 200
        assert servers.sent == [None, f"Bearer {SECRET}", f"Bearer {SECRET}"]
        assert servers.asked() == []

    def test_when_writing_its_refusal_is_final(self) -> None:
        servers = Servers()
        assert Caller(servers, REGISTRY_TOKEN).send(writing=True).status_code == 401
        assert servers.asked() == []

    def test_one_that_no_header_can_hold_is_refused_unseen(self) -> None:
        damaged = Credential(registry_token=f"{SECRET}\r\nX: y", origin="the file")
        with pytest.raises(AccessDenied) as caught:
            Caller(Servers(), damaged).send(writing=True)
        assert SECRET not in caught.value.message
