"""One operation has one budget of retries, counted at the registry: loops must not multiply."""

import contextlib
import re
from collections import Counter
from pathlib import Path

import pytest

from ocitool.errors import OcitoolError, Unavailable
from ocitool.places.registry.listing import tags
from tests.places.registry.pushes import pushing, reference, shelf
from tests.places.registry.reading import LIMITS, described, everything, reading
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import Drop, Fault, Status
from tests.support.registry_state import error_body

ALLOWED = LIMITS.retries + 1
DATA = bytes(range(256)) * 4096


class SickRegistry(RecordingServer):
    """Answers 503 five times and then cuts its answer off after `given` bytes, again and again."""

    def __init__(self, given: int = 0) -> None:
        super().__init__()
        self._given = given
        self._count = 0

    def respond(self, exchange: Exchange) -> None:
        self._count += 1
        if self._count % 6:
            exchange.answer(503)
            return
        exchange.fault = Drop(after=self._given)
        exchange.answer(200, DATA, {"Content-Type": "application/json"})


class MoodyRegistry(EmulatedRegistry):
    """Answers 503 to so many requests of each method, then has another fault or none, and so on."""

    def __init__(self, *, refusals: int, then: Fault | None = None, pattern: str = ".") -> None:
        super().__init__()
        self._refusals = refusals
        self._then = then
        self._pattern = re.compile(pattern)
        self._counts: Counter[str] = Counter()

    def fault_for(self, method: str, target: str) -> Fault | None:
        if not self._pattern.search(target):
            return None
        self._counts[method] += 1
        is_refusal = self._counts[method] % (self._refusals + 1)
        return Status(status=503) if is_refusal else self._then


def refusals(registry: EmulatedRegistry, *methods: str) -> int:
    return sum(logged.status == 503 and logged.method in methods for logged in registry.log)


class TestReading:
    def test_a_list_costs_one_budget(self) -> None:
        with SickRegistry() as sick, reading(sick.host) as reader, pytest.raises(Unavailable):
            tags(reader.session)
        assert len(sick.log) == ALLOWED

    @pytest.mark.parametrize("tag", ["1", "latest"])
    def test_a_manifest_costs_one_budget(self, tag: str) -> None:
        with SickRegistry() as sick, reading(sick.host) as reader, pytest.raises(Unavailable):
            reader.fetched(tag)
        assert len(sick.log) == ALLOWED

    @pytest.mark.parametrize("given", [0, 1, 1000])
    def test_a_blob_costs_one_budget_while_next_to_nothing_comes(self, given: int) -> None:
        with (
            SickRegistry(given) as sick,
            reading(sick.host) as reader,
            pytest.raises(Unavailable),
            reader.repository.open(described(DATA)) as blob,
        ):
            everything(blob.read)
        assert len(sick.log) == ALLOWED

    def test_a_blob_that_gets_on_has_a_new_budget_each_time(self) -> None:
        with MoodyRegistry(refusals=4, then=Drop(after=200_000)) as registry:
            blob = registry.add_blob("a/b", DATA)
            with reading(registry.host) as reader:
                assert reader.blob(blob) == DATA
        assert len(registry.requests(pattern="/blobs/")) > 2 * ALLOWED

    def test_a_head_that_is_not_offered_shares_its_budget_with_the_get(self) -> None:
        with (
            MoodyRegistry(refusals=5, then=Status(status=405)) as registry,
            reading(registry.host) as reader,
            pytest.raises(OcitoolError),
        ):
            reader.repository.head(reader.reference("1"))
        assert refusals(registry, "HEAD", "GET") <= ALLOWED


class TestUploading:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
    def test_an_upload_has_one_budget_for_all_its_requests(self, count: int) -> None:
        with (
            MoodyRegistry(refusals=count) as registry,
            pushing(registry.host, limits=LIMITS) as pusher,
            contextlib.suppress(OcitoolError),
        ):
            pusher.put(DATA)
        # The registry is asked once more, whether the last attempt was a slow success.
        assert refusals(registry, "POST", "PUT", "HEAD") <= ALLOWED + 1

    def test_a_manifest_whose_blobs_are_not_seen_has_one_budget(self, tmp_path: Path) -> None:
        image = build_image()
        unseen = Status(status=404, body=error_body("MANIFEST_BLOB_UNKNOWN", ""))
        with (
            MoodyRegistry(refusals=5, then=unseen, pattern="/manifests/1$") as registry,
            shelf(tmp_path, limits=LIMITS) as shop,
            pytest.raises(OcitoolError),
        ):
            shop.push(image, reference(registry))
        assert refusals(registry, "PUT") <= ALLOWED
