"""Blobs from a registry: whole or gone on with, as they are or not at all."""

import gzip
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ocitool.errors import (
    AccessDenied,
    DigestMismatch,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    SizeMismatch,
    Unavailable,
)
from ocitool.image.content import NoRanges
from ocitool.places.registry.download import Download
from tests.places.registry.reading import (
    HASTY,
    LIMITS,
    NAME,
    TYPE,
    Reader,
    described,
    everything,
    reading,
)
from tests.support.examples import part_of
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import (
    Delay,
    Drip,
    Drop,
    ExtraBytes,
    Fault,
    FlippedByte,
    HangUp,
    Stall,
    Status,
    WrongLength,
)
from tests.support.registry_quirks import Access
from tests.support.trap import Trap

DATA = random.Random(1).randbytes(300_000)
BLOB = described(DATA)
LARGE = random.Random(2).randbytes(17 << 20)
BLOBS = "/blobs/"


class Storage(RecordingServer):
    """Where blobs really are: it wants no Authorization, as Amazon's does, and no chunks."""

    def __init__(self, data: bytes = DATA) -> None:
        super().__init__()
        self._data = data
        self._ranges: list[str] = []

    def respond(self, exchange: Exchange) -> None:
        unwanted = {"Authorization", "Cookie", "Transfer-Encoding"} & set(exchange.headers)
        if unwanted:
            exchange.answer(400, f"not wanted: {unwanted}".encode())
            return
        start = int(exchange.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        total = len(self._data)
        headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"}
        exchange.answer(206 if start else 200, self._data[start:], headers if start else {})


def fetched(
    fault: Fault | None = None, times: int = 1, data: bytes = DATA, **quirks: object
) -> bytes:
    """Fetch one blob from a registry with a fault; what is wrong is raised."""
    with EmulatedRegistry(Quirks(**quirks)) as registry:  # type: ignore[arg-type]
        blob = registry.add_blob(NAME, data)
        if fault is not None:
            registry.fail("GET", BLOBS, fault, times=times)
        limits = HASTY if isinstance(fault, Delay | Stall) else LIMITS
        with reading(registry.host, limits=limits) as reader:
            return reader.blob(blob)


def ranges_of(registry: EmulatedRegistry) -> list[str | None]:
    return [logged.headers.get("range") for logged in registry.requests("GET", BLOBS)]


class TestWholeBlobs:
    def test_a_blob_comes_as_it_is(self) -> None:
        assert fetched() == DATA

    def test_an_empty_blob_comes(self) -> None:
        assert fetched(data=b"") == b""

    def test_a_blob_named_by_sha512_is_verified_by_it(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            blob = registry.add_blob(NAME, DATA, "sha512")
            assert reader.blob(blob) == DATA
            registry.fail("GET", BLOBS, FlippedByte(5))
            with pytest.raises(DigestMismatch):
                reader.blob(blob)

    def test_the_registry_is_asked_for_bytes_as_they_are(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            reader.blob(registry.add_blob(NAME, DATA))
            assert registry.requests("GET", BLOBS)[0].headers["accept-encoding"] == "identity"

    def test_a_large_blob_is_read_from_the_socket(self) -> None:
        assert fetched(data=LARGE) == LARGE

    def test_connections_are_used_again(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            blobs = [registry.add_blob(NAME, bytes([n]) * 1000) for n in range(10)]
            before = len(registry._workers)
            for blob in blobs:
                reader.blob(blob)
            # One asks for TLS, in vain.
            assert len(registry._workers) - before <= 2

    def test_ranges_leave_a_connection_that_is_used_again(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            blob = registry.add_blob(NAME, DATA)
            before = len(registry._workers)
            for start in range(0, 100_000, 10_000):
                part = Download(reader.session, blob, start=start, end=start + 10_000, whole=False)
                assert exactly(part, 10_000) == DATA[start : start + 10_000]
                part.close()
            assert len(registry._workers) - before <= 2


def exactly(part: Download, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += bytes(part.read(size - len(found)))
    return found


class TestWrongBlobs:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (FlippedByte(0), DigestMismatch),
            (FlippedByte(len(DATA) - 1), DigestMismatch),
            (ExtraBytes(), SizeMismatch),
            (ExtraBytes(bytes(1 << 20)), SizeMismatch),
            (WrongLength(-1), SizeMismatch),
            (WrongLength(-1000), SizeMismatch),
        ],
    )
    def test_other_bytes_are_refused(self, fault: Fault, kind: type[OcitoolError]) -> None:
        with pytest.raises(kind):
            fetched(fault, times=99)

    def test_a_blob_that_is_too_short_is_refused(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            registry.state.blobs[NAME][BLOB.digest] = DATA[:-10]
            with pytest.raises(SizeMismatch, match="ends after"):
                reader.blob(BLOB)

    def test_a_blob_that_is_absent_is_not_found(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, b"another")
            with pytest.raises(NotFound, match=r"blob sha256:.* is missing"):
                reader.blob(BLOB)

    def test_a_page_in_place_of_a_blob_is_not_taken(self) -> None:
        with pytest.raises(IntegrityError):
            fetched(html=True)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, AccessDenied), (403, AccessDenied), (404, NotFound), (400, OcitoolError)],
    )
    def test_a_refusal_is_final(self, status: int, kind: type[OcitoolError]) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            registry.fail("GET", BLOBS, Status(status=status), times=99)
            with pytest.raises(kind):
                reader.blob(BLOB)
            # Without a challenge, one may still be learnt from the API's root.
            assert len(ranges_of(registry)) == (2 if status == 401 else 1)


class TestBrokenConnections:
    @pytest.mark.parametrize(
        "fault",
        [
            Drop(after=0),
            Drop(after=1),
            Drop(after=100_000),
            Drop(after=100_000, reset=True),
            Drop(after=len(DATA) - 1),
            HangUp(),
            HangUp(reset=True),
            WrongLength(50),
            Stall(seconds=9, after=70_000),
            Status(status=503),
            Status(status=429, headers={"Retry-After": "0"}),
            Status(status=500, body=b"<html>oops</html>"),
            Delay(9),
        ],
        ids=str,
    )
    def test_a_broken_download_goes_on(self, fault: Fault) -> None:
        times = 1 if isinstance(fault, Delay | Stall) else 2
        assert fetched(fault, times=times) == DATA

    def test_it_goes_on_with_the_byte_where_it_broke(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            registry.fail("GET", BLOBS, Drop(after=100_000))
            reader.blob(BLOB)
            assert ranges_of(registry) == [None, "bytes=100000-"]
            assert sum(one.sent_bytes for one in registry.log) == len(DATA)

    def test_a_large_one_goes_on_with_the_byte_where_it_broke(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            blob = registry.add_blob(NAME, LARGE)
            registry.fail("GET", BLOBS, Drop(after=3_000_001))
            assert reader.blob(blob) == LARGE
            assert ranges_of(registry) == [None, "bytes=3000001-"]

    def test_many_breaks_are_survived_as_long_as_bytes_come(self) -> None:
        data = random.Random(3).randbytes(2_000_000)
        assert fetched(Drop(after=100_000), times=19, data=data) == data

    def test_breaks_without_progress_come_to_an_end(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            registry.fail("GET", BLOBS, Drop(after=10), times=99)
            with pytest.raises(Unavailable, match="broke off, after 5 retries") as caught:
                reader.blob(BLOB)
            assert len(ranges_of(registry)) == 6
            assert caught.value.hint is not None

    def test_a_trickle_is_taken_for_a_stall(self) -> None:
        began = time.monotonic()
        with EmulatedRegistry() as registry:
            registry.add_blob(NAME, DATA)
            registry.fail("GET", BLOBS, Drip(0.3), times=99)
            limits = replace(HASTY, retries=1)
            with (
                reading(registry.host, limits=limits) as reader,
                pytest.raises(Unavailable, match="bytes a second"),
            ):
                reader.blob(BLOB)
        assert time.monotonic() - began < 6

    def test_a_break_after_the_last_byte_does_no_harm(self) -> None:
        # The length is said to be larger, so the end of the answer never comes.
        assert fetched(WrongLength(7), times=99) == DATA

    @settings(max_examples=part_of(15), deadline=None)
    @given(st.lists(st.integers(0, len(DATA)), max_size=4))
    def test_wherever_it_breaks_the_bytes_are_right(self, cuts: list[int]) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            for cut in cuts:
                registry.fail("GET", BLOBS, Drop(after=cut))
            assert reader.blob(BLOB) == DATA
            assert sum(one.sent_bytes for one in registry.log) <= len(DATA)


class TestRanges:
    @pytest.mark.parametrize("ranges", ["ok", "ignored", "wrong_start", "long_416"])
    def test_a_broken_download_is_right_whatever_ranges_do(self, ranges: str) -> None:
        assert fetched(Drop(after=200_000), ranges=ranges) == DATA

    @pytest.mark.parametrize("ranges", ["ok", "long_416"])
    def test_a_registry_with_fewer_bytes_is_found_out(self, ranges: str) -> None:
        with EmulatedRegistry(Quirks(ranges=ranges)) as registry:  # type: ignore[arg-type]
            registry.add_blob(NAME, DATA)
            registry.state.blobs[NAME][BLOB.digest] = DATA[:1000]
            with reading(registry.host) as reader, pytest.raises(SizeMismatch):
                everything_from(reader, 2000)

    @pytest.mark.parametrize("ranges", ["ignored", "wrong_start"])
    def test_only_a_part_is_taken_where_only_a_part_will_do(self, ranges: str) -> None:
        with EmulatedRegistry(Quirks(ranges=ranges)) as registry:  # type: ignore[arg-type]
            registry.add_blob(NAME, DATA)
            with reading(registry.host) as reader:
                part = Download(reader.session, BLOB, start=1000, end=2000, whole=False)
                with pytest.raises(NoRanges):
                    part.read(10)

    @pytest.mark.parametrize(
        "text",
        ["", "bytes", "bytes 1-", "bytes 0-9/10", "bytes 999-299999/300000", "lines 1000-1/2"],
    )
    def test_a_part_that_does_not_say_which_is_not_taken(self, text: str) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            wrong = Status(status=206, headers={"Content-Range": text}, body=b"x" * 1000)
            registry.fail("GET", BLOBS, wrong)
            assert everything_from(reader, 1000) == DATA[1000:]

    def test_a_server_that_sends_only_unasked_parts_is_given_up(self) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            wrong = Status(status=206, headers={"Content-Range": "bytes 5-9/10"}, body=b"12345")
            registry.fail("GET", BLOBS, wrong, times=99)
            with pytest.raises(Unavailable, match="not send the parts that were requested"):
                reader.blob(BLOB)

    @settings(max_examples=part_of(25), deadline=None)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=0x7E), max_size=30))
    def test_no_content_range_makes_wrong_bytes_right(self, text: str) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_blob(NAME, DATA)
            wrong = Status(status=206, headers={"Content-Range": text.strip()}, body=b"x" * 299_000)
            registry.fail("GET", BLOBS, Drop(after=1000))
            registry.fail("GET", BLOBS, wrong)
            try:
                assert reader.blob(BLOB) == DATA
            except IntegrityError:
                assert text.startswith("bytes 1000-")


def everything_from(reader: Reader, position: int) -> bytes:
    download = Download(reader.session, BLOB, start=position)
    found = everything(download.read)
    if len(found) + position < BLOB.size:
        raise SizeMismatch("short")
    return found


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["gzip", "mislabelled"])
    @pytest.mark.parametrize("fault", [None, Drop(after=5000)])
    def test_bytes_are_unpacked_only_when_the_transport_packed_them(
        self, encoding: str, fault: Fault | None
    ) -> None:
        data = gzip.compress(DATA, mtime=0)
        assert fetched(fault, data=data, encoding=encoding) == data

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_layer_without_a_length_is_unpacked_as_often_as_it_was_packed(
        self, *, packed: bool
    ) -> None:
        layer = gzip.compress(DATA, mtime=0)
        body = gzip.compress(layer) if packed else layer
        with Chunked(body) as server, reading(server.host) as reader:
            assert reader.blob(described(layer, f"{TYPE}+gzip")) == layer

    def test_a_document_without_a_length_is_unpacked(self) -> None:
        with Chunked(gzip.compress(b"{}")) as server, reading(server.host) as reader:
            blob = described(b"{}", "application/vnd.oci.image.config.v1+json")
            assert reader.blob(blob) == b"{}"

    def test_what_claims_to_be_packed_and_is_not_is_given_up(self) -> None:
        fault = Status(status=200, headers={"Content-Encoding": "gzip"}, body=b"plain")
        with pytest.raises(OcitoolError):
            fetched(fault, times=99)


class Chunked(RecordingServer):
    """Sends one body, said to be gzip, in chunks."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def respond(self, exchange: Exchange) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.connection.sendall(head.encode())
        for start in range(0, len(self._body), 100_000):
            part = self._body[start : start + 100_000]
            exchange.connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        exchange.connection.sendall(b"0\r\n\r\n")


@pytest.fixture
def access() -> Access:
    return Access(scheme="basic")


class TestRedirects:
    def redirected(
        self,
        to: str,
        access: Access,
        check: Callable[[EmulatedRegistry, Reader], None],
        **more: object,
    ) -> None:
        quirks = Quirks(redirect_to=to, access=access, cookies=True, **more)  # type: ignore[arg-type]
        with EmulatedRegistry(quirks) as registry:
            registry.add_blob(NAME, DATA)
            with reading(registry.host, username="user", password="pass") as reader:
                check(registry, reader)

    def test_storage_gets_no_credential_no_cookie_and_no_chunks(self, access: Access) -> None:
        with Storage() as storage:

            def check(_: EmulatedRegistry, reader: Reader) -> None:
                assert reader.blob(BLOB) == DATA

            self.redirected(storage.url, access, check)
            assert len(storage.log) == 1
            assert storage.log[0].target.endswith("?signature=a%2Fb%3D%3D")

    def test_a_broken_download_begins_at_the_registry_again(self, access: Access) -> None:
        with Storage() as storage:
            storage.fail("GET", ".", Drop(after=1000))

            def check(registry: EmulatedRegistry, reader: Reader) -> None:
                assert reader.blob(BLOB) == DATA
                assert (
                    len([one for one in registry.requests("GET", BLOBS) if one.status == 307]) == 2
                )

            self.redirected(storage.url, access, check)
            assert storage.log[1].headers["range"] == "bytes=1000-"

    def test_a_loop_of_redirects_ends(self) -> None:
        with Trap(status=307, headers={"Location": "/again"}) as trap:
            with (
                reading(trap.host) as reader,
                pytest.raises(Unavailable, match="more than 10 times"),
            ):
                reader.blob(BLOB)
            assert len(trap.log) == 11

    def test_a_download_is_not_led_from_tls_to_plain_http(self) -> None:
        with Trap(status=307, headers={"Location": "/again"}) as trap, reading(trap.host) as reader:
            reader.registries._bases[trap.host] = trap.url
            trap._answer = (307, b"", {"Location": "ftp://127.0.0.1/x"})
            with pytest.raises(Refused, match="not an http address"):
                reader.blob(BLOB)

    @pytest.mark.parametrize(
        "location", ["http://[::bad", "http://h:99999/", "http://a b/", "http://"]
    )
    def test_a_location_that_is_no_address_is_one_message(self, location: str) -> None:
        with (
            Trap(status=307, headers={"Location": location}) as trap,
            reading(trap.host) as reader,
            pytest.raises((Refused, Unavailable)),
        ):
            reader.blob(BLOB)

    def test_a_303_is_followed_by_reading(self) -> None:
        with (
            Storage() as storage,
            Trap(303, headers={"Location": f"{storage.url}/x"}) as trap,
            reading(trap.host) as reader,
        ):
            assert reader.blob(BLOB) == DATA
