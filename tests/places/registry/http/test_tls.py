"""TLS is on and verified; what it takes to convince us, and what we say when nothing does."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import OcitoolError, Refused, StorageError, Unavailable, UsageError
from ocitool.places.registry import RegistryOptions
from ocitool.places.registry.http.tls import trust
from ocitool.places.registry.listing import tags
from tests.places.registry.reading import HOME, NAME, reading
from tests.support.certificates import Authority, Pair, openssl, self_signed
from tests.support.docker_registry import running_registry
from tests.support.fault_proxy import FaultProxy, TcpFault
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry
from tests.support.trap import Trap


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture
def registry(pair: Pair) -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry(tls=pair.serve()) as registry:
        registry.add_image(NAME, build_image(), "1")
        yield registry


def listed(
    registry: EmulatedRegistry, environment: dict[str, str] | None = None, **options: Any
) -> list[str]:
    with reading(registry.host, environment, **options) as reader:
        return tags(reader.session)


def refusal(registry: EmulatedRegistry, **options: Any) -> OcitoolError:
    """Return why the registry could not be talked to; it must not have had a request."""
    with pytest.raises(Unavailable) as caught:
        listed(registry, **options)
    assert registry.log == []
    return caught.value


class TestRefusals:
    def test_an_unknown_authority_is_refused_with_advice(self, registry: EmulatedRegistry) -> None:
        error = refusal(registry)
        assert "by TLS" in error.message
        assert error.hint is not None
        assert "--ca-cert" in error.hint

    def test_a_certificate_that_signed_itself_is_refused(self, tmp_path: Path) -> None:
        own = self_signed(tmp_path, "own", "localhost", ("subjectAltName=IP:127.0.0.1",))
        with EmulatedRegistry(tls=own.serve()) as registry:
            assert "--ca-cert" in str(refusal(registry).hint)

    def test_another_hosts_certificate_is_refused(self, authority: Authority) -> None:
        other = authority.server("other", ["other.example"])
        with EmulatedRegistry(tls=other.serve()) as registry:
            error = refusal(registry, ca_cert=str(authority.certificate))
            assert "another host" in str(error.hint)

    def test_an_expired_certificate_is_refused(self, authority: Authority) -> None:
        old = authority.server("old", days=-1)
        with EmulatedRegistry(tls=old.serve()) as registry:
            error = refusal(registry, ca_cert=str(authority.certificate))
            assert "expired" in str(error.hint)

    def test_refusals_are_not_tried_again(self, pair: Pair) -> None:
        with EmulatedRegistry(tls=pair.serve()) as registry:
            before = len(registry._workers)
            refusal(registry)
            # One more asked whether TLS is spoken.
            assert len(registry._workers) - before == 2

    def test_a_server_of_tls_is_never_asked_plainly(self, registry: EmulatedRegistry) -> None:
        with pytest.raises(OcitoolError):
            listed(registry, plain_http=True)
        assert registry.requests("GET") == []

    def test_a_redirect_from_tls_to_plain_http_is_refused(
        self, authority: Authority, pair: Pair
    ) -> None:
        with Trap() as trap:
            leading = Trap(
                307,
                headers={"Location": trap.url.replace("127.0.0.1", "localhost")},
                tls=pair.serve(),
            )
            with (
                leading,
                reading(leading.host, ca_cert=str(authority.certificate)) as reader,
                pytest.raises(Refused, match="plain http"),
            ):
                tags(reader.session)
            assert trap.log == []


class TestTrust:
    def test_an_authority_can_be_named(
        self, registry: EmulatedRegistry, authority: Authority
    ) -> None:
        assert listed(registry, ca_cert=str(authority.certificate)) == ["1"]

    def test_verification_can_be_left_out(self, registry: EmulatedRegistry) -> None:
        assert listed(registry, insecure=True) == ["1"]

    @pytest.mark.parametrize("base", ["XDG_CONFIG_HOME", "HOME"])
    def test_an_authority_may_lie_in_certs_d(
        self, registry: EmulatedRegistry, authority: Authority, tmp_path: Path, base: str
    ) -> None:
        config = tmp_path if base == "XDG_CONFIG_HOME" else tmp_path / ".config"
        folder = config / "containers/certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / "own.crt").write_bytes(authority.certificate.read_bytes())
        assert listed(registry, {**HOME, base: str(tmp_path)}) == ["1"]

    def test_an_authority_of_another_port_does_not_count(
        self, registry: EmulatedRegistry, authority: Authority, tmp_path: Path
    ) -> None:
        folder = tmp_path / "containers/certs.d/127.0.0.1:1"
        folder.mkdir(parents=True)
        (folder / "own.crt").write_bytes(authority.certificate.read_bytes())
        with pytest.raises(Unavailable):
            listed(registry, {**HOME, "XDG_CONFIG_HOME": str(tmp_path)})

    def test_the_systems_authorities_stay_trusted(self, authority: Authority) -> None:
        before = len(ssl.create_default_context().get_ca_certs())
        context = trust("host", RegistryOptions(ca_cert=str(authority.certificate)), HOME)
        assert len(context.get_ca_certs()) >= before + 1


class TestClients:
    def test_a_client_shows_its_certificate(self, authority: Authority, pair: Pair) -> None:
        client = authority.client()
        options: dict[str, Any] = {
            "ca_cert": str(authority.certificate),
            "client_cert": str(client.certificate),
            "client_key": str(client.key),
        }
        with EmulatedRegistry(tls=pair.serve(authority.certificate)) as registry:
            registry.add_image(NAME, build_image(), "1")
            assert listed(registry, **options) == ["1"]

    def test_a_client_without_one_is_told_what_is_wanted(
        self, authority: Authority, pair: Pair
    ) -> None:
        with EmulatedRegistry(tls=pair.serve(authority.certificate)) as registry:
            error = refusal(registry, ca_cert=str(authority.certificate))
            assert "--client-cert" in str(error.hint)

    def test_a_pair_may_lie_in_certs_d(
        self, authority: Authority, pair: Pair, tmp_path: Path
    ) -> None:
        client = authority.client("another")
        with EmulatedRegistry(tls=pair.serve(authority.certificate)) as registry:
            registry.add_image(NAME, build_image(), "1")
            folder = tmp_path / "containers/certs.d" / registry.host
            folder.mkdir(parents=True)
            (folder / "a.crt").write_bytes(authority.certificate.read_bytes())
            (folder / "b.cert").write_bytes(client.certificate.read_bytes())
            (folder / "b.key").write_bytes(client.key.read_bytes())
            assert listed(registry, {**HOME, "XDG_CONFIG_HOME": str(tmp_path)}) == ["1"]

    @pytest.mark.parametrize("name", ["a.cert", "a.key"])
    def test_half_a_pair_is_a_mistake(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "containers/certs.d/host:5000"
        folder.mkdir(parents=True)
        (folder / name).write_text("x")
        with pytest.raises(UsageError, match="beside it"):
            trust("host:5000", RegistryOptions(), {"XDG_CONFIG_HOME": str(tmp_path)})

    def test_debians_registry_is_reached_with_both(self, tmp_path: Path) -> None:
        with running_registry(tmp_path, "tls") as registry:
            options: dict[str, Any] = {
                "ca_cert": str(registry.ca),
                "client_cert": str(registry.client_cert),
                "client_key": str(registry.client_key),
            }
            with reading(registry.host, **options) as reader:
                assert reader.session.ping().status == 200


class TestFiles:
    def test_a_file_that_is_no_certificate_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "x.pem").write_text("hello")
        with pytest.raises(UsageError, match="no certificate"):
            trust("host", RegistryOptions(ca_cert=str(tmp_path / "x.pem")), HOME)

    def test_a_file_that_is_absent_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"gone\.pem"):
            trust("host", RegistryOptions(ca_cert=str(tmp_path / "gone.pem")), HOME)

    def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        client = authority.client("locked")
        locked = tmp_path / "locked.key"
        openssl("pkey", "-in", client.key, "-aes128", "-passout", "pass:x", "-out", locked)
        options = RegistryOptions(client_cert=str(client.certificate), client_key=str(locked))
        with pytest.raises(UsageError) as caught:
            trust("host", options, HOME)
        assert "passphrase" in str(caught.value.hint)

    def test_half_a_client_is_a_mistake(self) -> None:
        with pytest.raises(UsageError):
            RegistryOptions(client_cert="x")


class TestLoopback:
    def test_this_machine_may_speak_plain_http(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            assert reader.session.base == registry.url

    def test_this_machine_is_spoken_to_by_tls_where_it_can(
        self, registry: EmulatedRegistry
    ) -> None:
        with reading(registry.host, insecure=True) as reader:
            assert reader.session.base == registry.url
            assert registry.url.startswith("https://")

    def test_other_hosts_are_spoken_to_by_tls(self) -> None:
        with reading("10.255.255.1:5000") as reader:
            assert reader.session.base == "https://10.255.255.1:5000"
        with reading("10.255.255.1:5000", plain_http=True) as reader:
            assert reader.session.base == "http://10.255.255.1:5000"

    def test_plain_http_and_insecure_exclude_each_other(self) -> None:
        with pytest.raises(UsageError):
            RegistryOptions(plain_http=True, insecure=True)

    def test_who_listens_nowhere_is_named_with_advice(self) -> None:
        with reading("127.0.0.1:1") as reader, pytest.raises(Unavailable) as caught:
            tags(reader.session)
        assert "nothing listens" in str(caught.value.hint)


class TestCutConnections:
    def test_a_handshake_that_is_cut_is_tried_again(
        self, registry: EmulatedRegistry, authority: Authority
    ) -> None:
        fault = TcpFault(action="close", after=100, times=2)
        with (
            FaultProxy(registry.host, fault) as proxy,
            reading(proxy.host, ca_cert=str(authority.certificate)) as reader,
        ):
            reader.registries._bases[proxy.host] = f"https://{proxy.host}"
            assert tags(reader.session) == ["1"]

    def test_a_large_blob_comes_over_tls_in_spite_of_cuts(
        self, registry: EmulatedRegistry, authority: Authority
    ) -> None:
        data = bytes(range(256)) * (18 << 12)
        blob = registry.add_blob(NAME, data)
        fault = TcpFault(action="reset", after=7_000_000, times=1)
        with (
            FaultProxy(registry.host, fault) as proxy,
            reading(proxy.host, ca_cert=str(authority.certificate)) as reader,
        ):
            reader.registries._bases[proxy.host] = f"https://{proxy.host}"
            assert reader.blob(blob) == data
