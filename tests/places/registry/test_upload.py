"""Blobs into a registry whole: sessions, failures on the way, and what is asked after them."""

import os
import random
import threading
import time
from pathlib import Path

import httpx
import pytest

from ocitool.errors import (
    AccessDenied,
    DigestMismatch,
    IntegrityError,
    NotFound,
    Refused,
    StorageError,
    Unavailable,
)
from ocitool.image.content import Blob
from ocitool.oci import DEFAULT_LIMITS, Digest
from tests.places.registry.pushes import (
    NAME,
    QUICK,
    UPLOADS,
    Bytes,
    described,
    held,
    last,
    later,
    methods,
    pushing,
    received,
)
from tests.support.certificates import Authority
from tests.support.docker_registry import running_registry
from tests.support.fault_proxy import FaultProxy, TcpFault
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer
from tests.support.registry import Access, EmulatedRegistry, Quirks, TokenQuirks
from tests.support.registry_faults import Delay, Drop, EarlyStatus, HangUp, Status
from tests.support.registry_state import Session

DATA = random.Random(1).randbytes(3_000_000)
PATTERN = "/blobs/uploads/."


class TestSession:
    def test_a_blob_goes_in_one_post_without_body_and_one_put(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert methods(registry) == ["POST", "PUT"]
            assert last(registry, "POST").received_bytes == 0
            assert last(registry, "PUT").headers["content-length"] == str(len(DATA))
            assert "transfer-encoding" not in last(registry, "PUT").headers

    @pytest.mark.parametrize("location", ["absolute", "relative", "no_port"])
    def test_a_location_of_any_form_is_found(self, location: str) -> None:
        with (
            EmulatedRegistry(Quirks(location=location)) as registry,  # type: ignore[arg-type]
            pushing(registry.host) as pusher,
        ):
            assert held(registry, pusher.put(DATA))

    def test_the_state_in_a_location_comes_back_byte_by_byte(self) -> None:
        with (
            EmulatedRegistry(Quirks(location="odd_query")) as registry,
            pushing(registry.host) as pusher,
        ):
            blob = pusher.put(b"some bytes")
            query = last(registry, "PUT").target.partition("?")[2]
            digest = str(blob.descriptor.digest).replace(":", "%3A")
            assert query == f"_state=a%2Fb%3D%3D&x=1&digest={digest}"

    def test_a_registry_that_thinks_it_speaks_http_behind_tls_is_put_right(
        self, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path)
        with (
            EmulatedRegistry(Quirks(location="plain_http"), authority.server().serve()) as registry,
            pushing(registry.host, ca_cert=str(authority.certificate)) as pusher,
        ):
            assert held(registry, pusher.put(DATA))

    def test_another_host_takes_the_bytes_and_sees_no_credential(self) -> None:
        access = Access(scheme="basic")
        with (
            EmulatedRegistry(Quirks(location="other_host", access=access)) as registry,
            pushing(registry.host, username="user", password="pass") as pusher,
        ):
            assert held(registry, pusher.put(DATA))
            assert last(registry, "PUT").host == registry.second_host
            assert "authorization" not in last(registry, "PUT").headers

    def test_an_empty_blob_is_a_put_of_no_bytes(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            assert held(registry, pusher.put(b""))
            assert last(registry, "PUT").headers["content-length"] == "0"

    def test_a_session_without_an_address_is_a_failure_with_a_hint(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("POST", UPLOADS, Status(status=202))
            error = pusher.refusal(DATA)
            assert isinstance(error, Unavailable)
            assert "did not say where" in error.message
            assert error.hint is not None

    def test_a_session_on_this_machine_is_refused_to_a_registry_elsewhere(self) -> None:
        # What is asked of locations.check; the address alone decides.
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail(
                "POST", UPLOADS, Status(status=202, headers={"Location": "file:///etc/passwd"})
            )
            assert isinstance(pusher.refusal(DATA), Refused)

    def test_sha512_goes_the_same_way(self) -> None:
        descriptor = described(DATA)
        blob = Bytes(
            DATA,
            type(descriptor)(
                media_type=descriptor.media_type,
                digest=Digest.of(DATA, "sha512"),
                size=len(DATA),
            ),
        )
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            pusher.put(blob)
            assert held(registry, blob)


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirected_put_stays_a_put_with_all_its_bytes(self, status: int) -> None:
        with EmulatedRegistry() as registry, _Redirecting(registry, status) as front:
            with pushing(front.host) as pusher:
                blob = pusher.put(DATA)
            assert held(registry, blob)
            assert methods(registry) == ["POST", "PUT"]
            assert last(registry, "PUT").headers["content-length"] == str(len(DATA))
            assert "transfer-encoding" not in last(registry, "PUT").headers

    def test_a_303_must_not_turn_an_upload_into_a_download(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            elsewhere = {"Location": f"{registry.url}/v2/"}
            registry.fail("PUT", PATTERN, Status(status=303, headers=elsewhere))
            error = pusher.refusal(DATA)
            assert isinstance(error, Refused)
            assert "303" in error.message


class _Redirecting(RecordingServer):
    """Sends every request on to a registry."""

    def __init__(self, registry: EmulatedRegistry, status: int) -> None:
        super().__init__()
        self._registry = registry
        self._status = status

    def respond(self, exchange: Exchange) -> None:
        location = f"{self._registry.url}{exchange.target}"
        exchange.answer(self._status, headers={"Location": location})


class TestAnswers:
    @pytest.mark.parametrize("status", [201, 204])
    def test_created_and_no_content_need_no_second_question(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=status))
            pusher.put(DATA)
            assert methods(registry) == ["POST", "PUT"]

    @pytest.mark.parametrize("status", [200, 202])
    def test_any_other_success_is_believed_once_the_blob_is_seen(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=status))
            assert held(registry, pusher.put(DATA))
            assert methods(registry)[:3] == ["POST", "PUT", "HEAD"]

    def test_a_success_that_is_none_is_told_with_its_status(self) -> None:
        blob = Bytes(DATA)
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=202), times=9)
            error = pusher.refusal(blob)
            assert error.message == (
                f"{registry.host}/{NAME} answered 202 for blob {blob.descriptor.digest.short}, "
                "but does not have it"
            )
            assert error.hint is not None

    def test_a_web_page_is_no_success(self) -> None:
        page = Status(status=200, headers={"Content-Type": "text/html"}, body=b"<html>Hi</html>")
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, page)
            error = pusher.refusal(DATA)
            assert isinstance(error, IntegrityError)
            assert "Hi" in error.message
            assert error.hint is not None

    @pytest.mark.parametrize("status", [400, 403, 405])
    def test_what_the_registry_will_not_take_is_sent_once(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=status), times=9)
            pusher.refusal(DATA)
            assert methods(registry) == ["POST", "PUT", "HEAD", "DELETE"]

    @pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 522])
    def test_what_may_pass_is_tried_in_a_new_session(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=status))
            assert held(registry, pusher.put(DATA))
            assert methods(registry) == ["POST", "PUT", "HEAD", "POST", "PUT"]

    def test_four_sessions_are_all_that_is_tried(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=500), times=99)
            assert isinstance(pusher.refusal(DATA), Unavailable)
            assert len(registry.requests("PUT")) == 4
            assert methods(registry)[-2:] == ["HEAD", "DELETE"]

    def test_a_wait_that_is_asked_for_in_answer_to_a_body_is_kept(self) -> None:
        with (
            EmulatedRegistry() as registry,
            pushing(registry.host, retry_max_wait=5.0) as pusher,
        ):
            busy = Status(status=429, headers={"Retry-After": "1"})
            registry.fail("PUT", PATTERN, busy)
            began = time.monotonic()
            pusher.put(DATA)
            assert 1.0 <= time.monotonic() - began < 3.0

    def test_a_wait_that_is_too_long_is_not_begun(self) -> None:
        busy = Status(status=503, headers={"Retry-After": "3600"})
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, busy, times=9)
            assert "come back in 3600 s" in (pusher.refusal(DATA).hint or "")
            assert len(registry.requests("PUT")) == 1

    @pytest.mark.parametrize(
        "full", [Status(status=507), Status(status=403, body=b"over the quota")], ids=str
    )
    def test_where_there_is_no_room_nothing_is_sent_again(self, full: Status) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, full, times=9)
            assert isinstance(pusher.refusal(DATA), StorageError)
            assert len(registry.requests("PUT")) == 1

    @pytest.mark.parametrize("status", [400, 403, 405, 409])
    def test_a_refused_blob_that_is_there_was_taken(self, status: int) -> None:
        """Nexus answers 400 to the end of an upload that it has stored."""
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=status), times=9)
            registry.add_blob(NAME, DATA)
            pusher.put(DATA)
            assert methods(registry) == ["POST", "PUT", "HEAD"]

    def test_an_early_refusal_is_read_though_the_body_is_not_wanted(self) -> None:
        blob = Bytes(bytes(30_000_000))
        denied = EarlyStatus(
            status=403, after=100_000, body=b'{"errors":[{"code":"DENIED","message":"quota"}]}'
        )
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, denied)
            error = pusher.refusal(blob)
            assert "DENIED: quota" in error.message

    def test_an_answer_that_a_reset_may_have_eaten_is_asked_for_again(self) -> None:
        refused = EarlyStatus(status=500, after=100_000, reset=True)
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, refused, times=2)
            assert held(registry, pusher.put(bytes(8_000_000)))


class TestLostAnswer:
    @pytest.mark.parametrize("forgets", ["404", "drop"])
    def test_a_commit_that_is_denied_was_a_success_when_the_blob_is_there(
        self, forgets: str
    ) -> None:
        with (
            EmulatedRegistry(Quirks(commit_forgets=forgets)) as registry,  # type: ignore[arg-type]
            pushing(registry.host) as pusher,
        ):
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert received(registry) == len(DATA)
            assert blob.opened == 1

    def test_the_last_of_all_attempts_may_have_been_a_success_too(self) -> None:
        quirks = Quirks(commit_forgets="404")
        with EmulatedRegistry(quirks) as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Status(status=500), times=3)
            assert held(registry, pusher.put(DATA))

    def test_a_commit_may_take_longer_than_a_connection_may(self) -> None:
        limits = QUICK.with_limit("connect_seconds", 1).with_limit("stall_seconds", 1)
        with (
            EmulatedRegistry(Quirks(commit_seconds=1.5)) as registry,
            pushing(registry.host, limits=limits) as pusher,
        ):
            assert held(registry, pusher.put(DATA))
            assert methods(registry) == ["POST", "PUT"]

    @pytest.mark.soak
    def test_a_commit_of_six_seconds_is_waited_for_by_default(self) -> None:
        with (
            EmulatedRegistry(Quirks(commit_seconds=6.0)) as registry,
            pushing(registry.host, limits=DEFAULT_LIMITS) as pusher,
        ):
            pusher.put(DATA)
            assert methods(registry) == ["POST", "PUT"]

    def test_a_registry_that_never_answers_costs_no_more_than_the_limit(self) -> None:
        limits = QUICK.with_limit("commit_seconds", 1).with_limit("retries", 0)
        with EmulatedRegistry() as registry, pushing(registry.host, limits=limits) as pusher:
            registry.fail("PUT", PATTERN, Delay(60), times=9)
            registry.fail("HEAD", ".", Delay(60), times=9)
            began = time.monotonic()
            error = pusher.refusal(DATA)
            assert isinstance(error, Unavailable)
            assert time.monotonic() - began < 4


class TestBrokenConnection:
    @pytest.mark.parametrize(
        "fault",
        [
            HangUp(),
            HangUp(reset=True),
            Drop(after=0, of="received"),
            Drop(after=1_000_000, of="received"),
            Drop(after=1_000_000, of="received", reset=True),
        ],
        ids=str,
    )
    def test_everything_begins_anew_in_a_new_session(self, fault: HangUp | Drop) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, fault)
            assert held(registry, pusher.put(DATA))
            assert methods(registry) == ["POST", "PUT", "HEAD", "POST", "PUT"]
            sessions = {logged.target.partition("?")[0] for logged in registry.requests("PUT")}
            assert len(sessions) == 2

    def test_a_blob_that_came_whole_is_not_sent_again_when_the_answer_was_lost(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, HangUp(processed=True))
            pusher.put(DATA)
            assert received(registry) == len(DATA)

    def test_a_post_that_broke_is_repeated(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("POST", UPLOADS, HangUp(), times=2)
            assert held(registry, pusher.put(DATA))

    @pytest.mark.parametrize("seed", range(6))
    def test_a_push_survives_cuts_at_any_byte(self, seed: int) -> None:
        _push_with_cuts(seed)

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(6, 220))
    def test_a_push_survives_many_cuts_at_any_byte(self, seed: int) -> None:
        _push_with_cuts(seed)


def _push_with_cuts(seed: int) -> None:
    """Push three blobs through connections of which every second one is cut."""
    choice = random.Random(seed)
    blobs = [Bytes(choice.randbytes(choice.randrange(1, 700_000))) for _ in range(3)]
    faults = [
        TcpFault(
            action=choice.choice(("close", "reset")),
            direction=choice.choice(("up", "down")),
            after=int(10 ** choice.uniform(0, 5.8)),
        )
        for _ in range(3)
    ]
    with (
        EmulatedRegistry() as registry,
        FaultProxy(registry.host, *faults) as proxy,
        pushing(proxy.host) as pusher,
    ):
        for blob in blobs:
            if not pusher.uploads.has(blob.descriptor):
                pusher.put(blob)
        assert all(held(registry, blob) for blob in blobs)
        assert len(registry.blobs[NAME]) == len(blobs)
        whole = [blob for blob in blobs for _ in _whole_uploads(registry, blob)]
        assert len(whole) == len(blobs)


def _whole_uploads(registry: EmulatedRegistry, blob: Bytes) -> list[str]:
    """Return the uploads of a blob that came with all its bytes: a second one would be waste."""
    digest = str(blob.descriptor.digest).replace(":", "%3A")
    return [
        logged.target
        for logged in registry.requests("PUT", digest)
        if logged.received_bytes == len(blob.data)
    ]


class TestExistence:
    def test_a_blob_of_the_right_size_is_there(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            descriptor = registry.add_blob(NAME, DATA)
            assert pusher.uploads.has(descriptor)

    def test_an_absent_blob_is_not_there(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            assert not pusher.uploads.has(described(DATA))

    def test_another_size_is_warned_of_and_counts_as_absent(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            found = registry.add_blob(NAME, DATA)
            wrong = type(found)(media_type=found.media_type, digest=found.digest, size=7)
            assert not pusher.uploads.has(wrong)
            assert "3000000 bytes instead of 7" in pusher.warnings[0]

    @pytest.mark.parametrize("status", [401, 403])
    def test_who_may_not_look_hears_it_before_anything_is_sent(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("HEAD", "/blobs/", Status(status=status), times=9)
            with pytest.raises(AccessDenied, match=f"answered {status}"):
                pusher.uploads.has(described(DATA))

    @pytest.mark.parametrize("status", [400, 405, 410])
    def test_an_answer_that_could_mean_anything_counts_as_absent(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            descriptor = registry.add_blob(NAME, DATA)
            registry.fail("HEAD", "/blobs/", Status(status=status))
            assert not pusher.uploads.has(descriptor)

    def test_a_web_page_does_not_mean_that_a_blob_is_there(self) -> None:
        with (
            EmulatedRegistry(Quirks(html=True)) as registry,
            pushing(registry.host) as pusher,
            pytest.raises(IntegrityError, match="web page"),
        ):
            pusher.uploads.has(described(DATA))

    @pytest.mark.parametrize("status", [400, 403, 405])
    def test_storage_that_signs_for_get_alone_is_asked_for_one_byte(self, status: int) -> None:
        with _Storage(status) as storage:
            quirks = Quirks(redirect_to=storage.url, access=Access(scheme="basic"))
            with (
                EmulatedRegistry(quirks) as registry,
                pushing(registry.host, username="user", password="pass") as pusher,
            ):
                assert pusher.uploads.has(registry.add_blob(NAME, DATA))
            assert [logged.method for logged in storage.log] == ["HEAD", "GET"]
            assert storage.log[1].headers["range"] == "bytes=0-0"
            assert all("authorization" not in logged.headers for logged in storage.log)

    def test_storage_that_lacks_the_blob_counts_as_absent(self) -> None:
        with (
            _Storage(404) as storage,
            EmulatedRegistry(Quirks(redirect_to=storage.url)) as registry,
            pushing(registry.host) as pusher,
        ):
            assert not pusher.uploads.has(registry.add_blob(NAME, DATA))


class _Storage(RecordingServer):
    """Answers GET with a byte, and HEAD with a status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def respond(self, exchange: Exchange) -> None:
        if exchange.method == "HEAD":
            exchange.answer(self._status)
        else:
            exchange.answer(206, DATA[:1], {"Content-Range": f"bytes 0-0/{len(DATA)}"})


class TestMount:
    def test_a_blob_of_another_repository_is_mounted(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            descriptor = registry.add_blob("other", DATA)
            assert pusher.uploads.mount(descriptor, "other") == (True, None)
            assert descriptor.digest in registry.blobs[NAME]
            assert received(registry) == 0

    def test_the_session_that_a_failed_mount_opens_is_used(self) -> None:
        with (
            EmulatedRegistry(Quirks(mount_status=202)) as registry,
            pushing(registry.host) as pusher,
        ):
            blob = Bytes(DATA)
            registry.add_blob("other", DATA)
            mounted, opened = pusher.uploads.mount(blob.descriptor, "other")
            pusher.uploads.put(blob.descriptor, blob, opened)
            assert not mounted
            assert held(registry, blob)
            assert methods(registry) == ["POST", "PUT"]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 503])
    def test_a_mount_that_is_refused_fails_nothing(self, status: int) -> None:
        with (
            EmulatedRegistry(Quirks(mount_status=status)) as registry,
            pushing(registry.host) as pusher,
        ):
            assert pusher.uploads.mount(described(DATA), "other") == (False, None)
            # Without a challenge, /v2/ is asked for one and the request repeated.
            assert len(registry.requests("POST")) == (2 if status == 401 else 1)
            assert held(registry, pusher.put(DATA))

    def test_a_mount_whose_connection_breaks_fails_nothing(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("POST", "mount=", HangUp())
            assert pusher.uploads.mount(described(DATA), "other") == (False, None)

    def test_a_token_for_both_repositories_is_there_before_the_mount(self) -> None:
        access = Access(scheme="bearer")
        with (
            EmulatedRegistry(Quirks(access=access)) as registry,
            pushing(registry.host, username="user", password="pass") as pusher,
        ):
            descriptor = registry.add_blob("other", DATA)
            pusher.session.ping()
            assert pusher.uploads.mount(descriptor, "other") == (True, None)
            scopes = last(registry, "GET").target
            assert scopes.index(NAME.replace("/", "%2F")) < scopes.index("other")
            assert len(registry.requests("POST", "mount=")) == 1

    def test_the_mount_names_digest_and_repository_and_nothing_else(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            descriptor = registry.add_blob("other/app", DATA)
            pusher.uploads.mount(descriptor, "other/app")
            query = last(registry, "POST").target.partition("?")[2]
            digest = str(descriptor.digest).replace(":", "%3A")
            assert query == f"mount={digest}&from=other%2Fapp"


class TestSource:
    def test_damaged_bytes_never_reach_their_end_at_the_registry(self) -> None:
        blob = Bytes(DATA[:-1] + b"?", described(DATA))
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            assert isinstance(pusher.refusal(blob), DigestMismatch)
            assert received(registry) < len(DATA)
            assert not registry.blobs.get(NAME)
            assert methods(registry) == ["POST", "PUT", "DELETE"]

    def test_a_source_that_lacks_the_blob_ends_the_upload_at_once(self) -> None:
        def absent() -> Blob:
            raise NotFound("gone")

        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            with pytest.raises(NotFound, match="gone"):
                pusher.uploads.put(described(DATA), absent)
            assert registry.requests("DELETE", PATTERN)

    def test_a_source_that_cannot_be_reached_is_not_taken_for_the_registry(self) -> None:
        opened = []

        def unreachable() -> Blob:
            opened.append(1)
            raise Unavailable("the source is away") from httpx.ReadError("broken")

        with (
            EmulatedRegistry() as registry,
            pushing(registry.host) as pusher,
            pytest.raises(Unavailable, match="the source is away"),
        ):
            pusher.uploads.put(described(DATA), unreachable)
        assert len(opened) == 1

    def test_a_source_on_the_disk_is_opened_for_each_attempt(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Drop(after=10, of="received"), times=3)
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert blob.opened == 4

    def test_a_source_from_afar_is_fetched_whole_before_the_third_attempt(
        self, tmp_path: Path
    ) -> None:
        how = {"remote": True, "scratch": str(tmp_path)}
        with EmulatedRegistry() as registry, pushing(registry.host, how=how) as pusher:
            registry.fail("PUT", PATTERN, Drop(after=10, of="received"), times=3)
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert blob.opened == 3

    def test_nothing_is_left_of_what_was_fetched_first(self, tmp_path: Path) -> None:
        how = {"remote": True, "scratch": str(tmp_path)}
        with EmulatedRegistry() as registry, pushing(registry.host, how=how) as pusher:
            registry.fail("PUT", PATTERN, Status(status=500), times=99)
            pusher.refusal(DATA)
        assert os.listdir(str(tmp_path)) == []


class TestTooLarge:
    def test_a_limit_on_whole_blobs_is_answered_with_parts(self) -> None:
        limit = 51 << 20
        blobs = [Bytes(bytes([n]) * (limit + 1)) for n in range(2)]
        with EmulatedRegistry(Quirks(max_body=limit)) as registry, pushing(registry.host) as pusher:
            threads = [threading.Thread(target=pusher.put, args=(blob,)) for blob in blobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(held(registry, blob) for blob in blobs)
            assert len(pusher.warnings) == 1
            assert "they are sent in parts" in pusher.warnings[0]
            sizes = {one.received_bytes for one in registry.requests("PATCH")}
            assert max(sizes) == 50 << 20

    def test_parts_are_halved_until_they_pass(self) -> None:
        """As 48 MB behind a limit of 20; a blob of less goes in parts of the same size."""
        large, small = Bytes(random.randbytes(4_800_000)), Bytes(random.randbytes(2_500_000))
        quirks = Quirks(max_body=1_000_000)
        with EmulatedRegistry(quirks) as registry, pushing(registry.host) as pusher:
            pusher.put(large)
            pusher.put(small)
            assert held(registry, large)
            assert held(registry, small)
            assert len(pusher.warnings) == 1
            refused = [one.method for one in registry.log if one.status == 413]
            assert refused == ["PUT", "PATCH", "PATCH"]
            assert max(one.received_bytes for one in registry.requests("PATCH")) == 600_000
            assert registry.state.sessions == {}

    def test_what_is_too_large_even_in_parts_is_refused_with_advice(self) -> None:
        with EmulatedRegistry(Quirks(max_body=1000)) as registry, pushing(registry.host) as pusher:
            error = pusher.refusal(DATA)
            assert isinstance(error, Refused)
            assert "--chunk-size" in (error.hint or "")
            assert methods(registry).count("PUT") == 1


class TestToken:
    def test_a_token_that_expired_on_the_way_costs_one_more_sending(self) -> None:
        access = Access(scheme="bearer")
        with (
            EmulatedRegistry(Quirks(access=access)) as registry,
            pushing(registry.host, username="user", password="pass") as pusher,
        ):
            pusher.put(b"first")
            registry.office.revoke_all()
            blob = Bytes(DATA)
            # The session is open; its PUT is the first to meet the old token.
            url = _session_of(registry)
            pusher.uploads.put(blob.descriptor, blob, url)
            assert held(registry, blob)
            statuses = [logged.status for logged in registry.requests("PUT", PATTERN)]
            assert statuses[-2:] == [401, 201]

    @pytest.mark.parametrize(
        ("size", "lifetime"),
        [(1_000_000, 0.2), pytest.param(25_000_000, 2.0, marks=pytest.mark.soak)],
    )
    def test_a_registry_that_rejects_old_tokens_gets_everything(
        self, size: int, lifetime: float
    ) -> None:
        # Eight blobs, and a token lasts for about two of them.
        tokens = TokenQuirks(lifetime=lifetime, expires_in=300)
        quirks = Quirks(access=Access(scheme="bearer"), commit_seconds=lifetime / 2)
        blobs = [Bytes(random.Random(n).randbytes(size)) for n in range(8)]
        with (
            EmulatedRegistry(quirks, tokens=tokens) as registry,
            pushing(registry.host, username="user", password="pass") as pusher,
        ):
            for blob in blobs:
                pusher.put(blob)
            assert all(held(registry, blob) for blob in blobs)
            assert len(registry.requests(pattern="^/token")) >= 3

    def test_a_push_asks_for_pull_and_push_in_one_token(self) -> None:
        with (
            EmulatedRegistry(Quirks(access=Access(scheme="bearer"))) as registry,
            pushing(registry.host, username="user", password="pass") as pusher,
        ):
            blobs = [Bytes(bytes([n]) * 1000) for n in range(8)]
            threads = [threading.Thread(target=pusher.put, args=(blob,)) for blob in blobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(held(registry, blob) for blob in blobs)
            asked = registry.requests(pattern="^/token")
            assert len(asked) == 1
            assert f"scope=repository%3A{NAME.replace('/', '%2F')}%3Apull%2Cpush" in asked[0].target


def _session_of(registry: EmulatedRegistry) -> str:
    session = Session(NAME)
    registry.state.sessions["here"] = session
    return f"{registry.url}/v2/{NAME}/blobs/uploads/here?_state={session.state}"


class TestStopping:
    def test_work_that_is_stopped_cancels_its_session_within_two_seconds(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Delay(60))
            timer = later(0.3, pusher.registries.abort)
            began = time.monotonic()
            error = pusher.refusal(DATA)
            timer.join()
            assert isinstance(error, Unavailable)
            assert time.monotonic() - began < 2.3
            assert methods(registry) == ["POST", "PUT", "DELETE"]

    def test_a_registry_that_hears_nothing_more_is_not_waited_for(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host) as pusher:
            registry.fail("PUT", PATTERN, Delay(60))
            registry.fail("DELETE", PATTERN, Delay(60))
            timer = later(0.2, pusher.registries.abort)
            began = time.monotonic()
            pusher.refusal(DATA)
            timer.join()
            assert time.monotonic() - began < 2.2

    def test_a_part_that_was_accepted_leaves_a_new_address_to_cancel(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=1 << 20) as pusher:
            registry.fail("PATCH", PATTERN, Delay(60), after=1)
            timer = later(0.3, pusher.registries.abort)
            pusher.refusal(DATA)
            timer.join()
            assert last(registry, "DELETE").status == 204


class TestDockerRegistry:
    @pytest.mark.parametrize("kind", ["plain", "htpasswd"])
    def test_a_blob_is_stored_with_absolute_and_relative_locations(
        self, tmp_path: Path, kind: str
    ) -> None:
        with (
            running_registry(tmp_path, kind) as registry,  # type: ignore[arg-type]
            pushing(registry.host, username=registry.user, password=registry.password) as pusher,
        ):
            blob = pusher.put(DATA)
            assert pusher.uploads.has(blob.descriptor)
            assert pusher.uploads.has(pusher.put(b"").descriptor)

    def test_it_mounts_what_another_repository_has(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, pushing(registry.host) as pusher:
            blob = pusher.put(DATA)
            other = type(pusher)(pusher.registries, [], registry.host)
            other.session.path = "another/app"
            assert not other.uploads.has(blob.descriptor)
            assert other.uploads.mount(blob.descriptor, NAME) == (True, None)
            mounted, opened = other.uploads.mount(described(b"unknown"), NAME)
            assert not mounted
            assert opened is not None
            unknown = Bytes(b"unknown")
            other.uploads.put(unknown.descriptor, unknown, opened)
            assert other.uploads.has(unknown.descriptor)

    def test_a_blob_survives_cuts_of_the_connection(self, tmp_path: Path) -> None:
        # The first connection only finds out whether TLS is spoken.
        fault = TcpFault(action="reset", direction="up", after=1_500_000, times=3)
        with (
            running_registry(tmp_path) as registry,
            FaultProxy(registry.host, fault) as proxy,
            pushing(proxy.host) as pusher,
        ):
            blob = pusher.put(DATA)
            assert pusher.uploads.has(blob.descriptor)
            assert blob.opened == 3
