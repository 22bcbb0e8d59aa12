"""Which proxy a request takes, and what happens on the way through one."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import AccessDenied, OcitoolError, Unavailable, UsageError
from ocitool.places.registry import Registries, RegistryOptions, Repository, Session
from ocitool.places.registry.http.proxies import is_exempt, proxy_for
from ocitool.places.registry.listing import tags
from tests.places.registry.reading import NAME, quick
from tests.support.certificates import Authority
from tests.support.fault_proxy import ConnectProxy
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_quirks import Access
from tests.support.trap import Trap

PROXY = "http://proxy.example:3128"


class TestNoProxy:
    @pytest.mark.parametrize(
        ("no_proxy", "host", "exempt"),
        [
            ("*", "a.example", True),
            ("a.example", "a.example", True),
            ("a.example", "b.a.example", True),
            ("a.example", "ba.example", False),
            (".a.example", "b.a.example", True),
            (".a.example", "a.example", False),
            ("*.a.example", "b.a.example", True),
            ("*.a.example", "a.example", False),
            ("A.Example", "a.EXAMPLE", True),
            ("a.example", "a.example.", True),
            ("x, a.example ,y", "a.example", True),
            ("x a.example", "a.example", True),
            ("a.example:443", "a.example", True),
            ("a.example:5000", "a.example", False),
            ("172.16.0.0/12", "172.20.1.1", True),
            ("172.16.0.0/12", "172.32.1.1", False),
            ("172.16.0.0/12", "a.example", False),
            ("172.16.5.1/12", "172.20.1.1", True),
            ("10.0.0.1", "10.0.0.1", True),
            ("10.0.0.1", "10.0.0.10", False),
            ("10.0.0.1:443", "10.0.0.1", True),
            ("10.0.0.1:80", "10.0.0.1", False),
            ("fd00::/8", "fd00::1", True),
            ("[fd00::1]", "fd00::1", True),
            ("[fd00::1]:443", "fd00::1", True),
            ("[fd00::1]:80", "fd00::1", False),
            ("fd00::1", "[fd00::1]", True),
            ("::1", "fd00::1", False),
            ("", "a.example", False),
            (",", "a.example", False),
            ("300.0.0.0/8", "300.0.0.1", False),
        ],
    )
    def test_hosts_are_exempt_as_in_gos_programs(
        self, no_proxy: str, host: str, *, exempt: bool
    ) -> None:
        assert is_exempt(host, 443, no_proxy) is exempt

    @given(st.text(max_size=60), st.text(max_size=20))
    def test_any_text_is_understood_or_passed_over(self, no_proxy: str, host: str) -> None:
        assert is_exempt(host, 443, no_proxy) in (True, False)


class TestChoice:
    @pytest.mark.parametrize(
        ("variables", "scheme", "chosen"),
        [
            ({"HTTPS_PROXY": PROXY}, "https", PROXY),
            ({"https_proxy": PROXY}, "https", PROXY),
            ({"https_proxy": PROXY, "HTTPS_PROXY": "http://b"}, "https", PROXY),
            ({"HTTP_PROXY": PROXY}, "https", None),
            ({"HTTP_PROXY": PROXY}, "http", PROXY),
            ({"ALL_PROXY": PROXY}, "https", PROXY),
            ({"HTTPS_PROXY": "proxy.example:3128"}, "https", PROXY),
            ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example"}, "https", None),
            ({"HTTPS_PROXY": ""}, "https", None),
            ({}, "https", None),
        ],
    )
    def test_the_environment_names_the_proxy(
        self, variables: Mapping[str, str], scheme: str, chosen: str | None
    ) -> None:
        assert proxy_for(scheme, "registry.example", None, variables) == chosen

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "a.localhost"])
    def test_this_machine_is_reached_directly(self, host: str) -> None:
        assert proxy_for("http", host, 5000, {"ALL_PROXY": PROXY}) is None

    def test_a_port_of_no_proxy_is_compared_with_the_schemes_own(self) -> None:
        variables = {"ALL_PROXY": PROXY, "NO_PROXY": "registry.example:80"}
        assert proxy_for("http", "registry.example", None, variables) is None
        assert proxy_for("https", "registry.example", None, variables) == PROXY

    def test_a_proxy_of_another_kind_is_a_mistake(self) -> None:
        with pytest.raises(UsageError):
            proxy_for("https", "registry.example", None, {"ALL_PROXY": "ftp://proxy.example"})


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry:
        registry.add_image("a/b", build_image(), "1")
        yield registry


def asked(variables: Mapping[str, str], *, plain: bool = True) -> list[str]:
    """List the tags of registry.example/a/b."""
    options = RegistryOptions(
        plain_http=plain, username="user", password="pass", retry_max_wait=0.02
    )
    with Registries(options, environment=variables) as registries:
        return tags(Session(registries, "registry.example", "a/b"))


def routed(registry: EmulatedRegistry, user: tuple[str, str] | None = None) -> ConnectProxy:
    return ConnectProxy(user, {"registry.example:80": registry.host})


class TestOnTheWay:
    def test_a_registry_is_reached_through_a_proxy(self, registry: EmulatedRegistry) -> None:
        with routed(registry) as proxy:
            assert asked({"HTTP_PROXY": proxy.url}) == ["1"]
            assert proxy.log[0].target.startswith("http://registry.example/v2/a/b/tags/list")

    def test_a_proxy_gets_its_own_credentials(self, registry: EmulatedRegistry) -> None:
        with routed(registry, ("me", "p@ss")) as proxy:
            url = proxy.url.replace("http://", "http://me:p%40ss@")
            assert asked({"http_proxy": url}) == ["1"]
        assert all("proxy-authorization" not in logged.headers for logged in registry.log)

    def test_a_proxy_that_wants_a_password_is_named_as_such(
        self, registry: EmulatedRegistry
    ) -> None:
        with routed(registry, ("me", "secret")) as proxy, pytest.raises(AccessDenied) as caught:
            asked({"HTTP_PROXY": proxy.url})
        assert "407" in caught.value.message
        assert caught.value.hint is not None
        assert "proxy wants" in caught.value.hint
        assert registry.log == []

    def test_a_proxy_never_sees_what_is_meant_for_the_registry_over_tls(self) -> None:
        with Trap(status=407) as proxy, pytest.raises(OcitoolError):
            asked({"HTTPS_PROXY": proxy.url}, plain=False)
        assert [logged.method for logged in proxy.log] == ["CONNECT"]
        assert proxy.credentials == []

    def test_a_407_to_connect_says_what_the_proxy_wants(self) -> None:
        with Trap(status=407) as proxy, pytest.raises(AccessDenied, match="407") as caught:
            asked({"HTTPS_PROXY": proxy.url}, plain=False)
        assert caught.value.hint is not None
        assert "HTTPS_PROXY" in caught.value.hint

    def test_a_proxy_that_finds_no_way_is_told_from_the_registry(self) -> None:
        with Trap(status=403) as proxy, pytest.raises(Unavailable, match="through the proxy"):
            asked({"HTTPS_PROXY": proxy.url}, plain=False)

    @pytest.mark.parametrize("plain", [True, False])
    def test_a_proxy_that_is_not_there_is_told_from_the_registry(self, plain: bool) -> None:
        with pytest.raises(Unavailable, match="through the proxy") as caught:
            asked(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1"), plain=plain)
        assert "HTTPS_PROXY" in (caught.value.hint or "")

    @pytest.mark.parametrize(
        "proxy", ["socks5://proxy.example:1080", "http://[bad", "http://a:b:c"]
    )
    def test_a_proxy_that_cannot_be_used_is_a_mistake_of_use(self, proxy: str) -> None:
        with pytest.raises(UsageError):
            asked({"HTTP_PROXY": proxy})


def test_a_proxy_that_is_spoken_to_by_tls_hides_nothing_of_the_registry(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.server("both", ["registry.example", "127.0.0.1"])
    data = bytes(range(256)) * (17 << 12)
    with EmulatedRegistry(tls=pair.serve()) as registry:
        blob = registry.add_blob(NAME, data)
        proxy = ConnectProxy(routes={"registry.example:443": registry.host})
        proxy._context = pair.serve().context()
        with proxy:
            environment = {"HTTPS_PROXY": f"https://{proxy.host}"}
            options = quick(ca_cert=str(authority.certificate))
            with Registries(options, environment=environment) as registries:
                session = Session(registries, "registry.example", NAME)
                with Repository(session).open(blob) as stream:
                    assert stream.read_all(len(data)) == data
            assert [one.method for one in proxy.log] == ["CONNECT"]
