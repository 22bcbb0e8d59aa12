"""No credential leaves its host: every way to be led astray, with every kind of credential.

After each run the logs of all servers are looked through for the credential and for every token
that was handed out.
"""

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import pytest

from ocitool.errors import OcitoolError
from ocitool.oci import Reference
from ocitool.operations.pull import pull
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.listing import tags
from tests.places.registry.reading import HOME, NAME, quick
from tests.support.certificates import Authority, Pair
from tests.support.fault_proxy import ConnectProxy
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry, Quirks, TokenQuirks
from tests.support.registry_quirks import Access
from tests.support.trap import Trap

SECRET = "canary-s3cret"
KINDS = ("password", "token by password", "identity token", "registry token")
Scheme = Literal["http", "https"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.server()


@dataclass
class Field:
    """A registry that wants a credential, a trap, and a client that has the one for the other."""

    kind: str
    scheme: Scheme
    folder: Path
    authority: Authority
    pair: Pair
    realm: str | None = None

    def trap(self, status: int = 200, **headers: str) -> Trap:
        tls = self.pair.serve() if self.scheme == "https" else None
        return Trap(status, b'{"tags": ["x"]}', headers, tls)

    @contextlib.contextmanager
    def registry(self, **quirks: object) -> Iterator[EmulatedRegistry]:
        users = {"ann": SECRET}
        scheme = "basic" if self.kind == "password" else "bearer"
        access = Access(scheme=scheme, users=users, realm=self.realm)  # type: ignore[arg-type]
        tokens = TokenQuirks(users=users, refresh_tokens=frozenset({SECRET}))
        tls = self.pair.serve() if self.scheme == "https" else None
        wanted = Quirks(access=access, **quirks)  # type: ignore[arg-type]
        with EmulatedRegistry(wanted, tls, tokens=tokens) as registry:
            registry.add_image(NAME, build_image(), "1")
            yield registry

    @contextlib.contextmanager
    def client(
        self, registry: EmulatedRegistry, host: str | None = None, **variables: str
    ) -> Iterator[Repository]:
        options = quick(
            authfile=self._file(registry, host or registry.host),
            ca_cert=str(self.authority.certificate),
            plain_http=self.scheme == "http",
        )
        with Registries(options, environment={**HOME, **variables}) as registries:
            reference = Reference.parse(f"{host or registry.host}/{NAME}:1")
            yield Repository.of(registries, reference)

    def _file(self, registry: EmulatedRegistry, host: str) -> str:
        password = base64.b64encode(f"ann:{SECRET}".encode()).decode()
        entry = {
            "password": {"auth": password},
            "token by password": {"auth": password},
            "identity token": {"auth": "", "identitytoken": SECRET},
            "registry token": {"registrytoken": self._issued(registry)},
        }[self.kind]
        path = self.folder / "auth.json"
        path.write_text(json.dumps({"auths": {host: entry}}))
        return str(path)

    def _issued(self, registry: EmulatedRegistry) -> str:
        return registry.office.issue("ann", [f"repository:{NAME}:pull"], "emulated")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["http", "https"])
def field(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, authority: Authority, pair: Pair
) -> Field:
    return Field(kind, request.param, tmp_path, authority, pair)


def assert_clean(trap: Trap, registry: EmulatedRegistry) -> None:
    """Fail when anything secret came to the trap."""
    assert trap.credentials == []
    assert not trap.saw(SECRET)
    for token in registry.office._grants:
        assert not trap.saw(token)
    assert any("authorization" in logged.headers for logged in registry.log)


def pulled(repository: Repository, folder: Path) -> None:
    reference = Reference.parse(f"{repository.name}:1")
    with Layout.create(str(folder / "store"), store=True) as layout:
        pull(repository, layout, [reference])


def test_a_credential_serves_where_it_belongs(field: Field, tmp_path: Path) -> None:
    with field.registry() as registry, field.client(registry) as repository:
        pulled(repository, tmp_path)
        assert any("authorization" in logged.headers for logged in registry.log)


class TestLedAstray:
    def test_by_a_redirect_to_another_port(self, field: Field, tmp_path: Path) -> None:
        with field.trap(404) as trap, field.registry(redirect_to=trap.url) as registry:
            with field.client(registry) as repository, pytest.raises(OcitoolError):
                pulled(repository, tmp_path)
            assert trap.log
            assert_clean(trap, registry)

    def test_by_a_redirect_to_another_name_of_the_same_machine(
        self, field: Field, tmp_path: Path
    ) -> None:
        with field.trap(404) as trap:
            elsewhere = trap.url.replace("127.0.0.1", "localhost")
            with field.registry(redirect_to=elsewhere) as registry:
                with field.client(registry) as repository, pytest.raises(OcitoolError):
                    pulled(repository, tmp_path)
                assert trap.log
                assert_clean(trap, registry)

    def test_by_a_redirect_that_leads_back_in_the_end(self, field: Field, tmp_path: Path) -> None:
        with (
            field.trap(307, Location="/again") as trap,
            field.registry(redirect_to=trap.url) as registry,
        ):
            with field.client(registry) as repository, pytest.raises(OcitoolError):
                pulled(repository, tmp_path)
            assert len(trap.log) == 10
            assert_clean(trap, registry)

    def test_by_an_address_with_a_user_in_it(self, field: Field, tmp_path: Path) -> None:
        with field.trap(404) as trap:
            elsewhere = trap.url.replace("://", "://ann:pw@")
            with field.registry(redirect_to=elsewhere) as registry:
                with field.client(registry) as repository, pytest.raises(OcitoolError):
                    pulled(repository, tmp_path)
                assert_clean(trap, registry)

    def test_by_a_link(self, field: Field) -> None:
        with field.trap() as trap:
            link = f"{trap.url}/v2/{NAME}/tags/list?last=1"
            with field.registry(tags="foreign", foreign_link=link) as registry:
                with field.client(registry) as repository:
                    assert tags(repository.session) == ["1"]
                assert trap.log == []
                assert_clean(trap, registry)

    def test_by_the_url_of_a_layer(self, field: Field, tmp_path: Path) -> None:
        with field.trap() as trap, field.registry() as registry:
            image = build_image([{"a": b"1"}])
            layer = image.layers[0].to_json() | {"urls": [f"{trap.url}/layer"]}
            named = build_image([{"a": b"1"}], manifest={"layers": [layer]})
            registry.add_image(NAME, named, "1")
            with field.client(registry) as repository:
                pulled(repository, tmp_path)
            assert trap.log == []
            assert_clean(trap, registry)

    def test_by_a_cookie(self, field: Field, tmp_path: Path) -> None:
        with (
            field.trap(404) as trap,
            field.registry(cookies=True, redirect_to=trap.url) as registry,
        ):
            with field.client(registry) as repository, pytest.raises(OcitoolError):
                pulled(repository, tmp_path)
            assert_clean(trap, registry)
            assert all("cookie" not in logged.headers for logged in registry.log)

    def test_by_a_proxy(self, field: Field, tmp_path: Path) -> None:
        name = "registry.example"
        field.pair = field.authority.server("named", [name, "127.0.0.1"])
        field.realm = f"{field.scheme}://{name}/token"
        port = 443 if field.scheme == "https" else 80
        with field.registry() as registry:
            routes = {f"{name}:{port}": registry.host}
            with ConnectProxy(("me", "proxy-pw"), routes) as proxy:
                url = proxy.url.replace("://", "://me:proxy-pw@")
                with field.client(registry, name, ALL_PROXY=url) as repository:
                    pulled(repository, tmp_path)
            assert all("proxy-authorization" not in logged.headers for logged in registry.log)
            assert any("authorization" in logged.headers for logged in registry.log)
            if field.scheme == "https":
                # Plain http a proxy reads by its nature; through TLS it sees who is asked alone.
                assert {logged.method for logged in proxy.log} == {"CONNECT"}
                assert all("authorization" not in logged.headers for logged in proxy.log)


def test_the_scan_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A scan that finds nothing anywhere would prove nothing."""
    for send in _leaks():
        with Trap() as trap, httpx.Client(trust_env=False) as client:
            send(client, trap.url)
            assert trap.saw(SECRET)


def _leaks() -> Iterator[Callable[..., object]]:
    encoded = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    yield lambda client, url: client.get(url, headers={"Authorization": f"Bearer {SECRET}"})
    yield lambda client, url: client.get(url, headers={"Authorization": f"Basic {encoded}"})
    yield lambda client, url: client.get(f"{url}/x?refresh_token={SECRET}")
    yield lambda client, url: client.post(url, data={"refresh_token": SECRET})
