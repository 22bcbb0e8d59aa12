"""Where a registry sends us: read as it is written, put right where that is known, else refused."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import Refused
from ocitool.places.registry.hosts import Host, address_literal, is_inner, is_loopback
from ocitool.places.registry.http.locations import check, is_same_host, origin, resolve, with_query

ASKED = "https://registry.example:5000/v2/a/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/a/x?_state=a%2Fb==", "https://registry.example:5000/v2/a/x?_state=a%2Fb=="),
        ("https://other.example/x?a=b%3D", "https://other.example/x?a=b%3D"),
        ("//other.example/x", "https://other.example/x"),
        ("x?y=1", "https://registry.example:5000/v2/a/blobs/uploads/x?y=1"),
        ("?n=2", "https://registry.example:5000/v2/a/blobs/uploads/?n=2"),
    ],
)
def test_a_location_is_taken_as_it_is_written(location: str, url: str) -> None:
    assert resolve(location, ASKED) == url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://registry.example:5000/x", "https://registry.example:5000/x"),
        ("https://registry.example/x", "https://registry.example:5000/x"),
        ("http://registry.example/x?u=http://registry.example", None),
        ("http://registry.example:8080/x", "https://registry.example:8080/x"),
    ],
)
def test_a_registry_that_does_not_know_its_tls_proxy_is_put_right(
    location: str, url: str | None
) -> None:
    expected = url or "https://registry.example:5000/x?u=http://registry.example"
    assert resolve(location, ASKED) == expected


def test_another_host_is_never_put_right() -> None:
    assert resolve("http://other.example/x", ASKED) == "http://other.example/x"


@pytest.mark.parametrize(
    "location",
    [
        "https://[::bad/x",
        "https://host:99999/x",
        "https://host:port/x",
        "https://a b/x",
        "https://a\x00b/x",
        "https://registry.example:99999/x",
    ],
)
def test_what_is_no_address_is_refused(location: str) -> None:
    with pytest.raises(Refused):
        check(resolve(location, ASKED), ASKED, insecure=True)


@given(st.text(st.characters(max_codepoint=0xFF), max_size=40))
def test_any_location_is_an_address_or_refused(location: str) -> None:
    try:
        url = resolve(location, ASKED)
        check(url, ASKED, insecure=False)
    except Refused:
        return
    assert httpx.URL(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/x",
        "ftp://other.example/x",
        "file:///etc/passwd",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://LOCALHOST./x",
        "https://a.localhost/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/x",
        "https://0.0.0.0/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://user@127.0.0.1/x",
        "https://good.example\\@127.0.0.1/x",
    ],
)
def test_redirects_to_plain_http_or_to_this_machine_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check(url, ASKED, insecure=False)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://storage.example/x", ASKED),
        ("https://10.0.0.7/x", ASKED),
        ("https://127.0.0.1:9000/x", "https://localhost:5000/v2/"),
        ("http://other.example/x", "http://registry.example/v2/"),
        ("https://other.example/x", "http://registry.example/v2/"),
    ],
)
def test_storage_elsewhere_is_followed(url: str, asked: str) -> None:
    check(url, asked, insecure=False)


def test_plain_http_is_followed_when_that_was_allowed() -> None:
    check("http://other.example/x", ASKED, insecure=True)


def test_one_host_is_scheme_and_name_and_port() -> None:
    assert is_same_host("https://a.example/x", "https://A.example:443/y")
    assert not is_same_host("https://a.example/x", "http://a.example/x")
    assert not is_same_host("https://a.example:444/x", "https://a.example/x")
    assert origin("http://[::1]/x") == ("http", "::1", 80)


def test_a_query_is_added_as_text() -> None:
    assert with_query("https://a/x", [("digest", "sha256:ab")]) == "https://a/x?digest=sha256%3Aab"
    assert with_query("https://a/x?_s=a/b==", [("n", "1")]) == "https://a/x?_s=a/b==&n=1"


@pytest.mark.parametrize(
    ("name", "is_here"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("a.localhost", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("127.1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example", False),
        ("dead.beef", False),
    ],
)
def test_this_machine_is_known_by_name_and_address(name: str, *, is_here: bool) -> None:
    assert is_loopback(name) is is_here


def test_private_networks_are_not_inner_addresses() -> None:
    assert not is_inner("192.168.1.1")
    assert is_inner("169.254.1.1")


def test_a_name_of_hex_digits_is_no_address() -> None:
    assert address_literal("cafe.example") is None
    assert address_literal("fade") is None
    assert str(address_literal("0x0a000001")) == "10.0.0.1"


@pytest.mark.parametrize(
    ("domain", "address", "name", "is_here"),
    [
        ("docker.io", "registry-1.docker.io", "docker.io", False),
        ("ghcr.io", "ghcr.io", "ghcr.io", False),
        ("localhost:5000", "localhost:5000", "localhost", True),
        ("[::1]:5000", "[::1]:5000", "::1", True),
    ],
)
def test_a_host_has_an_address_and_a_name(
    domain: str, address: str, name: str, *, is_here: bool
) -> None:
    host = Host(domain)
    assert (host.address, host.name, host.is_loopback) == (address, name, is_here)


@pytest.mark.parametrize(
    ("domain", "is_ecr"),
    [
        ("123.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("123.dkr.ecr-fips.us-east-1.amazonaws.com", True),
        ("123.dkr.ecr.cn-north-1.amazonaws.com.cn", True),
        ("public.ecr.aws", True),
        ("amazonaws.com", False),
        ("dkr.ecr.amazonaws.com.evil.example", False),
    ],
)
def test_amazons_registries_are_known_by_their_names(domain: str, *, is_ecr: bool) -> None:
    assert Host(domain).is_ecr is is_ecr
