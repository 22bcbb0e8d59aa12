"""Authentication over real sockets: Debian's docker-registry, the emulated one, and a trap."""

import threading
from pathlib import Path
from typing import Literal, Self

import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry import Registries, RegistryOptions, Session
from ocitool.places.registry.http.request import Request
from tests.places.registry.homes import Home, entry
from tests.support.docker_registry import running_registry
from tests.support.registry import Access, EmulatedRegistry, Quirks, TokenQuirks
from tests.support.trap import Trap

IDENTITY = {"identitytoken": "identity"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class Talk:
    """A session with a registry, and what was warned of."""

    def __init__(
        self, home: Home, host: str, *, writing: bool, options: RegistryOptions | None = None
    ) -> None:
        self.warnings: list[str] = []
        self.registries = Registries(options, warn=self.warnings.append, environment=home.variables)
        self.session = Session(self.registries, host, "a/b", writing=writing)

    def __enter__(self) -> Self:
        self.registries.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.registries.__exit__(None, None, None)

    def read(self) -> int:
        session = self.session
        answer = session.answer(Request("GET", session.url("tags/list"), session.scopes("pull")))
        return answer.status

    def refusal(self) -> str:
        """Write; return what the registry or the token server has against it."""
        try:
            return str(self.write())
        except AccessDenied as denied:
            return denied.message

    def write(self) -> int:
        session = self.session
        url = session.url("blobs/uploads/")
        return session.answer(Request("POST", url, session.scopes("pull,push"))).status


def bearer(tokens: TokenQuirks | None = None, access: Access | None = None) -> EmulatedRegistry:
    return EmulatedRegistry(Quirks(access=access or Access(scheme="bearer")), tokens=tokens)


def keep(home: Home, host: str, value: dict[str, str]) -> None:
    home.docker({"auths": {host: value}})


@pytest.mark.parametrize("kind", ["htpasswd", "token"])
class TestDebiansRegistry:
    def test_a_stored_password_opens_it(
        self, home: Home, tmp_path: Path, kind: Literal["htpasswd", "token"]
    ) -> None:
        with running_registry(tmp_path / "registry", kind) as registry:
            keep(home, registry.host, entry(str(registry.user), str(registry.password)))
            with Talk(home, registry.host, writing=True) as talk:
                assert (talk.write(), talk.read()) == (202, 404)

    def test_a_wrong_one_does_not(
        self, home: Home, tmp_path: Path, kind: Literal["htpasswd", "token"]
    ) -> None:
        with running_registry(tmp_path / "registry", kind) as registry:
            keep(home, registry.host, entry("user", "wrong"))
            with Talk(home, registry.host, writing=True) as talk:
                refusal = talk.refusal()
        assert refusal == "401" if kind == "htpasswd" else "config.json was refused" in refusal


class TestChallenges:
    @pytest.mark.parametrize(
        "access",
        [
            Access(scheme="bearer", open_ping=True),
            Access(scheme="bearer", challenge_at="ping"),
        ],
    )
    def test_they_are_found_where_the_registry_has_them(self, home: Home, access: Access) -> None:
        with bearer(access=access) as registry:
            keep(home, registry.host, entry("user", "pass"))
            with Talk(home, registry.host, writing=True) as talk:
                assert talk.write() == 202

    @pytest.mark.parametrize(
        "challenges",
        [
            ("Negotiate", 'Bearer realm="{realm}",service="{service}",scope="{scope}"'),
            ('Negotiate, Bearer realm="{realm}", service="{service}"',),
            ("BEARER Realm={realm} , Service={service}",),
            ('Bearer realm="/token",service="{service}",scope="aws"',),
        ],
    )
    def test_they_are_read_in_every_spelling(self, home: Home, challenges: tuple[str, ...]) -> None:
        with bearer(access=Access(scheme="bearer", challenges=challenges)) as registry:
            keep(home, registry.host, entry("user", "pass"))
            with Talk(home, registry.host, writing=True) as talk:
                assert talk.write() == 202

    @pytest.mark.parametrize("status", [None, 404, 405])
    def test_an_identity_token_opens_it(self, home: Home, status: int | None) -> None:
        with bearer(TokenQuirks(post_status=status)) as registry:
            keep(home, registry.host, IDENTITY)
            with Talk(home, registry.host, writing=True) as talk:
                if status is None:
                    assert talk.write() == 202
                else:
                    # This server takes no identity token in the place of a password.
                    with pytest.raises(AccessDenied):
                        talk.write()
            methods = [logged.method for logged in registry.requests(pattern="^/token")]
        assert methods == (["POST"] if status is None else ["POST", "GET"])


class TestTokens:
    def test_eight_threads_fetch_one(self, home: Home) -> None:
        with bearer() as registry:
            keep(home, registry.host, entry("user", "pass"))
            with Talk(home, registry.host, writing=True) as talk:
                statuses: list[int] = []
                threads = [
                    threading.Thread(target=lambda: statuses.append(talk.write())) for _ in range(8)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(30)
            assert statuses == [202] * 8
            assert len(registry.requests(pattern="^/token")) == 1

    def test_one_that_was_revoked_is_replaced(self, home: Home) -> None:
        with bearer() as registry:
            keep(home, registry.host, entry("user", "pass"))
            with Talk(home, registry.host, writing=True) as talk:
                assert talk.write() == 202
                registry.office.revoke_all()
                assert talk.write() == 202
            assert len(registry.requests(pattern="^/token")) == 2

    def test_a_stale_password_does_not_keep_from_what_is_public(self, home: Home) -> None:
        with bearer(TokenQuirks(anonymous=frozenset({"pull"}))) as registry:
            registry.add_blob("a/b", b"data")
            keep(home, registry.host, entry("user", "expired"))
            with Talk(home, registry.host, writing=False) as talk:
                assert talk.read() in (200, 404)
                assert talk.read() in (200, 404)
                assert len(talk.warnings) == 1
            with Talk(home, registry.host, writing=True) as talk, pytest.raises(AccessDenied):
                talk.write()


class TestTheTrap:
    @pytest.mark.parametrize("value", [entry("user", "pass"), IDENTITY], ids=["pair", "identity"])
    @pytest.mark.parametrize("writing", [False, True])
    def test_a_token_server_that_is_not_known_gets_no_credential(
        self, home: Home, value: dict[str, str], writing: bool
    ) -> None:
        with Trap(200, b'{"token":"x"}') as trap:
            realm = f"http://localhost:{trap.server_port}/token"
            with bearer(access=Access(scheme="bearer", realm=realm)) as registry:
                keep(home, registry.host, value)
                with Talk(home, registry.host, writing=writing) as talk:
                    with pytest.raises(AccessDenied, match="localhost") as caught:
                        talk.read()
                    assert "--allow-realm localhost" in str(caught.value.hint)
            assert trap.requests() == []

    def test_one_that_was_allowed_does(self, home: Home) -> None:
        with Trap(200, b'{"token":"x"}') as trap:
            realm = f"http://localhost:{trap.server_port}/token"
            with bearer(access=Access(scheme="bearer", realm=realm)) as registry:
                keep(home, registry.host, entry("user", "pass"))
                options = RegistryOptions(allowed_realms=("localhost",))
                with Talk(home, registry.host, writing=True, options=options) as talk:
                    assert talk.read() == 401
            assert trap.requests()
            assert trap.credentials
