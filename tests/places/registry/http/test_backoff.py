"""When a request is sent again, and how long everybody waits before that."""

import socket
import ssl
import threading
import time
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.places.registry import RegistryOptions
from ocitool.places.registry.http.backoff import HostBackoff, wanted_wait
from ocitool.places.registry.http.retrying import (
    RETRIED_STATUS,
    is_about_tls,
    is_retried_error,
)

NOW = 1_700_000_000.0


def wait_for(value: str | None, body: str = "") -> float | None:
    lines = [] if value is None else [(b"Retry-After", value.encode("latin-1"))]
    return wanted_wait(httpx.Headers(lines), body, NOW)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "body", "seconds"),
        [
            ("7", "", 7.0),
            ("0", "", 0.0),
            (formatdate(NOW + 30, usegmt=True), "", 30.0),
            (formatdate(NOW - 30, usegmt=True), "", 0.0),
            ("Tue, 14 Nov 2023 22:13:50 -0000", "", 30.0),
            (None, "retry-after: 880.092µs, allowed: 44000/minute", 880.092e-6),
            (None, "Retry-After: 1m2.5s", 62.5),
            (None, "retry-after: 1.2.3s", None),
            (None, "", None),
            ("soon", "", None),
            ("²", "", None),
            ("soon", "retry-after: 2s", 2.0),
        ],
    )
    def test_a_number_a_date_and_a_go_duration_are_understood(
        self, value: str | None, body: str, seconds: float | None
    ) -> None:
        assert wait_for(value, body) == (None if seconds is None else pytest.approx(seconds))

    @given(
        st.text(st.characters(max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=40)
        | st.datetimes().map(lambda when: when.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        st.text(max_size=40).map(lambda text: f"retry-after: {text}"),
    )
    def test_any_text_is_a_time_to_wait_or_none(self, value: str, body: str) -> None:
        found = wait_for(value, body)
        assert found is None or found >= 0


def chained(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "again"),
        [
            (httpx.ConnectError("refused"), True),
            (httpx.ReadError("reset"), True),
            (httpx.WriteError("broken pipe"), True),
            (httpx.ReadTimeout("slow"), True),
            (httpx.RemoteProtocolError("cut"), True),
            (chained(httpx.ConnectError("eof"), ssl.SSLEOFError(8, "EOF")), True),
            (chained(httpx.ConnectError("x"), socket.gaierror(socket.EAI_AGAIN, "again")), True),
            (chained(httpx.ConnectError("x"), socket.gaierror(socket.EAI_NONAME, "no")), False),
            (chained(httpx.ConnectError("bad"), ssl.SSLCertVerificationError(1, "bad")), False),
            (httpx.LocalProtocolError("ours"), False),
            (httpx.ProxyError("407"), False),
            (httpx.UnsupportedProtocol("x"), False),
        ],
    )
    def test_only_what_may_pass_is_tried_again(self, error: Exception, *, again: bool) -> None:
        assert is_retried_error(error) is again

    def test_a_cut_handshake_is_not_about_certificates(self) -> None:
        assert not is_about_tls(chained(httpx.ConnectError("eof"), ssl.SSLEOFError(8, "EOF")))

    @pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 520, 530])
    def test_a_busy_or_broken_server_is_asked_again(self, status: int) -> None:
        assert status in RETRIED_STATUS

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 416, 501, 507])
    def test_a_refusal_is_final(self, status: int) -> None:
        assert status not in RETRIED_STATUS


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.stopped = False

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.now += seconds
        return self.stopped


def backoff(clock: Clock, longest: float = 60.0) -> HostBackoff:
    return HostBackoff(RegistryOptions(retry_max_wait=longest), clock.sleep, clock)


class TestHostBackoff:
    def test_a_host_is_left_alone_for_as_long_as_it_wants(self) -> None:
        clock = Clock()
        gate = backoff(clock)
        assert gate.back_off(0, 7.0, throttled=True) == 7.0
        gate.enter()
        assert clock.slept == [7.0]

    def test_no_wait_is_longer_than_allowed(self) -> None:
        clock = Clock()
        gate = backoff(clock, longest=3.0)
        gate.back_off(0, 900.0, throttled=True)
        gate.enter()
        assert clock.now == 3.0

    def test_a_wait_of_nothing_is_still_a_short_one(self) -> None:
        assert backoff(Clock()).back_off(0, 0.0, throttled=True) > 0

    def test_the_wait_doubles_and_spreads(self) -> None:
        gate = backoff(Clock(), longest=1e9)
        for attempt in range(6):
            waits = {gate.back_off(attempt, None, throttled=False) for _ in range(20)}
            assert len(waits) > 1
            assert all(0.75 <= wait / 2**attempt <= 1.25 for wait in waits)

    def test_all_threads_wait_for_one_failure(self) -> None:
        clock = Clock()
        gate = backoff(clock)
        gate.back_off(0, 5.0, throttled=False)
        gate.enter()
        gate.enter()
        assert clock.slept == [5.0]

    def test_a_longer_wait_is_told_once(self) -> None:
        told: list[str] = []
        clock = Clock()
        gate = HostBackoff(RegistryOptions(), clock.sleep, clock, tell=told.append)
        gate.back_off(0, 2.0, throttled=False, why="answered 503", tries="try 2 of 6")
        for _ in range(3):
            gate.back_off(0, 8.0, throttled=True, why="answered 429", tries="try 2 of 6")
        assert told == ["answered 429: again in 8 s (try 2 of 6)"]

    def test_a_shorter_wait_does_not_end_a_longer_one(self) -> None:
        clock = Clock()
        gate = backoff(clock)
        gate.back_off(0, 9.0, throttled=False)
        gate.back_off(0, 1.0, throttled=False)
        gate.enter()
        assert clock.now == 9.0

    def test_a_stop_lets_everybody_through(self) -> None:
        clock = Clock()
        clock.stopped = True
        gate = backoff(clock)
        gate.back_off(0, 50.0, throttled=True)
        gate.enter()
        gate.leave()
        assert len(clock.slept) == 1

    def test_too_many_requests_halve_how_many_go_at_once(self) -> None:
        gate = backoff(Clock())
        for _ in range(8):
            gate.enter()
        gate.leave()
        gate.back_off(0, 0.0, throttled=True)
        for _ in range(7):
            gate.leave()
        assert room(gate) == 4

    def test_one_request_at_a_time_may_always_go(self) -> None:
        gate = backoff(Clock())
        for _ in range(10):
            gate.back_off(0, 0.0, throttled=True)
        assert room(gate) == 1

    def test_success_lets_more_go_again(self) -> None:
        gate = backoff(Clock())
        gate.back_off(0, 0.0, throttled=True)
        gate.note_success()
        gate.note_success()
        assert room(gate) == 3

    def test_other_failures_leave_as_many_go_as_before(self) -> None:
        gate = backoff(Clock())
        gate.back_off(0, 0.0, throttled=False)
        assert room(gate) == 10


def room(gate: HostBackoff) -> int:
    """Return how many of ten requests may be under way at once."""
    through: list[int] = []
    ending = threading.Event()

    def request() -> None:
        gate.enter()
        through.append(1)
        ending.wait(5)
        gate.leave()

    threads = [threading.Thread(target=request, daemon=True) for _ in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    found = len(through)
    ending.set()
    for thread in threads:
        thread.join(5)
    assert len(through) == 10
    return found
