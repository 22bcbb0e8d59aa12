"""Blobs into a registry in parts: what comes back, what broke, and what registries make of it."""

import random
from pathlib import Path

import pytest

from ocitool.errors import Refused, Unavailable
from tests.places.registry.pushes import Bytes, held, last, methods, pushing
from tests.support.docker_registry import running_registry
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Drop, HangUp, Status

DATA = random.Random(2).randbytes(2_500_000)
SIZE = 1_000_000
PATTERN = "/blobs/uploads/."


def ranges(registry: EmulatedRegistry) -> list[str]:
    """Return the Content-Range of every part that was sent."""
    return [logged.headers["content-range"] for logged in registry.requests("PATCH")]


def sessions(registry: EmulatedRegistry) -> int:
    """Return how many sessions were opened."""
    return len(registry.requests("POST"))


class TestParts:
    def test_parts_follow_each_other_and_an_empty_put_closes(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert methods(registry) == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]
            assert ranges(registry) == ["0-999999", "1000000-1999999", "2000000-2499999"]
            assert last(registry, "PUT").headers["content-length"] == "0"

    def test_each_part_goes_where_the_last_answer_led(self) -> None:
        quirks = Quirks(location="odd_query")
        with (
            EmulatedRegistry(quirks) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            assert held(registry, pusher.put(DATA))
            targets = [logged.target for logged in registry.requests("PATCH")]
            assert all(target.endswith("?_state=a%2Fb%3D%3D&x=1") for target in targets)

    def test_the_source_is_read_once_for_all_parts(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=100_000) as pusher:
            blob = pusher.put(DATA)
            assert len(registry.requests("PATCH")) == 25
            assert (blob.opened, blob.read) == (1, len(DATA))

    def test_what_fits_into_one_part_goes_whole(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            pusher.put(DATA[:SIZE])
            assert methods(registry) == ["POST", "PUT"]

    def test_a_part_is_at_least_as_large_as_the_registry_wants(self) -> None:
        quirks = Quirks(chunk_min_length=1_200_000)
        with (
            EmulatedRegistry(quirks) as registry,
            pushing(registry.host, chunk_size=1000) as pusher,
        ):
            assert held(registry, pusher.put(DATA))
            assert ranges(registry)[0] == "0-1199999"


class TestBrokenPart:
    def test_a_registry_that_tells_how_far_it_came_gets_the_rest_alone(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, Drop(after=400_000, of="received"), after=1)
            blob = pusher.put(DATA)
            assert held(registry, blob)
            assert sessions(registry) == 1
            assert ranges(registry)[2:] == ["1400000-2399999", "2400000-2499999"]
            assert blob.opened == 2

    def test_many_broken_parts_in_one_session_do_no_harm(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, Drop(after=300_000, of="received"), times=6)
            assert held(registry, pusher.put(DATA))
            assert sessions(registry) == 1

    @pytest.mark.parametrize(
        "quirks",
        [Quirks(dead_sessions=True), Quirks(upload_status_404=True)],
        ids=["debian", "ecr"],
    )
    def test_a_session_that_died_is_begun_anew(self, quirks: Quirks) -> None:
        with (
            EmulatedRegistry(quirks) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            registry.fail("PATCH", PATTERN, Drop(after=400_000, of="received"), after=1)
            assert held(registry, pusher.put(DATA))
            assert sessions(registry) == 2
            assert ranges(registry)[2] == "0-999999"

    def test_a_part_of_which_nothing_came_is_never_replayed_into_its_session(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, HangUp(), after=1)
            assert held(registry, pusher.put(DATA))
            assert sessions(registry) == 2

    def test_a_part_that_came_whole_without_an_answer_is_not_sent_again(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, HangUp(processed=True), after=1)
            assert held(registry, pusher.put(DATA))
            assert sessions(registry) == 1
            assert ranges(registry) == ["0-999999", "1000000-1999999", "2000000-2499999"]

    def test_a_registry_that_appends_blindly_still_gets_the_right_bytes(self) -> None:
        quirks = Quirks(blind_append=True)
        with (
            EmulatedRegistry(quirks) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            registry.fail("PATCH", PATTERN, HangUp(processed=True))
            registry.fail("PATCH", PATTERN, Drop(after=1, of="received"), after=1)
            assert held(registry, pusher.put(DATA))

    @pytest.mark.parametrize("status", [404, 416, 500, 503])
    def test_a_refused_part_ends_its_session_and_not_the_upload(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, Status(status=status), after=1)
            assert held(registry, pusher.put(DATA))
            assert sessions(registry) == 2


class TestAnswers:
    @pytest.mark.parametrize("status", [201, 202, 204])
    def test_every_usual_success_of_a_part_is_one(self, status: int) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            # It is not stored, of course; only what is made of the answer counts.
            registry.fail("PATCH", PATTERN, Status(status=status), times=3)
            registry.fail("PUT", PATTERN, Status(status=201))
            pusher.put(DATA)
            assert methods(registry) == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]

    @pytest.mark.parametrize("said", ["0-999998", "0-1000000", "bytes=0-5"])
    def test_a_registry_that_counts_otherwise_is_begun_with_anew(self, said: str) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, Status(status=202, headers={"Range": said}))
            assert held(registry, pusher.put(DATA))
            assert methods(registry)[:5] == ["POST", "PATCH", "DELETE", "HEAD", "POST"]

    @pytest.mark.parametrize("said", ["0-999999", "bytes=0-999999", " 0-999999 ", "nonsense"])
    def test_both_forms_of_range_are_understood_and_nonsense_is_ignored(self, said: str) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, Status(status=202, headers={"Range": said}))
            registry.fail("PATCH", PATTERN, Status(status=202), times=2)
            registry.fail("PUT", PATTERN, Status(status=201))
            pusher.put(DATA)
            assert sessions(registry) == 1

    def test_a_close_that_fails_without_bytes_is_tried_with_the_last_part(self) -> None:
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PUT", PATTERN, Status(status=500))
            assert held(registry, pusher.put(DATA))
            assert last(registry, "PUT").headers["content-length"] == "500000"
            assert sessions(registry) == 2

    def test_a_registry_that_takes_no_parts_is_named_with_advice(self) -> None:
        quirks = Quirks(monolithic_only=True)
        with (
            EmulatedRegistry(quirks) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            error = pusher.refusal(DATA)
            assert isinstance(error, Refused)
            assert "leave out --chunk-size" in (error.hint or "")
            assert methods(registry) == ["POST", "PATCH", "DELETE"]

    def test_a_part_that_is_too_large_is_refused_with_advice(self) -> None:
        with (
            EmulatedRegistry(Quirks(max_body=500_000)) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            error = pusher.refusal(DATA)
            assert isinstance(error, Refused)
            assert "smaller --chunk-size" in (error.hint or "")

    def test_a_part_that_ghcr_would_refuse_ends_after_four_sessions(self) -> None:
        with (
            EmulatedRegistry(Quirks(content_range_limit=500_000)) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            error = pusher.refusal(DATA)
            assert isinstance(error, Refused)
            assert "smaller --chunk-size" in (error.hint or "")
            assert sessions(registry) == 4

    def test_a_registry_that_always_counts_otherwise_is_told_of_with_advice(self) -> None:
        wrong = Status(status=202, headers={"Range": "0-5"})
        with EmulatedRegistry() as registry, pushing(registry.host, chunk_size=SIZE) as pusher:
            registry.fail("PATCH", PATTERN, wrong, times=99)
            error = pusher.refusal(DATA)
            assert isinstance(error, Unavailable)
            assert (error.message, error.hint) == (
                f"{registry.host}/team/app reports another number of bytes than was sent",
                "leave out --chunk-size, so that each blob is sent as a whole",
            )


class TestToken:
    def test_a_token_that_expires_between_parts_costs_one_part(self) -> None:
        access = Access(scheme="bearer")
        with (
            EmulatedRegistry(Quirks(access=access)) as registry,
            pushing(registry.host, chunk_size=SIZE, username="user", password="pass") as pusher,
        ):
            blob = _Revoking(registry)
            pusher.put(blob)
            assert held(registry, blob)
            statuses = [logged.status for logged in registry.requests("PATCH")]
            # The second part was read when they became worthless, and perhaps on its way.
            assert statuses in ([202, 202, 401, 202], [202, 401, 202, 202])
            assert sessions(registry) == 2  # one of them before the first challenge


class _Revoking(Bytes):
    """A blob whose reading, half way, makes all tokens worthless."""

    def __init__(self, registry: EmulatedRegistry) -> None:
        super().__init__(DATA)
        self._registry = registry

    def _count(self, size: int) -> None:
        super()._count(size)
        if self.read == 2 * SIZE:
            self._registry.office.revoke_all()


class TestDockerRegistry:
    def test_parts_are_put_together(self, tmp_path: Path) -> None:
        with (
            running_registry(tmp_path) as registry,
            pushing(registry.host, chunk_size=SIZE) as pusher,
        ):
            blob = pusher.put(DATA)
            assert pusher.uploads.has(blob.descriptor)
            assert blob.opened == 1
