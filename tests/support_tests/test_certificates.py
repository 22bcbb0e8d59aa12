"""Certificates of the private authority are accepted, and refused, as they should be."""

import ssl
from pathlib import Path

import pytest

from tests.places.registry.plain_client import send
from tests.support.certificates import Authority, Pair, self_signed
from tests.support.registry import EmulatedRegistry


def ping(authority: Authority, server: Pair, client: Pair | None = None) -> int:
    with EmulatedRegistry(tls=server.serve()) as registry:
        return send(registry.host, "GET", "/v2/", tls=authority.context(client)).status


def test_a_certificate_of_the_authority_is_accepted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert ping(authority, authority.server()) == 200


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        ping(authority, authority.server(days=-1))


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        ping(authority, authority.server(names=["registry.example"]))


def test_a_certificate_that_signed_itself_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        ping(authority, self_signed(tmp_path, "own", "127.0.0.1"))


def test_a_client_without_a_certificate_is_refused_where_one_is_wanted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.server(), authority.client()
    with EmulatedRegistry(tls=server.serve(authority.certificate)) as registry:
        assert send(registry.host, "GET", "/v2/", tls=authority.context(client)).status == 200
        with pytest.raises(OSError, match=r"certificate required|reset"):
            send(registry.host, "GET", "/v2/", tls=authority.context())
