"""Which token servers a registry may send us to, and which of them may see a credential."""

import httpx
import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry.auth.token_servers import TokenServerPolicy, is_sibling

HUB = "https://registry-1.docker.io"
COMPANY = "https://registry.example:5000"
LOCAL = "http://127.0.0.1:5000"


def resolved(base: str, realm: str) -> httpx.URL:
    url = httpx.URL(base)
    return TokenServerPolicy(url).resolve(realm, url.copy_with(path="/v2/a/tags/list"))


def may_see(base: str, realm: str, *allowed: str) -> bool:
    policy = TokenServerPolicy(httpx.URL(base), allowed)
    try:
        policy.check_credential(httpx.URL(realm))
    except AccessDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("registry", "server"),
    [
        ("registry.example.com", "gitlab.example.com"),
        ("docker.art.example.com", "art.example.com"),
        ("registry.example.co.uk", "gitlab.example.co.uk"),
        ("registry.corp.lan", "Gitlab.CORP.lan."),
    ],
)
def test_hosts_of_one_registered_domain_are_siblings(registry: str, server: str) -> None:
    assert is_sibling(registry, server)


@pytest.mark.parametrize(
    ("registry", "server"),
    [
        ("registry.example.com", "gitlab.example.org"),
        ("registry.example.co.uk", "evil.co.uk"),
        ("registry.com.br", "evil.com.br"),
        ("me.github.io", "evil.github.io"),
        ("me.westeurope.cloudapp.azure.com", "evil.westeurope.cloudapp.azure.com"),
        ("registry", "gitlab"),
        ("registry.lan", "gitlab.lan"),
        ("10.0.0.1", "10.1.0.1"),
        ("10.0.0.1", "evil.0.1"),
        ("registry.example.com", "registry.example.com.evil.org"),
        ("registry.example.com", "notexample.com"),
    ],
)
def test_hosts_of_strangers_are_not(registry: str, server: str) -> None:
    assert not is_sibling(registry, server)


class TestWhoIsSpokenTo:
    @pytest.mark.parametrize(
        ("base", "realm", "expected"),
        [
            (HUB, "https://auth.docker.io/token", "https://auth.docker.io/token"),
            (COMPANY, "/service/token", "https://registry.example:5000/service/token"),
            (COMPANY, "//other.example/t", "https://other.example/t"),
            (COMPANY, "https://x.example/t?a=1#part", "https://x.example/t?a=1"),
            (COMPANY, "https://10.0.0.5/jwt/auth", "https://10.0.0.5/jwt/auth"),
            (COMPANY, "https://192.168.7.7:8443/t", "https://192.168.7.7:8443/t"),
            (COMPANY, "https://172.16.0.1/t", "https://172.16.0.1/t"),
            (LOCAL, "http://127.0.0.1:6000/token", "http://127.0.0.1:6000/token"),
            (LOCAL, "http://localhost:6000/token", "http://localhost:6000/token"),
            (LOCAL, "https://auth.example/token", "https://auth.example/token"),
            ("http://registry.example", "http://auth.example/t", "http://auth.example/t"),
        ],
    )
    def test_a_usual_realm_is(self, base: str, realm: str, expected: str) -> None:
        assert str(resolved(base, realm)) == expected

    @pytest.mark.parametrize(
        "realm",
        [
            "http://registry.example:5000/token",
            "http://auth.example/token",
            "null://registry.example/v2/token",
            "file:///etc/passwd",
            "https://user:password@auth.example/token",
            "https://auth.example:99999/token",
            "https://[::1/token",
            "https://auth\x00.example/",
            "https://127.0.0.1/token",
            "https://127.0.0.1:5000/token",
            "https://localhost/token",
            "https://LOCALHOST./token",
            "https://a.localhost/token",
            "https://[::1]/token",
            "https://[::ffff:127.0.0.1]/token",
            "https://[fe80::1]/token",
            "https://0.0.0.0/token",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/token",
            "https://0x7f000001/token",
            "https://127.1/token",
            "https://0251.0376.0251.0376/token",
        ],
    )
    def test_one_that_a_far_registry_must_not_name_is_not(self, realm: str) -> None:
        with pytest.raises(AccessDenied, match=r"registry\.example:5000 names a token server"):
            resolved(COMPANY, realm)

    def test_a_link_local_registry_may_name_itself(self) -> None:
        base = "https://169.254.7.7:5000"
        assert str(resolved(base, "/token")) == f"{base}/token"


class TestWhoSeesACredential:
    @pytest.mark.parametrize(
        ("base", "realm"),
        [
            (COMPANY, "https://registry.example:5000/token"),
            (COMPANY, "https://registry.example/token"),
            (COMPANY, "https://REGISTRY.example./token"),
            ("https://10.0.0.5:5050", "https://10.0.0.5/jwt/auth"),
            (HUB, "https://auth.docker.io/token"),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("https://docker.elastic.co", "https://docker-auth.elastic.co/auth"),
            ("https://rg.fr-par.scw.cloud", "https://api.scaleway.com/tokens"),
        ],
    )
    def test_the_registry_itself_and_its_known_server(self, base: str, realm: str) -> None:
        assert may_see(base, realm)

    @pytest.mark.parametrize(
        ("base", "realm"),
        [
            (COMPANY, "https://auth.example/token"),
            (COMPANY, "https://sub.registry.example/token"),
            (COMPANY, "https://registry.example.evil/token"),
            (COMPANY, "https://auth.docker.io/token"),
            (HUB, "https://gitlab.com/jwt/auth"),
            (HUB, "https://auth.docker.io.evil/token"),
            (HUB, "https://evil.docker.io/token"),
            ("https://registry.docker.io.evil", "https://auth.docker.io/token"),
            ("https://10.0.0.5", "https://10.0.0.6/token"),
        ],
    )
    def test_no_other_server_may(self, base: str, realm: str) -> None:
        assert not may_see(base, realm)

    @pytest.mark.parametrize(
        "allowed", ["auth.example", "AUTH.example", "auth.example:443", "https://auth.example/x"]
    )
    def test_a_host_that_was_allowed(self, allowed: str) -> None:
        assert may_see(COMPANY, "https://auth.example:443/token", allowed)

    @pytest.mark.parametrize("allowed", ["auth.example:8443", "example", "*", "", "[", "h auth"])
    def test_an_allowance_of_something_else_means_nothing(self, allowed: str) -> None:
        assert not may_see(COMPANY, "https://auth.example/token", allowed)

    def test_an_allowance_with_a_port_is_for_that_port(self) -> None:
        assert may_see(COMPANY, "https://auth.example:8443/token", "auth.example:8443")
        assert not may_see(COMPANY, "https://auth.example:9443/token", "auth.example:8443")

    def test_the_refusal_names_both_hosts_and_the_way_out(self) -> None:
        policy = TokenServerPolicy(httpx.URL(COMPANY))
        with pytest.raises(AccessDenied) as caught:
            policy.check_credential(httpx.URL("https://auth.example/token"))
        assert "registry.example:5000" in caught.value.message
        assert "auth.example" in caught.value.message
        assert "--allow-realm auth.example" in str(caught.value.hint)
