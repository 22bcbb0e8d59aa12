"""Undoing a collection: what comes back, what is left alone, and what the trash promises."""

import datetime as dt
import time
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, NotFound
from ocitool.garbage import Choice, plan, purge, remove, sweep, undo
from ocitool.images.lookup import find_image
from ocitool.oci import Descriptor
from ocitool.operations.restore import name_history
from ocitool.places.layout import Layout, untag
from ocitool.places.layout.trash import trash_contents
from tests.support.images import blob_path
from tests.support.layouts import A, B, blobs_in, bring, image, names_of, store
from tests.support.stores import assert_whole, contents

IMAGE, OTHER = image("a"), image("b")
DAY = 86400.0


def collect(layout: Layout, *, everything: bool = False, now: float | None = None) -> int:
    """Collect at a moment and return how many images went."""
    moment = time.time() if now is None else now
    found = plan(layout, Choice(everything=everything), now=moment)
    return len(sweep(layout, found, now=moment).images)


def test_names_images_and_their_history_come_back(tmp_path: Path) -> None:
    with store(tmp_path) as layout:
        bring(layout, IMAGE, A, B)
        before = contents(tmp_path)
        assert collect(layout, everything=True) == 1
        assert (layout.roots(), blobs_in(tmp_path)) == ((), set())
        undone = undo(layout)
        assert set(undone.names) == {A, B}
        assert contents(tmp_path) == before
        digests = [one.digest for one in name_history(layout, A)]
        assert digests == [str(IMAGE.descriptor.digest), None, str(IMAGE.descriptor.digest)]
    assert_whole(tmp_path)


def test_a_name_that_has_moved_since_is_never_overwritten(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        collect(layout, everything=True)
        bring(layout, OTHER, A)
        undone = undo(layout)
        assert [(change.name, change.new) for change in undone.kept] == [
            (A, OTHER.descriptor.digest)
        ]
        assert names_of(layout) == {A: str(OTHER.descriptor.digest)}
        assert find_image(layout, str(IMAGE.descriptor.digest)).root.names == ()
    assert_whole(tmp_path)


def test_a_blob_that_was_stored_again_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        collect(layout)
        bring(layout, IMAGE, B)
        inode = (tmp_path / blob_path(IMAGE.descriptor)).stat().st_ino
        assert undo(layout).blobs == 0
        assert (tmp_path / blob_path(IMAGE.descriptor)).stat().st_ino == inode
        assert names_of(layout) == {B: str(IMAGE.descriptor.digest)}
    assert_whole(tmp_path)


def test_an_image_of_which_a_part_is_gone_stays_in_the_trash_until_it_is_back(
    tmp_path: Path,
) -> None:
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A, B])
        collect(layout)
        missing = next((tmp_path / ".ocitool" / "trash").rglob(IMAGE.config.digest.hex))
        data = missing.read_bytes()
        missing.unlink()
        undone = undo(layout)
        assert undone.lost == (IMAGE.descriptor.digest,)
        assert undone.blobs == len(OTHER.blobs)
        assert [r.descriptor.digest for r in layout.roots()] == [OTHER.descriptor.digest]
        assert_whole(tmp_path)
        assert undo(layout).lost == (IMAGE.descriptor.digest,)
        (tmp_path / "blobs" / "sha256" / IMAGE.config.digest.hex).write_bytes(data)
        again = undo(layout)
        assert (again.lost, again.images) == ((), (IMAGE.descriptor.digest,))
        assert trash_contents(layout.control).runs == ()
    assert_whole(tmp_path)


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
def test_an_image_of_which_a_part_was_damaged_in_the_trash_does_not_come_back(
    tmp_path: Path, part: str
) -> None:
    parts = {"layer": IMAGE.layers[-1], "config": IMAGE.config, "manifest": IMAGE.descriptor}
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A, B])
        collect(layout)
        path = next((tmp_path / ".ocitool" / "trash").rglob(parts[part].digest.hex))
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        undone = undo(layout)
        assert (undone.images, undone.lost) == (
            (OTHER.descriptor.digest,),
            (IMAGE.descriptor.digest,),
        )
        assert_whole(tmp_path)
        path.write_bytes(data)
        assert undo(layout).images == (IMAGE.descriptor.digest,)
    assert_whole(tmp_path)


@pytest.mark.parametrize("damage", [b"{garbage", b"", b"[]", b'{"time": 1}'])
def test_a_damaged_run_cannot_be_undone_and_is_no_obstacle_to_anything_else(
    tmp_path: Path, damage: bytes
) -> None:
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A])
        collect(layout)
        next((tmp_path / ".ocitool" / "trash").rglob("run.json")).write_bytes(damage)
        with pytest.raises(IntegrityError, match="cannot be undone") as caught:
            undo(layout)
        assert "--purge" in (caught.value.hint or "")
        assert collect(layout) == 0
        assert len(trash_contents(layout.control).runs) == 1
        assert name_history(layout, A)
        untag(layout, [B])
        assert collect(layout) == 1
        assert len(trash_contents(layout.control).runs) == 1
        assert undo(layout).images == (OTHER.descriptor.digest,)
    assert_whole(tmp_path)


def test_a_damaged_run_can_be_purged(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A])
        collect(layout)
        next((tmp_path / ".ocitool" / "trash").rglob("run.json")).write_bytes(b"{")
        assert purge(layout)[0] == len(IMAGE.blobs)
        assert trash_contents(layout.control).runs == ()


def test_the_next_run_that_removes_something_empties_the_trash(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A])
        collect(layout)
        collect(layout)
        assert trash_contents(layout.control).blobs == len(IMAGE.blobs)
        untag(layout, [B])
        collect(layout)
        assert trash_contents(layout.control).blobs == len(OTHER.blobs)
        assert undo(layout).images == (OTHER.descriptor.digest,)
        with pytest.raises(NotFound):
            undo(layout)


@pytest.mark.parametrize(("later", "waits"), [(DAY - 60, True), (DAY + 60, False)])
def test_the_trash_is_emptied_after_a_day_by_a_run_that_removes_nothing(
    tmp_path: Path, later: float, waits: bool
) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        collect(layout)
        collect(layout, now=time.time() + later)
        assert bool(trash_contents(layout.control).blobs) is waits


def test_a_blob_in_the_trash_is_not_one_that_the_store_has(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        collect(layout)
        for digest, data in IMAGE.blobs.items():
            descriptor = Descriptor(media_type="x/y", digest=digest, size=len(data))
            assert not layout.has(descriptor)


def test_what_waits_is_told_as_waiting_and_not_as_freed(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        now = time.time()
        swept = sweep(layout, plan(layout, now=now), now=now)
        size = sum(len(data) for data in IMAGE.blobs.values())
        assert (swept.waiting, swept.freed) == (size, 0)
        assert purge(layout) == (len(IMAGE.blobs), size)
        assert trash_contents(layout.control).runs == ()


def test_a_run_is_dated_by_the_clock_that_it_was_given(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        collect(layout, now=dt.datetime(2030, 1, 2, tzinfo=dt.UTC).timestamp())
        assert trash_contents(layout.control).since == "2030-01-02T00:00:00Z"


def test_what_rm_removed_comes_back_as_well(tmp_path: Path) -> None:
    with store(tmp_path, b=OTHER) as layout:
        bring(layout, IMAGE, A)
        before = contents(tmp_path)
        removal = remove(layout, [find_image(layout, "a:1")])
        assert removal.waiting == sum(map(len, IMAGE.blobs.values()))
        assert trash_contents(layout.control).blobs == len(IMAGE.blobs)
        undone = undo(layout)
        assert (undone.images, undone.names) == ((IMAGE.descriptor.digest,), (A,))
        assert contents(tmp_path) == before
        with pytest.raises(NotFound, match="nothing to undo") as caught:
            undo(layout)
        assert "brought back or purged" in (caught.value.hint or "")
    assert_whole(tmp_path)


def test_rm_empties_the_trash_of_the_run_before_and_says_how_much(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A])
        collect(layout)
        removal = remove(layout, [find_image(layout, "b:1")])
        assert removal.freed == sum(map(len, IMAGE.blobs.values()))
        assert undo(layout).images == (OTHER.descriptor.digest,)
