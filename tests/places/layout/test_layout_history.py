"""What a layout remembers: former names, and what was measured."""

import datetime as dt
import json
import os
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError
from ocitool.fsops import Directory
from ocitool.oci import Digest
from ocitool.places.layout import Cache, Layout, NameChange, untag
from ocitool.places.layout.reflog import FormerName, former_names, record
from tests.support.disk import read_only, time_limit
from tests.support.images import write_layout
from tests.support.layouts import A, B, bring, image, store

IMAGE = image("a")
OTHER = image("b")
ONE = Digest.of(b"1")
TWO = Digest.of(b"2")
NOON = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.UTC)
DEEP = b"[" * 100_000


class TestFormerNames:
    def test_an_image_that_lost_its_name_is_remembered_by_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, OTHER, A)
            former = layout.former_names()
        assert list(former) == [str(IMAGE.descriptor.digest)]
        assert former[str(IMAGE.descriptor.digest)].name == A
        dt.datetime.fromisoformat(former[str(IMAGE.descriptor.digest)].lost)

    def test_the_last_name_that_was_lost_counts(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            untag(layout, [B])
            untag(layout, [A])
            assert layout.former_names()[str(IMAGE.descriptor.digest)].name == A

    def test_a_layout_without_a_memory_has_no_former_names(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            assert layout.former_names() == {}

    def test_times_are_in_utc(self, tmp_path: Path) -> None:
        east = dt.timezone(dt.timedelta(hours=3))
        with Directory.open(str(tmp_path)) as control:
            record(control, [NameChange(name=A, old=ONE, new=None)], NOON.astimezone(east))
            assert former_names(control, {})[str(ONE)].lost == "2026-03-04T12:00:00Z"

    def test_no_changes_write_nothing(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            record(control, [], NOON)
        assert os.listdir(tmp_path) == []

    def test_a_name_that_is_new_or_stays_loses_nothing(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            changes = [
                NameChange(name=A, old=None, new=ONE),
                NameChange(name=A, old=ONE, new=ONE),
            ]
            record(control, changes, NOON)
            assert former_names(control, {A: str(ONE)}) == {}

    def test_a_name_that_another_tool_took_is_lost_at_an_unknown_time(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            record(control, [NameChange(name=A, old=None, new=ONE)], NOON)
            for now in ({}, {A: str(TWO)}):
                former = former_names(control, now)
                assert former == {str(ONE): FormerName(name=A, lost="")}

    @pytest.mark.parametrize("cut", [1, 10, 50, 100])
    def test_a_line_that_a_crash_cut_is_skipped_and_the_next_one_is_not(
        self, tmp_path: Path, cut: int
    ) -> None:
        with Directory.open(str(tmp_path)) as control:
            record(control, [NameChange(name=A, old=ONE, new=None)], NOON)
            os.truncate(tmp_path / "reflog", (tmp_path / "reflog").stat().st_size - cut)
            record(control, [NameChange(name=B, old=TWO, new=None)], NOON)
            former = former_names(control, {})
        assert former[str(TWO)].name == B
        assert len(former) == (2 if cut == 1 else 1)

    @pytest.mark.parametrize(
        "line",
        [b"null", b"7", b"[]", b"{}", b'"x"', b"\xff\xfe", b'{"old":[],"new":null}', DEEP],
        ids=lambda line: repr(line[:12]),
    )
    def test_a_line_that_is_something_else_is_skipped(self, tmp_path: Path, line: bytes) -> None:
        with Directory.open(str(tmp_path)) as control:
            (tmp_path / "reflog").write_bytes(line + b"\n")
            record(control, [NameChange(name=B, old=TWO, new=None)], NOON)
            assert list(former_names(control, {})) == [str(TWO)]

    def test_a_fifo_in_place_of_the_reflog_blocks_nobody(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / ".ocitool" / "reflog").unlink()
            os.mkfifo(tmp_path / ".ocitool" / "reflog")
            before = (tmp_path / "index.json").read_bytes()
            with time_limit(10, "the reflog"), pytest.raises(IntegrityError):
                bring(layout, OTHER, A)
        assert (tmp_path / "index.json").read_bytes() == before

    def test_every_change_is_one_line_of_json(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            record(control, [NameChange(name=A, old=ONE, new=TWO)], NOON)
        lines = [line for line in (tmp_path / "reflog").read_text().splitlines() if line]
        assert [json.loads(line) for line in lines] == [
            {"time": "2026-03-04T12:00:00Z", "name": A, "old": str(ONE), "new": str(TWO)}
        ]


class TestCache:
    def test_what_is_remembered_is_there_the_next_time(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            Cache(control, "kind").update({"a": [1, {"b": None}]})
            assert Cache(control, "kind").get("a") == [1, {"b": None}]

    def test_what_was_never_told_is_not_known(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            assert Cache(control, "kind").get("a") is None

    def test_kinds_are_kept_apart(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            Cache(control, "one").update({"a": 1})
            assert Cache(control, "two").get("a") is None

    def test_a_later_fact_counts(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            cache = Cache(control, "kind")
            cache.update({"a": 1})
            cache.update({"a": 2})
            assert cache.get("a") == 2
            assert Cache(control, "kind").get("a") == 2

    def test_what_is_known_is_not_written_again(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            Cache(control, "kind").update({"a": 1})
            size = (tmp_path / "cache" / "kind.jsonl").stat().st_size
            Cache(control, "kind").update({"a": 1})
            assert (tmp_path / "cache" / "kind.jsonl").stat().st_size == size

    @pytest.mark.parametrize(
        "line",
        [b'["a", 1', b"null", b"7", b"[]", b"[[], 1]", b'["a"]', b"{}", b"\xff", DEEP],
        ids=lambda line: repr(line[:12]),
    )
    def test_a_line_that_a_crash_cut_or_that_is_no_fact_is_skipped(
        self, tmp_path: Path, line: bytes
    ) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "kind.jsonl").write_bytes(line)
        with Directory.open(str(tmp_path)) as control:
            Cache(control, "kind").update({"b": 2})
            cache = Cache(control, "kind")
            assert (cache.get("a"), cache.get("b")) == (None, 2)

    def test_without_a_layout_of_our_own_it_lasts_as_long_as_the_program(self) -> None:
        cache = Cache(None, "kind")
        cache.update({"a": 1})
        assert cache.get("a") == 1

    def test_a_read_only_folder_is_no_failure(self, tmp_path: Path) -> None:
        with read_only(tmp_path), Directory.open(str(tmp_path)) as control:
            cache = Cache(control, "kind")
            cache.update({"a": 1})
            assert cache.get("a") == 1
        assert os.listdir(tmp_path) == []

    def test_it_can_be_deleted_at_any_time(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            cache = Cache(control, "kind")
            cache.update({"a": 1})
            (tmp_path / "cache" / "kind.jsonl").unlink()
            (tmp_path / "cache").rmdir()
            cache.update({"b": 2})
            later = Cache(control, "kind")
            assert (later.get("a"), later.get("b")) == (None, 2)

    @pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
    def test_something_else_in_its_place_is_no_failure(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "cache").mkdir()
        path = tmp_path / "cache" / "kind.jsonl"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.mkdir()
        with Directory.open(str(tmp_path)) as control, time_limit(10, "the cache"):
            cache = Cache(control, "kind")
            cache.update({"a": 1})
            assert cache.get("a") == 1
