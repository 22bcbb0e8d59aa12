"""A large blob in parts: by several connections where one is slow, whatever becomes of them."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.concurrency import Stop, Stopped
from ocitool.errors import DigestMismatch, NotFound, SizeMismatch, Unavailable
from ocitool.image.content import NoRanges, OpenRange, RangeStream
from ocitool.oci import Descriptor
from ocitool.places.layout import Layout, Writing
from ocitool.places.registry.download import Download
from ocitool.transfer.ranged import Connections, fetch
from tests.places.registry.reading import NAME, described, reading
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Drop, ExtraBytes, FlippedByte, Status

MEGABYTE = 1_000_000
DATA = random.Random(5).randbytes(60 * MEGABYTE)
BLOB = described(DATA)
SMALLER = DATA[: 34 * MEGABYTE]
BLOBS = "/blobs/"


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Writing]:
    with Layout.create(str(tmp_path / "store"), store=True) as layout, Writing(layout) as writing:
        yield writing


class Counter:
    """Adds up progress, and the least it ever was."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.total += count
            assert count >= 0


def bring(
    registry: EmulatedRegistry,
    writing: Writing,
    blob: Descriptor,
    jobs: int = 8,
    stop: Stop | None = None,
    advance: Counter | None = None,
) -> None:
    """Fetch a blob into a layout."""
    with reading(registry.host) as reader:
        open_range = reader.repository.ranges(blob)
        assert open_range is not None
        brought(open_range, writing, blob, jobs, stop, advance)


def brought(
    open_range: OpenRange,
    writing: Writing,
    blob: Descriptor,
    jobs: int = 8,
    stop: Stop | None = None,
    advance: Counter | None = None,
) -> None:
    ingest = writing.ingest(blob)
    assert ingest is not None
    connections = Connections(jobs)
    connections.take()
    try:
        fetch(
            blob,
            open_range,
            ingest,
            connections=connections,
            stop=stop or Stop(),
            advance=advance or Counter(),
        )
    finally:
        ingest.close()


def content(writing: Writing, blob: Descriptor) -> bytes:
    with writing.open(blob) as stream:
        return stream.read_all(blob.size)


def sent(registry: EmulatedRegistry) -> int:
    return sum(one.sent_bytes for one in registry.requests("GET", BLOBS))


class Trickle:
    """A stream that is slow; one from the front breaks after a while."""

    supports_ranges = True

    def __init__(self, data: bytes, start: int, end: int | None) -> None:
        self._data, self._position = data, start
        self._end = len(data) if end is None else end
        self._breaks = time.monotonic() + 1.5 if end is None else None

    def read(self, size: int) -> bytes:
        time.sleep(0.02)
        if self._breaks is not None and time.monotonic() > self._breaks:
            raise NotFound("the blob is gone")
        part = self._data[self._position : min(self._end, self._position + min(size, 50_000))]
        self._position += len(part)
        return part

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error", [None, MemoryError("no more")])
def test_whichever_connection_meets_the_end_of_it_all_the_others_end_too(
    writing: Writing, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    blob = described(SMALLER)
    found: list[BaseException] = []
    if error is not None:
        # A helper meets what nobody expects, before the first connection breaks.
        def strike(self: Trickle, size: int) -> bytes:
            if self._breaks is None:
                raise error
            return read(self, size)

        read = Trickle.read
        monkeypatch.setattr(Trickle, "read", strike)

    def work() -> None:
        try:
            brought(lambda start, end: Trickle(SMALLER, start, end), writing, blob)
        except (NotFound, MemoryError) as met:
            found.append(met)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "connections wait for each other"
    assert [type(one) for one in found] == [NotFound if error is None else MemoryError]


class TestSpeed:
    def test_several_connections_are_at_least_three_times_as_fast_as_a_slow_one(
        self, writing: Writing
    ) -> None:
        rate = 6 * MEGABYTE
        with EmulatedRegistry(Quirks(bytes_per_second=rate)) as registry:
            registry.add_blob(NAME, DATA)
            progress = Counter()
            began = time.monotonic()
            bring(registry, writing, BLOB, advance=progress)
            seconds = time.monotonic() - began
            assert seconds < len(DATA) / rate / 3
            assert progress.total == BLOB.size
            # Nobody reads what another has read; a little is in the air when one lets go.
            assert sent(registry) < len(DATA) + 8 * MEGABYTE
        assert content(writing, BLOB) == DATA

    def test_a_fast_connection_is_left_alone(self, writing: Writing) -> None:
        with EmulatedRegistry() as registry:
            registry.add_blob(NAME, DATA)
            bring(registry, writing, BLOB)
            assert len(registry.requests("GET", BLOBS)) == 1

    def test_no_more_connections_are_opened_than_were_allowed(self, writing: Writing) -> None:
        with EmulatedRegistry(Quirks(bytes_per_second=20.0 * MEGABYTE)) as registry:
            blob = registry.add_blob(NAME, SMALLER)
            bring(registry, writing, blob, jobs=1)
            assert len(registry.requests("GET", BLOBS)) == 1


class TestTrouble:
    """With a slow registry, so that several connections are at work."""

    @pytest.fixture
    def registry(self) -> Iterator[EmulatedRegistry]:
        with EmulatedRegistry(Quirks(bytes_per_second=12.0 * MEGABYTE)) as registry:
            registry.add_blob(NAME, SMALLER)
            yield registry

    blob = described(SMALLER)

    def test_helpers_that_break_go_on(self, registry: EmulatedRegistry, writing: Writing) -> None:
        registry.fail("GET", BLOBS, Drop(after=2 * MEGABYTE), times=3, after=1)
        bring(registry, writing, self.blob)
        assert content(writing, self.blob) == SMALLER

    @pytest.mark.parametrize("status", [403, 503])
    def test_helpers_that_are_refused_leave_the_work_to_the_first(
        self, writing: Writing, status: int
    ) -> None:
        with EmulatedRegistry(Quirks(bytes_per_second=7.0 * MEGABYTE)) as registry:
            blob = registry.add_blob(NAME, SMALLER[: 18 * MEGABYTE])
            registry.fail("GET", BLOBS, Status(status=status), times=99, after=1)
            bring(registry, writing, blob)
            assert len(registry.requests("GET", BLOBS)) > 1
            assert content(writing, blob) == SMALLER[: 18 * MEGABYTE]

    def test_wrong_bytes_of_a_helper_are_found_out(
        self, registry: EmulatedRegistry, writing: Writing
    ) -> None:
        registry.fail("GET", BLOBS, FlippedByte(100), after=1)
        with pytest.raises(DigestMismatch):
            bring(registry, writing, self.blob)
        assert not writing.layout.has(self.blob)

    def test_a_stop_ends_all_of_them(self, registry: EmulatedRegistry, writing: Writing) -> None:
        stop = Stop()
        threading.Timer(1.0, stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            bring(registry, writing, self.blob, stop=stop)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("ranges", ["ignored", "wrong_start"])
def test_a_server_without_ranges_is_read_by_one_connection(writing: Writing, ranges: str) -> None:
    quirks = Quirks(bytes_per_second=20.0 * MEGABYTE, ranges=ranges)  # type: ignore[arg-type]
    with EmulatedRegistry(quirks) as registry:
        blob = registry.add_blob(NAME, SMALLER)
        progress = Counter()
        bring(registry, writing, blob, advance=progress)
        assert content(writing, blob) == SMALLER
        assert progress.total == blob.size


def test_more_than_was_promised_is_refused(writing: Writing) -> None:
    with EmulatedRegistry() as registry:
        blob = registry.add_blob(NAME, SMALLER)
        registry.fail("GET", BLOBS, ExtraBytes())
        with pytest.raises(SizeMismatch, match="exceeds its"):
            bring(registry, writing, blob)


def test_fewer_than_were_promised_are_refused(writing: Writing) -> None:
    with EmulatedRegistry() as registry:
        blob = registry.add_blob(NAME, SMALLER)
        registry.state.blobs[NAME][blob.digest] = SMALLER[:-5]
        with pytest.raises(SizeMismatch, match="ends at byte"):
            bring(registry, writing, blob)


@pytest.mark.parametrize("ranges", ["ok", "ignored", "wrong_start", "long_416"])
def test_what_came_before_is_gone_on_with(writing: Writing, ranges: str) -> None:
    quirks = Quirks(ranges=ranges)  # type: ignore[arg-type]
    with EmulatedRegistry(quirks) as registry:
        blob = registry.add_blob(NAME, SMALLER)
        registry.fail("GET", BLOBS, Drop(after=20 * MEGABYTE), times=1)
        registry.fail("GET", BLOBS, Drop(after=0), times=99)
        with pytest.raises(Unavailable):
            bring(registry, writing, blob)
        registry._schedule._plans.clear()
        before = sent(registry)
        bring(registry, writing, blob)
        assert content(writing, blob) == SMALLER
        if ranges == "ok":
            assert sent(registry) - before <= 15 * MEGABYTE


def test_all_that_came_is_only_verified(writing: Writing) -> None:
    ingest = writing.ingest(BLOB)
    assert ingest is not None
    ingest.write(0, DATA)
    ingest.close()

    def nothing(start: int, end: int | None) -> RangeStream:
        raise AssertionError(f"asked for {start}-{end}")

    brought(nothing, writing, BLOB)
    assert content(writing, BLOB) == DATA


def test_helpers_of_a_place_that_turns_out_to_have_no_parts_give_theirs_back(
    writing: Writing,
) -> None:
    data = SMALLER[: 20 * MEGABYTE]
    blob = described(data)
    asked: list[int] = []

    def open_range(start: int, end: int | None) -> RangeStream:
        if end is not None:
            asked.append(start)
            raise NoRanges
        return _Slow(data[start:])

    brought(open_range, writing, blob)
    assert asked
    assert content(writing, blob) == data


class _Slow:
    """A stream of about 15 MB a second that claims to know parts."""

    supports_ranges = True

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def read(self, size: int) -> memoryview:
        part, self._data = self._data[:size], self._data[size:]
        time.sleep(len(part) / (15 * MEGABYTE))
        return part

    def close(self) -> None:
        """Nothing is open."""


def test_a_range_ends_where_it_was_asked_to(writing: Writing) -> None:
    with EmulatedRegistry() as registry, reading(registry.host) as reader:
        blob = registry.add_blob(NAME, b"0123456789" * 1000)
        part = Download(reader.session, blob, start=10, end=20, whole=False)
        assert bytes(part.read(100)) == b"0123456789"
        assert part.read(100) == b""
        part.close()
        part.close()
