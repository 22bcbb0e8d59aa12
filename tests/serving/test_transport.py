"""S7 (continue), S16, S24, S26, S27, S28, S29: the server on real sockets."""

import contextlib
import json
import os
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
from msgspec.structs import replace

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.serving.log import as_json, as_text
from ocitool.serving.server import RegistryServer, ServeOptions
from ocitool.serving.shelves import LayoutShelf
from ocitool.serving.transport.connection import Exchange
from ocitool.serving.transport.limits import ServerLimits
from ocitool.serving.transport.listening import parse_address
from ocitool.serving.transport.tls import Certificates
from tests.support.certificates import Authority, Pair
from tests.support.images import build_image
from tests.support.layouts import bring
from tests.support.serving import raw_exchange

BLOB = os.urandom(3_000_000)
IMAGE = build_image([BLOB], compression="none")
LAYER = f"/v2/library/a/blobs/{IMAGE.layers[0].digest}"
SHORT = ServerLimits(idle=0.5, header=0.4, stalled=0.5, queued=0.2, drain=2.0)


class Served:
    """A server in this process, and what it said."""

    def __init__(self, server: RegistryServer, log: list[Exchange], folder: Path) -> None:
        self.server = server
        self.log = log
        self.folder = folder
        self.stack = contextlib.ExitStack()
        host, _, port = server.url.rpartition("//")[2].rpartition(":")
        self.address = host, int(port)

    def raw(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        return raw_exchange(self.address, *pieces, pause=pause)

    def client(self, context: ssl.SSLContext | None = None) -> HTTPConnection:
        client = HTTPConnection(*self.address, timeout=10)
        if context is not None:
            client = HTTPSConnection(*self.address, context=context, timeout=5)
        self.stack.callback(client.close)
        return client

    def connect(self, *, small: bool = False) -> socket.socket:
        """Return a connection; with `small` of a reader whose buffer takes little."""
        sock = self.stack.enter_context(socket.socket())
        sock.settimeout(5)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(self.address)
        return sock


@contextlib.contextmanager
def served(tmp_path: Path, options: ServeOptions | None = None) -> Iterator[Served]:
    log: list[Exchange] = []
    folder = tmp_path / "store"
    with Layout.create(str(folder), store=True) as layout:
        bring(layout, IMAGE, "docker.io/library/a:1")
        server = RegistryServer(
            [LayoutShelf(layout)], options or ServeOptions(limits=SHORT), log=log.append
        )
        with server:
            site = Served(server, log, folder)
            with site.stack:
                yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, ServeOptions(writable=True, limits=SHORT)) as found:
        yield found


def over_unix(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return sock.recv(4096)


class TestAnswers:
    def test_a_blob_and_a_part_of_it(self, site: Served) -> None:
        client = site.client()
        client.request("GET", LAYER)
        assert client.getresponse().read() == BLOB
        client.request("GET", LAYER, headers={"Range": "bytes=1000-2999999"})
        got = client.getresponse()
        assert (got.status, got.read()) == (206, BLOB[1000:])

    def test_head_is_get_without_the_body(self, site: Served) -> None:
        client = site.client()
        for target in (LAYER, "/v2/library/a/manifests/1", "/v2/library/a/manifests/none"):
            client.request("GET", target)
            whole = client.getresponse()
            body = whole.read()
            client.request("HEAD", target)
            head = client.getresponse()
            assert head.read() == b""
            assert head.status == whole.status
            headers = [dict(got.getheaders()) for got in (whole, head)]
            assert headers[0] | {"Date": ""} == headers[1] | {"Date": ""}
            assert headers[1]["Content-Length"] == str(len(body))

    def test_one_connection_carries_many_requests(self, site: Served) -> None:
        request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        # Pipelined: all at once.
        got = site.raw(request * 4 + last)
        assert got.count(b"HTTP/1.1 200 OK") == 5

    @pytest.mark.parametrize(("keep", "answers"), [(b"Connection: keep-alive\r\n", 2), (b"", 1)])
    def test_clients_of_http_1_0(self, site: Served, keep: bytes, answers: int) -> None:
        request = b"GET /v2/ HTTP/1.0\r\n" + keep + b"\r\n"
        got = site.raw(request, request if keep else b"", pause=0.1)
        assert got.count(b" 200 OK") == answers
        assert got.count(b"Connection: keep-alive") == (answers if keep else 0)

    def test_half_closed(self, site: Served) -> None:
        with socket.create_connection(site.address, timeout=5) as sock:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
            got = b""
            while data := sock.recv(4096):
                got += data
        assert b"200 OK" in got

    def test_a_unix_socket(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s.sock")
        options = ServeOptions(address=parse_address(f"unix:{path}"), limits=SHORT)
        with Layout.create(str(tmp_path / "store"), store=True) as layout:
            with RegistryServer([LayoutShelf(layout)], options):
                assert b"200 OK" in over_unix(path)
            assert not os.path.exists(path)


class TestS7ContinueIsSaidLate:
    def test_a_refused_upload_sends_no_body(self, site: Served) -> None:
        head = (
            b"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        got = site.raw(head)
        assert got.startswith(b"HTTP/1.1 413")
        assert b"100 Continue" not in got
        assert b"Connection: close" in got

    def test_one_that_is_taken_is_asked_for(self, site: Served) -> None:
        digest = Digest.of(b"12345")
        target = f"POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\n"
        head = f"{target}Content-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        got = site.raw(head.encode(), b"12345", pause=0.1)
        assert got.startswith(b"HTTP/1.1 100 ")
        assert b"HTTP/1.1 201 Created" in got
        unasked = head.replace("Expect: 100-continue\r\n", "")
        got = site.raw(unasked.encode(), b"12345", pause=0.1)
        assert got.startswith(b"HTTP/1.1 201 ")


class TestS16VerifiedReads:
    def test_damage_is_cut_before_the_last_byte(self, tmp_path: Path) -> None:
        options = ServeOptions(limits=SHORT, verify_reads=True)
        with served(tmp_path, options) as site:
            client = site.client()
            client.request("GET", LAYER)
            assert client.getresponse().read() == BLOB
            path = site.folder / "blobs/sha256" / IMAGE.layers[0].digest.hex
            # A random byte may be any: only a flipped bit of it is another one for certain.
            path.write_bytes(BLOB[:100] + bytes([BLOB[100] ^ 1]) + BLOB[101:])
            got = site.raw(f"GET {LAYER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            body = got.partition(b"\r\n\r\n")[2]
            assert len(body) < len(BLOB)
            client = site.client()
            client.request("GET", LAYER, headers={"Range": "bytes=0-9"})
            assert client.getresponse().status == 500


class TestS26Robustness:
    @pytest.mark.parametrize(
        ("request_head", "status"),
        [
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip", 501),
            (b"GET / HTTP/1.1", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b", 400),
            (b"GET / HTTP/1.1\r\nHost: x" + b"\r\nX: y" * 101, 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
            (b"nonsense", 400),
            (b"GET /\x01 HTTP/1.1\r\nHost: x", 400),
        ],
    )
    def test_what_is_no_request(self, site: Served, request_head: bytes, status: int) -> None:
        got = site.raw(request_head + b"\r\n\r\n")
        assert got.startswith(f"HTTP/1.1 {status} ".encode()), got[:80]
        assert b"Connection: close" in got

    def test_a_slow_header_is_not_waited_for(self, site: Served) -> None:
        began = time.monotonic()
        with socket.create_connection(site.address, timeout=5) as sock:
            got = b""
            with contextlib.suppress(OSError):
                for byte in b"GET /v2/ HTTP/1.1\r\n" * 10:
                    sock.sendall(bytes([byte]))
                    time.sleep(0.05)
            with contextlib.suppress(OSError):
                got = sock.recv(4096)
        assert time.monotonic() - began < 12
        assert b"408" in got or got == b""

    def test_a_body_that_ends_early_is_an_error_and_the_end(self, site: Served) -> None:
        target = f"POST /v2/app/blobs/uploads/?digest={Digest.of(b'12345')} HTTP/1.1"
        head = f"{target}\r\nHost: x\r\nContent-Length: 5\r\n\r\n123".encode()
        got = site.raw(head)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" in got

    def test_a_thousand_idle_connections_cost_no_thread(self, tmp_path: Path) -> None:
        options = ServeOptions(limits=replace(SHORT, idle=30.0))
        with served(tmp_path, options) as site:
            before = threading.active_count()
            for _ in range(300):
                sock = site.connect()
                sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            client = site.client()
            client.request("GET", "/v2/")
            assert client.getresponse().status == 200
            assert threading.active_count() - before <= 201

    def test_an_idle_connection_is_closed(self, site: Served) -> None:
        with socket.create_connection(site.address, timeout=5) as sock:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in sock.recv(4096)
            assert sock.recv(4096) == b""

    def test_more_clients_than_there_is_room_for_are_told(self, tmp_path: Path) -> None:
        limits = replace(SHORT, clients=2, stalled=5.0)
        with served(tmp_path, ServeOptions(limits=limits)) as site:
            for _ in range(2):
                # Readers that do not read: their answers do not fit into any buffer.
                sock = site.connect(small=True)
                sock.sendall(f"GET {LAYER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.1)
            got = site.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in got

    def test_a_reader_without_progress_is_cut(self, tmp_path: Path) -> None:
        limits = replace(SHORT, clients=1)
        with served(tmp_path, ServeOptions(limits=limits)) as site:
            sock = site.connect(small=True)
            sock.sendall(f"GET {LAYER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            deadline = time.monotonic() + 5
            while not site.log and time.monotonic() < deadline:
                time.sleep(0.02)
            assert [exchange.is_whole for exchange in site.log] == [False]

    def test_many_clients_at_once_get_what_they_asked_for(self, site: Served) -> None:
        wrong: list[object] = []

        def ask() -> None:
            try:
                client = HTTPConnection(*site.address, timeout=10)
                for _ in range(3):
                    client.request("GET", LAYER)
                    if client.getresponse().read() != BLOB:
                        wrong.append("other bytes")
                client.close()
            except OSError as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


class TestS30Costs:
    def test_memory_with_many_clients_and_uploads(self, tmp_path: Path) -> None:
        """Measured in a process of its own by the soak; here no body is kept in memory."""
        options = ServeOptions(writable=True, limits=replace(SHORT, stalled=10.0))
        with served(tmp_path, options) as site:
            size = 32 << 20
            digest = Digest.of(bytes(size))
            tracemalloc.start()
            try:
                target = f"/v2/app/blobs/uploads/?digest={digest}"
                client = site.client()
                client.request(
                    "POST",
                    target,
                    iter([bytes(1 << 20)] * 32),
                    encode_chunked=True,
                    headers={"Transfer-Encoding": "chunked"},
                )
                answer = client.getresponse()
                assert answer.status == 201, answer.read()
                assert answer.read() == b""
                client.request("GET", f"/v2/app/blobs/{digest}")
                answer = client.getresponse()
                while answer.read(1 << 20):
                    pass
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 12 << 20


class TestS27TheEnd:
    def test_requests_in_hand_are_answered(self, tmp_path: Path) -> None:
        with served(tmp_path) as site:
            idle = site.connect()
            idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.recv(4096)
            sock = site.connect()
            sock.sendall(f"GET {LAYER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            got = sock.recv(1000)
            site.server.stop()
            assert idle.recv(10) == b""
            while data := sock.recv(1 << 16):
                got += data
            assert got.partition(b"\r\n\r\n")[2] == BLOB
            with pytest.raises(OSError, match=r"."):
                socket.create_connection(site.address, timeout=1).close()

    def test_what_takes_too_long_is_cut(self, tmp_path: Path) -> None:
        limits = replace(SHORT, stalled=30.0)
        with served(tmp_path, ServeOptions(limits=limits)) as site:
            sock = site.connect(small=True)
            sock.sendall(f"GET {LAYER} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.recv(100)
            began = time.monotonic()
            site.server.stop(0.2)
            assert site.server.join(5)
            assert time.monotonic() - began < 4


class TestS28Health:
    def test_without_a_user_and_without_a_version(self, site: Served) -> None:
        for target in (b"/healthz", b"/readyz"):
            got = site.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in got
            assert b"erver:" not in got

    def test_a_store_that_cannot_be_read_is_not_ready(self, site: Served) -> None:
        (site.folder / "index.json").write_text("{")
        client = site.client()
        client.request("GET", "/readyz")
        got = client.getresponse()
        assert got.status == 503
        got.read()
        client.request("GET", "/healthz")
        assert client.getresponse().status == 200


class TestS29TheLog:
    def test_a_line_tells_what_was_asked_and_nothing_secret(self, site: Served) -> None:
        site.raw(
            b"GET /v2/library/a/manifests/1?ns=docker.io&token=SECRET HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Basic U0VDUkVU\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n"
        )
        exchange = site.log[0]
        fields = json.loads(as_json(exchange))
        assert fields["path"] == "/v2/library/a/manifests/1?ns=docker.io"
        assert (fields["status"], fields["method"]) == (200, "GET")
        assert fields["digest"] == str(IMAGE.descriptor.digest)
        assert fields["range"] == "bytes=0-1"
        assert fields["bytes"] == len(IMAGE.manifest)
        for line in (as_json(exchange), as_text(exchange)):
            assert "SECRET" not in line
            assert "U0VDUkVU" not in line

    def test_control_bytes_of_a_client_do_not_reach_it(self, site: Served) -> None:
        target = "/v2/\x1b[31m\xff/manifests/1".encode("latin-1")
        site.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        site.raw(
            b"GET /v2/%1b%0a/tags/list?last=%1b%0d%0aX HTTP/1.1\r\nHost: x\r\n"
            b"Connection: close\r\n\r\n"
        )
        for exchange in site.log:
            for line in (as_json(exchange), as_text(exchange)):
                assert line.isascii()
                assert line.isprintable()

    def test_a_log_that_fails_fails_no_request(self, tmp_path: Path) -> None:
        from ocitool.serving.log import AccessLog

        def full(_line: str) -> None:
            raise OSError(28, "No space left on device")

        with Layout.create(str(tmp_path / "store"), store=True) as layout:
            log = AccessLog(as_text, full)
            with RegistryServer([LayoutShelf(layout)], ServeOptions(), log=log) as server:
                client = HTTPConnection(server.url.rpartition("/")[2], timeout=5)
                assert asked(client) == 200
                client.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def asked(client: HTTPConnection) -> int:
    client.request("GET", "/v2/")
    return client.getresponse().status


def secured(pair: Pair, client_ca: Path | None = None) -> ServeOptions:
    return ServeOptions(
        certificate=str(pair.certificate),
        key=str(pair.key),
        client_ca=str(client_ca) if client_ca is not None else None,
        limits=replace(SHORT, handshake=0.5, idle=5.0, stalled=5.0),
    )


class TestS24Tls:
    def test_blobs_and_many_requests(self, tmp_path: Path, authority: Authority) -> None:
        with served(tmp_path, secured(authority.server())) as site:
            assert site.server.url.startswith("https://")
            context = authority.context()
            client = site.client(context)
            for target, body in ((LAYER, BLOB), ("/v2/library/a/manifests/1", IMAGE.manifest)) * 2:
                client.request("GET", target)
                assert client.getresponse().read() == body

    def test_who_does_not_shake_hands_keeps_nobody_waiting(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        with served(tmp_path, secured(authority.server())) as site:
            silent = [site.connect() for _ in range(5)]
            for sock in silent:
                sock.sendall(b"\x16\x03")
            context = authority.context()
            client = site.client(context)
            client.request("GET", "/v2/")
            assert client.getresponse().status == 200
            for sock in silent:
                assert sock.recv(100) is not None

    def test_only_clients_with_a_certificate(self, tmp_path: Path, authority: Authority) -> None:
        with served(tmp_path, secured(authority.server(), authority.certificate)) as site:
            stranger = site.client(authority.context())
            with pytest.raises(OSError, match=r"."):
                asked(stranger)
            context = authority.context(authority.client())
            client = site.client(context)
            client.request("GET", "/v2/")
            assert client.getresponse().status == 200

    def test_a_new_certificate_is_read_when_told(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        pair = authority.server("first")
        with served(tmp_path, secured(pair)) as site:
            before = ssl.get_server_certificate(site.address)
            other = authority.server("second")
            pair.certificate.write_bytes(other.certificate.read_bytes())
            # Half replaced: the old one stays.
            site.server.reload()
            assert ssl.get_server_certificate(site.address) == before
            pair.key.write_bytes(other.key.read_bytes())
            site.server.reload()
            assert ssl.get_server_certificate(site.address) == other.certificate.read_text()

    def test_old_versions_are_not_spoken(self, authority: Authority) -> None:
        pair = authority.server("third")
        found = Certificates(str(pair.certificate), str(pair.key), None).context()
        assert found.minimum_version == ssl.TLSVersion.TLSv1_2
