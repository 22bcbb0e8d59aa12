"""The faults that a test orders are committed, exactly and as often as it said."""

import http.client
import time
from collections.abc import Iterator

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import connect, send
from tests.support.fault_proxy import ConnectProxy, FaultProxy, TcpFault
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import (
    Delay,
    Drip,
    Drop,
    EarlyStatus,
    ExtraBytes,
    FlippedByte,
    HangUp,
    Stall,
    Status,
    WrongLength,
)
from tests.support.trap import Trap

DATA = b"0123456789"
TARGET = f"/v2/a/blobs/{Digest.of(DATA)}"


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        registry.add_blob("a", DATA)
        yield registry


def timed_get(registry: EmulatedRegistry) -> tuple[bytes, float]:
    begun = time.monotonic()
    body = send(registry.host, "GET", TARGET).body
    return body, time.monotonic() - begun


def opened_upload(registry: EmulatedRegistry) -> str:
    location = send(registry.host, "POST", "/v2/a/blobs/uploads/").headers["Location"]
    return str(location.removeprefix(registry.url))


class TestAnswers:
    def test_an_answer_ends_after_some_bytes(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Drop(after=4))
        with pytest.raises(http.client.IncompleteRead) as caught:
            send(registry.host, "GET", TARGET)
        assert caught.value.partial == DATA[:4]
        assert registry.log[0].sent_bytes == 4

    def test_an_answer_ends_by_a_reset(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Drop(after=4, reset=True))
        with pytest.raises(ConnectionResetError):
            send(registry.host, "GET", TARGET)

    def test_no_answer_comes(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", HangUp())
        with pytest.raises(http.client.RemoteDisconnected):
            send(registry.host, "GET", TARGET)
        assert registry.log[0].status == 0

    def test_no_answer_comes_though_the_request_was_obeyed(
        self, registry: EmulatedRegistry
    ) -> None:
        registry.fail("DELETE", "/blobs/", HangUp(processed=True))
        with pytest.raises(http.client.RemoteDisconnected):
            send(registry.host, "DELETE", TARGET)
        assert not registry.blobs["a"]

    def test_an_answer_stands_still_and_goes_on(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Stall(seconds=0.3, after=5))
        body, seconds = timed_get(registry)
        assert body == DATA
        assert seconds >= 0.3

    def test_an_answer_is_late(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Delay(0.3))
        assert timed_get(registry)[1] >= 0.3

    def test_an_answer_drips(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Drip(0.02))
        body, seconds = timed_get(registry)
        assert body == DATA
        assert seconds >= 0.18

    def test_a_length_that_is_too_long_is_seen(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", WrongLength(3))
        with pytest.raises(http.client.IncompleteRead):
            send(registry.host, "GET", TARGET)

    def test_a_length_that_is_too_short_cuts_the_body(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", WrongLength(-3))
        assert send(registry.host, "GET", TARGET).body == DATA[:-3]

    def test_a_body_has_extra_bytes(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", ExtraBytes(b"!"))
        assert send(registry.host, "GET", TARGET).body == DATA + b"!"

    def test_a_byte_is_flipped(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", FlippedByte(2))
        assert send(registry.host, "GET", TARGET).body == b"01\xcd3456789"

    def test_another_status_is_sent(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", "/blobs/", Status(status=503, headers={"X-A": "b"}, body=b"no"))
        reply = send(registry.host, "GET", TARGET)
        assert (reply.status, reply.headers["X-A"], reply.body) == (503, "b", b"no")

    def test_a_fault_is_committed_as_often_as_planned(self, registry: EmulatedRegistry) -> None:
        registry.fail("*", "/blobs/", Status(status=500), times=2, after=1)
        statuses = [send(registry.host, "GET", TARGET).status for _ in range(5)]
        assert statuses == [200, 500, 500, 200, 200]

    def test_a_connection_outlives_a_status(self, registry: EmulatedRegistry) -> None:
        registry.fail("PUT", "/", Status(status=500))
        connection = connect(registry.host)
        connection.request("PUT", "/v2/x", b"some body")
        connection.getresponse().read()
        port = connection.sock.getsockname()
        connection.request("GET", TARGET)
        assert connection.getresponse().read() == DATA
        assert connection.sock.getsockname() == port
        connection.close()


class TestUploads:
    def test_a_status_comes_before_the_body_is_sent(self, registry: EmulatedRegistry) -> None:
        registry.fail("PUT", "/uploads/", EarlyStatus(status=413, after=1000, body=b"too much"))
        connection = connect(registry.host)
        connection.putrequest("PUT", opened_upload(registry))
        connection.putheader("Content-Length", "100000000")
        connection.endheaders()
        connection.send(bytes(2000))
        response = connection.getresponse()
        assert (response.status, response.read()) == (413, b"too much")
        connection.close()
        assert [logged.received_bytes for logged in registry.requests("PUT")] == [1000]

    def test_a_broken_body_leaves_its_bytes_in_the_session(
        self, registry: EmulatedRegistry
    ) -> None:
        registry.fail("PATCH", "/uploads/", Drop(after=4, of="received"))
        target = opened_upload(registry)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            send(registry.host, "PATCH", target, DATA)
        assert send(registry.host, "GET", target).headers["Range"] == "0-3"

    def test_a_client_that_leaves_is_no_defect(self, registry: EmulatedRegistry) -> None:
        connection = connect(registry.host)
        connection.putrequest("PUT", opened_upload(registry))
        connection.putheader("Content-Length", "1000")
        connection.endheaders()
        connection.send(b"a part")
        connection.close()


class TestTheServer:
    def test_it_ends_while_it_stalls(self) -> None:
        begun = time.monotonic()
        with EmulatedRegistry() as registry:
            registry.add_blob("a", DATA)
            registry.fail("GET", "/blobs/", Stall(seconds=60, after=1))
            connection = connect(registry.host)
            connection.request("GET", TARGET)
            connection.getresponse().read(1)
        connection.close()
        assert time.monotonic() - begun < 3

    def test_its_port_is_free_afterwards(self) -> None:
        with EmulatedRegistry() as registry:
            host = registry.host
        with pytest.raises(ConnectionRefusedError):
            send(host, "GET", "/v2/")

    def test_an_error_of_its_own_is_not_lost(self) -> None:
        class Broken(Trap):
            def respond(self, exchange: object) -> None:
                raise ValueError("broken")

        ended = pytest.raises(http.client.RemoteDisconnected)
        with pytest.raises(ValueError, match="broken"), Broken() as server, ended:
            send(server.host, "GET", "/")


class TestTheTrap:
    def test_a_secret_is_seen_wherever_it_hides(self) -> None:
        with Trap() as trap:
            send(trap.host, "GET", "/", headers={"Authorization": "Basic dXNlcjpjYW5hcnk="})
            assert trap.saw("canary")
            assert trap.credentials == ["authorization: Basic dXNlcjpjYW5hcnk="]
            send(trap.host, "POST", "/", b"password=in+the+body")
            send(trap.host, "GET", "/?in=target")
            assert trap.saw("in+the+body")
            assert trap.saw("in=target")
            assert not trap.saw("elsewhere")


class TestTheTcpProxy:
    def test_it_passes_bytes_on(self, registry: EmulatedRegistry) -> None:
        with FaultProxy(registry.host) as proxy:
            assert send(proxy.host, "GET", TARGET).body == DATA
        assert proxy.connections == 1
        assert proxy.passed["down"] > len(DATA)

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_it_resets_a_connection_once(self, registry: EmulatedRegistry, direction: str) -> None:
        up = direction == "up"
        fault = TcpFault(action="reset", direction="up" if up else "down", after=10)
        with FaultProxy(registry.host, fault) as proxy:
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                send(proxy.host, "GET", TARGET)
            assert send(proxy.host, "GET", TARGET).body == DATA

    def test_it_closes_a_connection(self, registry: EmulatedRegistry) -> None:
        ended = pytest.raises((http.client.RemoteDisconnected, ConnectionError))
        with FaultProxy(registry.host, TcpFault(action="close")) as proxy, ended:
            send(proxy.host, "GET", TARGET)

    def test_it_stalls(self, registry: EmulatedRegistry) -> None:
        with FaultProxy(registry.host, TcpFault(action="stall", after=5, seconds=0.3)) as proxy:
            begun = time.monotonic()
            assert send(proxy.host, "GET", TARGET).body == DATA
        assert time.monotonic() - begun >= 0.3


class TestTheConnectProxy:
    def test_a_tunnel_leads_to_where_the_routes_say(self, registry: EmulatedRegistry) -> None:
        with ConnectProxy(routes={"registry.example:80": registry.host}) as proxy:
            connection = connect(proxy.host)
            connection.set_tunnel("registry.example", 80)
            connection.request("GET", TARGET)
            assert connection.getresponse().read() == DATA
            connection.close()
            assert [logged.target for logged in proxy.requests("CONNECT")] == [
                "registry.example:80"
            ]

    def test_a_plain_request_is_forwarded(self, registry: EmulatedRegistry) -> None:
        with ConnectProxy() as proxy:
            reply = send(proxy.host, "GET", f"{registry.url}{TARGET}", headers={"X-A": "b"})
        assert reply.body == DATA
        assert (registry.log[0].target, registry.log[0].headers["x-a"]) == (TARGET, "b")

    def test_it_can_want_a_password(self, registry: EmulatedRegistry) -> None:
        with ConnectProxy(("user", "pass")) as proxy:
            target = f"{registry.url}{TARGET}"
            refused = send(proxy.host, "GET", target)
            known = {"Proxy-Authorization": "Basic dXNlcjpwYXNz"}
            welcome = send(proxy.host, "GET", target, headers=known)
        assert (refused.status, welcome.status) == (407, 200)
        assert "proxy-authorization" not in registry.log[0].headers
