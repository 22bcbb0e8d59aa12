"""Requests to a registry: what is sent again, which host hears what, and how it ends."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocitool.errors import AccessDenied, IntegrityError, OcitoolError, Refused, Unavailable
from ocitool.places.registry import Registries, Session
from ocitool.places.registry.http import backoff
from ocitool.places.registry.http.request import Request
from ocitool.places.registry.listing import tags
from tests.places.registry.reading import HASTY, HOME, LIMITS, NAME, Reader, quick, reading
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry, Quirks, TokenQuirks
from tests.support.registry_faults import (
    Delay,
    Drip,
    Drop,
    Fault,
    HangUp,
    Stall,
    Status,
    WrongLength,
)
from tests.support.registry_quirks import Access
from tests.support.trap import Trap

LIST = "/tags/list"
USER: dict[str, Any] = {"username": "user", "password": "pass"}


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        registry.add_image(NAME, build_image(), "1")
        yield registry


def filled(**quirks: object) -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(**quirks))  # type: ignore[arg-type]
    registry.add_image(NAME, build_image(), "1")
    return registry


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        [
            HangUp(),
            HangUp(reset=True),
            HangUp(processed=True),
            Drop(after=3),
            Drop(after=3, reset=True),
            WrongLength(9),
            Delay(9),
            Stall(seconds=9, after=5),
            *(Status(status=status) for status in (408, 429, 499, 500, 502, 503, 504, 521, 524)),
        ],
        ids=str,
    )
    def test_what_may_pass_is_tried_again(self, registry: EmulatedRegistry, fault: Fault) -> None:
        times = 1 if isinstance(fault, Delay | Stall) else 2
        registry.fail("GET", LIST, fault, times=times)
        limits = HASTY if isinstance(fault, Delay | Stall) else LIMITS
        with reading(registry.host, limits=limits.with_limit("retries", 2)) as reader:
            assert tags(reader.session) == ["1"]

    @pytest.mark.parametrize(
        "fault",
        [
            HangUp(),
            HangUp(reset=True),
            Drop(after=3),
            WrongLength(9),
            Status(status=503),
            Status(status=429),
            Status(status=500, headers={"Retry-After": "0"}),
        ],
        ids=str,
    )
    def test_it_ends_after_five_more_attempts(
        self, registry: EmulatedRegistry, fault: Fault
    ) -> None:
        registry.fail("GET", LIST, fault, times=999)
        with reading(registry.host) as reader, pytest.raises(Unavailable):
            tags(reader.session)
        assert len(registry.requests("GET", LIST)) == 6

    @pytest.mark.parametrize("fault", [Delay(30), Stall(seconds=30, after=5), Drip(0.3)], ids=str)
    def test_a_server_that_takes_for_ever_is_given_up(
        self, registry: EmulatedRegistry, fault: Fault
    ) -> None:
        registry.fail("GET", LIST, fault, times=999)
        began = time.monotonic()
        with (
            reading(registry.host, limits=HASTY.with_limit("retries", 1)) as reader,
            pytest.raises(Unavailable),
        ):
            tags(reader.session)
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 416, 501])
    def test_a_refusal_is_not_tried_again(self, registry: EmulatedRegistry, status: int) -> None:
        registry.fail("GET", LIST, Status(status=status), times=999)
        with reading(registry.host) as reader, pytest.raises(OcitoolError):
            tags(reader.session)
        # Without a challenge, one may still be learnt from the API's root.
        assert len(registry.requests("GET", LIST)) == (2 if status == 401 else 1)

    @pytest.mark.parametrize("said", ["seconds", "date", "message", "none"])
    def test_too_many_requests_pass(self, said: str) -> None:
        quirks: dict[str, Any] = {"too_many": 3, "retry_after": said, "retry_seconds": 0}
        with filled(**quirks) as registry, reading(registry.host) as reader:
            assert tags(reader.session) == ["1"]

    def test_a_wait_that_is_asked_for_counts_before_a_quota(
        self, registry: EmulatedRegistry
    ) -> None:
        """GitLab's quota is for a minute, and it says when to come back."""
        headers = {"Retry-After": "0", "RateLimit-Remaining": "0", "RateLimit-Limit": "60"}
        registry.fail("GET", LIST, Status(status=429, headers=headers))
        with reading(registry.host) as reader:
            assert tags(reader.session) == ["1"]

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_wait_that_is_too_long_is_not_begun(
        self, registry: EmulatedRegistry, status: int
    ) -> None:
        busy = Status(status=status, headers={"Retry-After": "3600"})
        registry.fail("GET", LIST, busy, times=99)
        with reading(registry.host, retry_max_wait=59) as reader:
            with pytest.raises(Unavailable, match=f"answered {status}") as caught:
                tags(reader.session)
            assert "asks to come back in 3600 s" in (caught.value.hint or "")
            assert "--retry-max-wait" in (caught.value.hint or "")
        assert len(registry.requests("GET", LIST)) == 1

    def test_waits_are_told(
        self, registry: EmulatedRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backoff, "_WORTH_TELLING", 0)
        monkeypatch.setattr(backoff, "_NEWS", 0)
        registry.fail("GET", LIST, Status(status=503))
        registry.fail("GET", LIST, HangUp())
        told: list[str] = []
        with Registries(quick(), remark=told.append, environment=HOME) as registries:
            tags(Session(registries, registry.host, NAME))
        assert told == [
            f"{registry.host} answered 503: again in 0 s (try 2 of 6)",
            f"{registry.host} broke off the connection: again in 0 s (try 3 of 6)",
        ]

    def test_a_wait_that_is_asked_for_is_kept(self) -> None:
        with (
            filled(too_many=1, retry_after="message", retry_seconds=0.4) as registry,
            reading(registry.host, retry_max_wait=5) as reader,
        ):
            began = time.monotonic()
            tags(reader.session)
            assert time.monotonic() - began > 0.35

    def test_all_threads_wait_together(self) -> None:
        with filled(too_many=1, retry_after="message", retry_seconds=0.5) as registry:
            with reading(registry.host, retry_max_wait=5) as reader:
                tags(reader.session)
                times: list[float] = []
                registry.fail("GET", LIST, Status(status=429, headers={"Retry-After": "1"}))
                began = time.monotonic()
                threads = [
                    threading.Thread(target=self._ask, args=(reader, times)) for _ in range(8)
                ]
                for thread in threads:
                    thread.start()
                    time.sleep(0.02)
                for thread in threads:
                    thread.join()
            # The first is refused; whoever comes after it does not even ask.
            assert len([one for one in times if one - began > 0.8]) >= 6

    @staticmethod
    def _ask(reader: Reader, times: list[float]) -> None:
        tags(reader.session)
        times.append(time.monotonic())


class TestTokens:
    def test_a_token_that_ends_between_two_requests_is_renewed(self) -> None:
        access = Access(scheme="bearer")
        with EmulatedRegistry(Quirks(access=access), tokens=TokenQuirks(lifetime=1)) as registry:
            registry.add_image(NAME, build_image(), "1")
            with reading(registry.host, **USER) as reader:
                session = reader.session
                for _ in range(3):
                    assert tags(session) == ["1"]
                    time.sleep(0.6)

    def test_a_401_in_the_middle_of_a_download_costs_one_more_token(self) -> None:
        data = bytes(500_000)
        with EmulatedRegistry(Quirks(access=Access(scheme="bearer"))) as registry:
            blob = registry.add_blob(NAME, data)
            with reading(registry.host, **USER) as reader:
                repository = reader.repository
                tags(repository.session)
                registry.fail("GET", "/blobs/", Drop(after=200_000))
                registry.fail("GET", "/blobs/", Status(status=401))
                with repository.open(blob) as stream:
                    assert stream.read_all(len(data)) == data
            answers = registry.requests("GET", "/blobs/")
            assert sum(one.sent_bytes for one in answers if one.status != 401) == len(data)
            assert len(registry.requests(None, "/token")) == 2

    def test_a_refused_credential_is_named_at_once(self) -> None:
        access = Access(scheme="basic")
        with filled(access=access) as registry:
            with (
                reading(registry.host, username="user", password="canary-wrong") as reader,
                pytest.raises(AccessDenied) as caught,
            ):
                tags(reader.session)
            assert "canary" not in f"{caught.value.message}{caught.value.hint}"
            assert len(registry.requests("GET", LIST)) <= 2

    @pytest.mark.parametrize("fallback", [True, False])
    def test_reads_continue_anonymously_unless_that_is_switched_off(self, fallback: bool) -> None:
        tokens = TokenQuirks(anonymous=frozenset({"pull"}))
        with EmulatedRegistry(Quirks(access=Access(scheme="bearer")), tokens=tokens) as registry:
            registry.add_image(NAME, build_image(), "1")
            stale: dict[str, Any] = {"username": "user", "password": "expired"}
            refused = contextlib.nullcontext() if fallback else pytest.raises(AccessDenied)
            with reading(registry.host, anonymous_fallback=fallback, **stale) as reader, refused:
                assert tags(reader.session) == ["1"]


class TestAnswers:
    def test_a_warning_is_heard_once(self) -> None:
        with filled(warning="Your licence ends") as registry, reading(registry.host) as reader:
            for _ in range(3):
                tags(reader.session)
            said = [text for text in reader.warnings if "Your licence ends" in text]
            assert said == [f"{registry.host} says: Your licence ends"]

    @pytest.mark.parametrize("value", ["", "299", "299 -", '110 - "stale"', '299 - ""', "hello"])
    def test_other_warnings_are_not(self, value: str) -> None:
        with (
            Trap(200, b'{"tags": []}', {"Warning": value}) as trap,
            reading(trap.host) as reader,
        ):
            tags(reader.session)
            assert reader.warnings == []

    def test_cookies_are_not_kept(self) -> None:
        with filled(cookies=True) as registry, reading(registry.host) as reader:
            for _ in range(3):
                tags(reader.session)
            assert all("cookie" not in one.headers for one in registry.log)

    def test_http_1_1_is_spoken_over_few_connections(self, registry: EmulatedRegistry) -> None:
        before = len(registry._workers)
        with reading(registry.host) as reader:
            for _ in range(20):
                tags(reader.session)
        assert len(registry._workers) - before <= 2

    def test_a_ping_that_brings_a_page_is_no_registry(self) -> None:
        with (
            filled(html=True) as registry,
            reading(registry.host) as reader,
            pytest.raises(IntegrityError, match="web page"),
        ):
            reader.session.ping()

    def test_an_upload_that_is_to_become_a_download_is_refused(self) -> None:
        with Trap(303, headers={"Location": "/x"}) as trap, reading(trap.host) as reader:
            session = reader.session
            with pytest.raises(Refused, match="303"):
                session.answer(Request("POST", session.url("blobs/uploads/")))

    @pytest.mark.parametrize("location", ["http://[::1", "http://a:b:c/", "http://x:99999999/"])
    def test_a_location_that_is_no_address_is_refused_at_once(self, location: str) -> None:
        with Trap(307, headers={"Location": location}) as trap, reading(trap.host) as reader:
            session = reader.session
            with pytest.raises(Refused, match="not an address"):
                session.answer(Request("GET", session.url("x")))
            assert len(trap.log) == 1

    def test_who_refuses_after_a_redirect_is_named(self) -> None:
        with (
            Trap(403) as trap,
            Trap(307, headers={"Location": f"{trap.url}/x"}) as leading,
            reading(leading.host) as reader,
            pytest.raises(AccessDenied) as caught,
        ):
            tags(reader.session)
        assert f"{leading.host} sent us on, and GET {trap.host} answered 403" in str(caught.value)
        assert "login" not in (caught.value.hint or "")

    def test_a_host_that_we_were_sent_to_and_that_is_not_there_is_named(self) -> None:
        with (
            Trap(307, headers={"Location": "http://127.0.0.1:1/x"}) as leading,
            reading(leading.host) as reader,
            pytest.raises(Unavailable) as caught,
        ):
            tags(reader.session)
        assert "127.0.0.1:1" in str(caught.value)

    def test_a_redirected_upload_keeps_its_method_and_body(self) -> None:
        with Trap(201) as trap, Trap(307, headers={"Location": f"{trap.url}/x"}) as leading:
            with reading(leading.host) as reader:
                session = reader.session
                session.answer(Request("PUT", session.url("blobs/x"), body=b"body"))
            assert [one.method for one in trap.log] == ["PUT"]
            assert trap.log[0].headers["content-length"] == "4"
            assert "transfer-encoding" not in trap.log[0].headers
            assert trap.saw("body")


class TestTheEnd:
    def test_an_abort_ends_what_waits(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", LIST, Delay(20), times=99)
        with reading(registry.host, limits=LIMITS.with_limit("commit_seconds", 20)) as reader:
            assert seconds_to_end(reader, lambda: tags(reader.session)) < 1

    def test_an_abort_ends_a_stalled_download(self, registry: EmulatedRegistry) -> None:
        blob = registry.add_blob(NAME, bytes(17 << 20))
        registry.fail("GET", "/blobs/", Stall(seconds=20, after=3_000_000), times=99)
        with reading(registry.host, limits=LIMITS.with_limit("stall_seconds", 20)) as reader:
            assert seconds_to_end(reader, lambda: reader.blob(blob)) < 1

    def test_an_abort_ends_who_waits_for_a_connection(self) -> None:
        limits = LIMITS.with_limit("connect_seconds", 20)
        with crowded() as host, reading(host, limits=limits, plain_http=True) as reader:
            assert seconds_to_end(reader, lambda: tags(reader.session)) < 1

    def test_an_abort_ends_a_handshake(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            limits = LIMITS.with_limit("connect_seconds", 20)
            with reading(host, limits=limits) as reader:
                reader.registries._bases[host] = f"https://{host}"
                assert seconds_to_end(reader, lambda: tags(reader.session)) < 1

    def test_an_abort_ends_who_is_patient(self, registry: EmulatedRegistry) -> None:
        registry.fail("GET", LIST, Status(status=503, headers={"Retry-After": "30"}), times=99)
        with reading(registry.host, retry_max_wait=30) as reader:
            assert seconds_to_end(reader, lambda: tags(reader.session)) < 1

    def test_a_farewell_is_sent_after_an_abort(self, registry: EmulatedRegistry) -> None:
        with reading(registry.host) as reader:
            tags(reader.session)
            reader.registries.abort()
            session = reader.session
            session.farewell(Request("DELETE", session.url("blobs/uploads/1")))
            assert [one.method for one in registry.log].count("DELETE") == 1
            with pytest.raises(OcitoolError):
                tags(session)

    def test_a_farewell_without_an_answer_is_short_and_silent(
        self, registry: EmulatedRegistry
    ) -> None:
        registry.fail("DELETE", ".", Delay(30), times=99)
        with reading(registry.host) as reader:
            session = reader.session
            began = time.monotonic()
            session.farewell(Request("DELETE", session.url("blobs/uploads/1")))
            session.farewell(Request("DELETE", "http://[::bad/"))
            assert time.monotonic() - began < 4

    def test_after_an_abort_one_can_begin_anew(self, registry: EmulatedRegistry) -> None:
        with reading(registry.host) as reader:
            reader.registries.abort()
            reader.registries.resume()
            assert tags(reader.session) == ["1"]

    def test_an_unknown_host_is_named_at_once(self) -> None:
        began = time.monotonic()
        with (
            reading("no-such-host.invalid", retry_max_wait=9) as reader,
            pytest.raises(Unavailable, match="cannot be reached") as caught,
        ):
            tags(reader.session)
        assert time.monotonic() - began < 3
        assert caught.value.hint is not None

    def test_who_listens_nowhere_is_not_waited_for(self) -> None:
        began = time.monotonic()
        with reading("127.0.0.1:1", retry_max_wait=9) as reader, pytest.raises(Unavailable):
            tags(reader.session)
        assert time.monotonic() - began < 0.7

    def test_who_has_answered_before_is_waited_for(self) -> None:
        with filled() as first, reading(first.host, retry_max_wait=0.4) as reader:
            tags(reader.session)
            address = ("127.0.0.1", first.server_port)
            first.__exit__(None, None, None)
            again = threading.Timer(0.5, _answer_once, [address])
            again.start()
            assert tags(reader.session) == ["later"]
            again.join()

    @pytest.mark.parametrize("host", ["a..example", f"{'a' * 64}.example"])
    def test_what_can_be_no_host_is_an_error_like_any_other(self, host: str) -> None:
        with reading(host) as reader, pytest.raises(OcitoolError):
            tags(reader.session)


@contextlib.contextmanager
def crowded() -> Iterator[str]:
    """Give a host where so many wait to be accepted that the kernel lets nobody else in."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _answer_once(address: tuple[str, int]) -> None:
    """Listen where a server was before, and give one list of tags."""
    body = b'{"tags": ["later"]}'
    with socket.create_server(address) as server:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def seconds_to_end(reader: Reader, work: Callable[[], object]) -> float:
    """Return how long work in another thread goes on after an abort; it must fail as it should."""
    failed: list[OcitoolError] = []

    def run() -> None:
        try:
            work()
        except OcitoolError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    began = time.monotonic()
    reader.registries.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert len(failed) == 1
    return time.monotonic() - began


def test_a_registry_is_asked_once_whether_it_speaks_tls() -> None:
    with filled() as registry, Registries(quick(), environment=HOME) as registries:
        before = len(registry._workers)
        for _ in range(5):
            tags(Session(registries, registry.host, NAME))
        assert len(registry._workers) - before == 2
