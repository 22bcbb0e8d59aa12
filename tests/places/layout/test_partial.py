"""A blob that arrives in parts: kept when it breaks off, believed only as far as its digest."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import DigestMismatch, OcitoolError
from ocitool.fsops import Directory
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout import Layout, Writing
from ocitool.places.layout.partial import PartialBlob, Ranges
from tests.support.layouts import paused

DATA = random.Random(1).randbytes(100_000)
BLOB = Descriptor(media_type="x/y", digest=Digest.of(DATA), size=len(DATA))
PARTS = [(start, start + 10_000) for start in range(0, len(DATA), 10_000)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(str(tmp_path / "store"), store=True)


def ingest_folder(layout: Layout) -> Path:
    return Path(layout.path) / ".ocitool/ingest"


def left(layout: Layout) -> list[str]:
    folder = ingest_folder(layout)
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def brought(layout: Layout, *parts: tuple[int, int], data: bytes = DATA) -> list[tuple[int, int]]:
    """Write parts of the blob and leave it; return what is missing after that."""
    with Writing(layout) as writing:
        part = writing.ingest(BLOB)
        assert part is not None
        for start, end in parts:
            part.write(start, data[start:end])
        found = part.missing()
        part.close()
        part.close()
    return found


def completed(layout: Layout, data: bytes = DATA) -> None:
    """Write what is missing and store the blob."""
    with Writing(layout) as writing:
        writing.announce([BLOB])
        part = writing.ingest(BLOB)
        assert part is not None
        try:
            for start, end in part.missing():
                part.write(start, data[start:end])
            part.commit()
        finally:
            part.close()


def stored(layout: Layout) -> bytes:
    with layout.open(BLOB) as blob:
        return blob.read_all(BLOB.size)


class TestArrival:
    def test_a_blob_that_comes_in_order_is_stored(self, layout: Layout) -> None:
        assert brought(layout, *PARTS) == []
        completed(layout)
        assert stored(layout) == DATA
        assert left(layout) == []

    def test_the_order_of_the_parts_does_not_matter(self, layout: Layout) -> None:
        mixed = random.Random(2).sample(PARTS, len(PARTS))
        assert brought(layout, *mixed) == []
        completed(layout)
        assert stored(layout) == DATA

    def test_parts_may_come_twice_and_overlap(self, layout: Layout) -> None:
        brought(layout, (0, 60_000), (50_000, 70_000), (0, 10_000), (65_000, 100_000))
        completed(layout)
        assert stored(layout) == DATA

    def test_what_has_come_is_kept_for_the_next_try(self, layout: Layout) -> None:
        assert brought(layout, (0, 10_000), (50_000, 60_000)) == [
            (10_000, 50_000),
            (60_000, 100_000),
        ]
        assert brought(layout, (10_000, 20_000)) == [(20_000, 50_000), (60_000, 100_000)]
        completed(layout)
        assert stored(layout) == DATA

    def test_a_part_is_no_blob(self, layout: Layout) -> None:
        brought(layout, *PARTS)
        assert not layout.has(BLOB)
        assert list(layout.blob_digests()) == []


class TestDistrust:
    def test_wrong_bytes_are_never_stored_and_are_thrown_away(self, layout: Layout) -> None:
        brought(layout, (0, 10_000), data=bytes(len(DATA)))
        with pytest.raises(DigestMismatch):
            completed(layout)
        assert not layout.has(BLOB)
        assert left(layout) == []
        completed(layout)
        assert stored(layout) == DATA

    def test_an_incomplete_blob_is_not_stored(self, layout: Layout) -> None:
        with Writing(layout) as writing:
            part = writing.ingest(BLOB)
            assert part is not None
            part.write(0, DATA[:50_000])
            with pytest.raises(DigestMismatch):
                part.commit()
        assert not layout.has(BLOB)

    @pytest.mark.parametrize(
        "journal",
        [
            b"",
            b"0 100000\n",
            b"0 99999999999999999999\n",
            b"-5 10\n",
            b"10 5\n",
            b"0 100",
            b"\x00\xff\n",
            b"0 50000\ngarbage\n60000 70000\n",
            b"0 0\n",
            b"1 2 3\n",
        ],
    )
    def test_a_journal_that_lies_does_no_harm(self, layout: Layout, journal: bytes) -> None:
        brought(layout, (0, 10_000))
        name = f"{BLOB.digest.algorithm}-{BLOB.digest.hex}.ranges"
        (ingest_folder(layout) / name).write_bytes(journal)
        try:
            completed(layout)
        except DigestMismatch:
            completed(layout)
        assert stored(layout) == DATA

    def test_a_file_that_was_damaged_meanwhile_is_fetched_anew(self, layout: Layout) -> None:
        brought(layout, (0, 90_000))
        path = ingest_folder(layout) / f"{BLOB.digest.algorithm}-{BLOB.digest.hex}"
        with path.open("r+b") as file:
            file.seek(500)
            file.write(b"damage")
        with pytest.raises(DigestMismatch):
            completed(layout)
        completed(layout)
        assert stored(layout) == DATA

    @pytest.mark.parametrize("size", [0, 5_000, 10_000, 200_000])
    def test_a_file_of_another_length_does_no_harm(self, layout: Layout, size: int) -> None:
        brought(layout, (0, 10_000), (20_000, 30_000))
        os.truncate(ingest_folder(layout) / f"{BLOB.digest.algorithm}-{BLOB.digest.hex}", size)
        completed(layout)
        assert stored(layout) == DATA

    def test_a_link_in_place_of_the_file_is_not_followed(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        brought(layout, (0, 10_000))
        victim = tmp_path / "victim"
        victim.write_bytes(b"mine")
        path = ingest_folder(layout) / f"{BLOB.digest.algorithm}-{BLOB.digest.hex}"
        path.unlink()
        path.symlink_to(victim)
        with pytest.raises(OcitoolError):
            completed(layout)
        assert victim.read_bytes() == b"mine"


class TestOwnership:
    def test_only_one_has_a_blob_at_a_time(self, layout: Layout) -> None:
        with Writing(layout) as writing:
            first = writing.ingest(BLOB)
            assert first is not None
            assert writing.ingest(BLOB) is None
            first.close()
            second = writing.ingest(BLOB)
            assert second is not None
            second.close()

    def test_another_process_has_it_until_it_ends(self, layout: Layout) -> None:
        program = f"""
            import sys
            from ocitool.places.layout import Layout, Writing
            from ocitool.oci import Descriptor, Digest
            digest = Digest.parse({str(BLOB.digest)!r})
            blob = Descriptor(media_type="x/y", digest=digest, size={BLOB.size})
            with Layout.existing(sys.argv[1]) as layout, Writing(layout) as writing:
                part = writing.ingest(blob)
                part.write(0, b"other")
                pause()
        """
        with (
            Writing(layout) as writing,
            paused(program, layout.path) as process,
        ):
            assert writing.ingest(BLOB) is None
            process.kill()
            process.wait()
            part = writing.ingest(BLOB)
            assert part is not None
            assert part.missing() == [(5, BLOB.size)]
            part.close()

    def test_a_failure_to_begin_leaves_nothing_open(self, layout: Layout) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            brought(layout, (0, 10))
        assert len(os.listdir("/proc/self/fd")) == before

    def test_two_writers_of_one_folder_do_not_meet(self, layout: Layout) -> None:
        other = Descriptor(media_type="x/y", digest=Digest.of(b"other"), size=5)
        with Writing(layout) as writing:
            first, second = writing.ingest(BLOB), writing.ingest(other)
            assert first is not None
            assert second is not None
            second.write(0, b"other")
            second.commit()
            first.close()
        assert layout.has(other)


class TestRanges:
    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12))
    def test_ranges_are_a_set_of_numbers(self, spans: list[tuple[int, int]]) -> None:
        ranges, model = Ranges(), set[int]()
        for start, length in spans:
            ranges.add(start, start + length)
            model |= set(range(start, start + length))
        gaps = {n for first, last in ranges.gaps(100) for n in range(first, last)}
        assert gaps == set(range(100)) - model
        for position in range(100):
            end = position
            while end in model:
                end += 1
            assert ranges.end_of(position) == end

    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12))
    def test_gaps_are_sorted_and_do_not_touch(self, spans: list[tuple[int, int]]) -> None:
        ranges = Ranges()
        for start, length in spans:
            ranges.add(start, start + length)
        flat = [n for gap in ranges.gaps(50) for n in gap]
        assert flat == sorted(set(flat))


def test_the_folder_is_made_when_it_is_needed(tmp_path: Path) -> None:
    with Directory.create(str(tmp_path / "x")) as control:
        part = PartialBlob.open(control, BLOB, lambda *_: None)
        assert part is not None
        part.close()
    assert (tmp_path / "x/ingest").is_dir()
