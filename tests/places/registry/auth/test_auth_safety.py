"""Where credentials go, and what happens when they are stale."""

import contextlib
import json

import httpx
import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry.credentials.credential import Credential
from tests.places.registry.auth_servers import (
    BASE,
    HOST,
    IDENTITY,
    PULL,
    PUSH,
    REGISTRY_TOKEN,
    SECRET,
    USER,
    Caller,
    Servers,
    basic_of,
    refused,
)


class TestStaleCredentials:
    def picky(self, status: int = 401) -> Servers:
        """Return servers that know no ann, but let anybody read."""
        servers = Servers()
        servers.tokens = lambda request: (
            httpx.Response(status, text="authorization token has expired")
            if "authorization" in request.headers or request.method == "POST"
            else servers.issue(request)
        )
        return servers

    @pytest.mark.parametrize("credential", [USER, IDENTITY])
    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_reads_continue_without_them_with_one_warning(
        self, status: int, credential: Credential
    ) -> None:
        caller = Caller(self.picky(status), credential)
        assert caller.send(scopes=PULL).status_code == 200
        assert caller.send(scopes=("repository:x:pull",)).status_code == 200
        (warning,) = caller.warnings
        assert USER.origin in warning
        assert "continuing without credentials" in warning

    def test_they_are_not_tried_again_for_the_same(self) -> None:
        servers = self.picky()
        caller = Caller(servers, USER)
        caller.send()
        servers.valid.clear()
        assert caller.send().status_code == 200
        assert [("authorization" in one.headers) for one in servers.asked()] == [True, False, False]

    def test_a_push_never_does(self) -> None:
        servers = self.picky()
        with pytest.raises(AccessDenied, match="refused"):
            Caller(servers, USER).send("POST", scopes=PUSH, writing=True)
        assert len(servers.asked()) == 1

    def test_reading_does_not_where_that_is_forbidden(self) -> None:
        with pytest.raises(AccessDenied, match="refused"):
            Caller(self.picky(), USER, fallback=False).send()

    def test_content_that_is_not_public_is_refused_because_of_the_credential(self) -> None:
        servers = Servers(tokens=lambda _: httpx.Response(403))
        caller = Caller(servers, USER)
        with pytest.raises(AccessDenied, match=r"the credential for .* was refused"):
            caller.send()
        assert caller.warnings == []

    def test_a_registry_token_that_is_refused_is_left_out_when_reading(self) -> None:
        servers = Servers()
        caller = Caller(servers, REGISTRY_TOKEN)
        assert caller.send().status_code == 200
        assert servers.sent == [None, f"Bearer {SECRET}", "Bearer token-1"]
        assert len(caller.warnings) == 1


class TestRealms:
    def test_a_credential_goes_to_a_known_token_server(self) -> None:
        servers = Servers(realm="https://auth.docker.io/token")
        caller = Caller(servers, USER, base="https://registry-1.docker.io")
        assert caller.send().status_code == 200
        assert servers.asked()[0].headers["authorization"] == basic_of("ann", SECRET)

    def test_to_an_unknown_one_only_where_that_is_allowed(self) -> None:
        servers = Servers(realm="https://auth.example/token")
        with pytest.raises(AccessDenied) as caught:
            Caller(servers, USER).send()
        assert caught.value.hint is not None
        assert "--allow-realm auth.example" in caught.value.hint
        assert Caller(servers, USER, allowed=("auth.example",)).send().status_code == 200

    def test_an_unknown_server_may_be_asked_anonymously(self) -> None:
        servers = Servers(realm="https://auth.example/token")
        assert Caller(servers).send().status_code == 200

    @pytest.mark.parametrize(
        "realm",
        ["https://127.0.0.1/token", "https://169.254.169.254/token", "http://x.example/token"],
    )
    def test_no_request_goes_where_services_trust_this_machine(self, realm: str) -> None:
        servers = Servers(realm=realm)
        with pytest.raises(AccessDenied, match="names a token server"):
            Caller(servers).send()
        assert {request.url.host for request in servers.log} == {HOST}


CREDENTIALS = {
    "password": USER,
    "identity": IDENTITY,
    "registry": REGISTRY_TOKEN,
    "both": Credential(username="ann", password=SECRET, identity_token=SECRET, origin="f"),
}


class TestCredentialsStayAtHome:
    """G20: what a hostile registry can answer, and the hosts that see a secret."""

    @pytest.mark.parametrize("scheme", ["https", "http"])
    @pytest.mark.parametrize("kind", list(CREDENTIALS))
    @pytest.mark.parametrize(
        "realm",
        [
            "{scheme}://trap.example/token",
            "{scheme}://registry.example.trap.example/token",
            "{scheme}://registry.example@trap.example/token",
            "{scheme}://trap.example#registry.example/token",
            "{scheme}://trap.example\\\\registry.example/token",
            "//trap.example/token",
            "{scheme}://sub.registry.example/token",
            "{scheme}://10.1.2.3/token",
        ],
    )
    def test_no_realm_lures_them_away(self, realm: str, kind: str, scheme: str) -> None:
        challenge = f'Bearer realm="{realm.format(scheme=scheme)}",service="s"'
        servers = Servers(registry=lambda _: refused(challenge))
        servers.realm = "unused:/nowhere"
        caller = Caller(servers, CREDENTIALS[kind], base=f"{scheme}://{HOST}")
        for writing in (False, True):
            with contextlib.suppress(AccessDenied):
                caller.send(writing=writing)
        assert seen_outside(servers) == []

    @pytest.mark.parametrize("kind", list(CREDENTIALS))
    @pytest.mark.parametrize(
        "url",
        [
            "https://trap.example/v2/a/b/blobs/x",
            "https://registry.example:8443/v2/a/b/blobs/x",
            "http://registry.example/v2/a/b/blobs/x",
            "https://sub.registry.example/v2/a/b/blobs/x",
        ],
    )
    def test_another_origin_gets_nothing_even_when_it_asks(self, url: str, kind: str) -> None:
        servers = Servers(registry=lambda _: refused('Basic realm="r"'))
        caller = Caller(servers, CREDENTIALS[kind])
        response = caller.send("PUT", url, headers={"Authorization": f"Bearer {SECRET}"})
        assert response.status_code == 401
        assert len(servers.log) == 1
        assert seen_outside(servers) == []
        assert caller.lookups == 0

    def test_the_standard_port_is_the_same_origin(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        assert caller.send("GET", f"{BASE}:443/v2/a/b/tags/list").status_code == 200

    def test_no_secret_is_in_the_text_of_what_holds_it(self) -> None:
        servers = Servers()
        caller = Caller(servers, USER)
        caller.send()
        flow = caller.authorizer.auth_flow(httpx.Request("GET", f"{BASE}/v2/"))
        next(flow)
        text = repr([caller.authorizer, flow, *CREDENTIALS.values()])
        text += repr([vars(caller.authorizer._state), caller.authorizer._state._slots])
        slots = caller.authorizer._state._slots.values()
        text += repr([vars(slot) for slot in slots])
        assert SECRET not in text
        assert "token-1" not in text

    @pytest.mark.parametrize("writing", [True, False])
    def test_a_server_that_repeats_the_secret_does_not_get_it_printed(self, writing: bool) -> None:
        secret = 'pass"w\\ord'
        encoded = basic_of("ann", secret)
        body = json.dumps({"said": [secret, encoded], "refresh_token": "r3fresh", "token": 1})
        credential = Credential(username="ann", password=secret, origin="f")
        for status in (200, 403):
            servers = Servers(tokens=lambda _, s=status: httpx.Response(s, text=body))  # type: ignore[misc]
            with pytest.raises(AccessDenied) as caught:
                Caller(servers, credential).send(writing=writing)
            for leak in (secret, json.dumps(secret)[1:-1], encoded, encoded[6:], "r3fresh"):
                assert leak not in caught.value.message


def seen_outside(servers: Servers) -> list[str]:
    """Return the requests to others than the registry that carry a secret, in any form."""
    forms = (SECRET, basic_of("ann", SECRET)[6:], basic_of("<token>", SECRET)[6:])
    found = []
    for request in servers.log:
        if (request.url.host, request.url.port) == (HOST, None) and request.url.scheme != "http":
            continue
        if request.url.host == HOST and "/blobs/" not in request.url.path:
            continue
        text = f"{request.url}{request.headers.raw!r}{request.content!r}"
        found += [text for form in forms if form in text]
    return found
