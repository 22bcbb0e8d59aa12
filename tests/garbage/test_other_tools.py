"""A store that other tools write to as well: what they remove, and what they are about to add."""

import json
import time
from pathlib import Path

import pytest

from ocitool.errors import NotFound
from ocitool.garbage import Choice, plan, sweep, undo
from ocitool.operations.restore import name_history, restore
from tests.support.images import build_index
from tests.support.layouts import A, B, bring, entries, image, names_of, store
from tests.support.stores import assert_whole

IMAGE, OTHER = image("a"), image("b")
ID = str(IMAGE.descriptor.digest)


def take_out(path: Path, name: str) -> None:
    """Remove the entries of a name from index.json, as `umoci rm` does; ocitool is not told."""
    kept = [one for one in entries(path) if name not in one.get("annotations", {}).values()]
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": kept}))


class TestRemovedByAnotherTool:
    def test_the_reflog_knows_the_image_and_restores_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            take_out(tmp_path, A)
            now, before = name_history(layout, A)
            assert (now.digest, before.digest, before.state) == (None, ID, "nameless")
            restore(layout, A, 1)
            assert names_of(layout)[A] == ID
        assert_whole(tmp_path)

    def test_gc_counts_an_image_that_lost_its_name_and_can_be_undone(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            take_out(tmp_path, A)
            found = plan(layout, now=time.time())
            (gone,) = found.images
            assert (str(gone.digest), gone.former, gone.lost) == (ID, A, None)
            assert {blob.image for blob in found.blobs} == {IMAGE.descriptor.digest}
            swept = sweep(layout, found, now=time.time())
            assert [one.digest for one in swept.images] == [IMAGE.descriptor.digest]
            assert_whole(tmp_path)
            assert undo(layout).images == (IMAGE.descriptor.digest,)
            restore(layout, A, 1)
            assert set(names_of(layout)) == {A, B}
        assert_whole(tmp_path)

    def test_what_was_named_again_since_the_plan_stays(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            take_out(tmp_path, A)
            found = plan(layout, now=time.time())
            bring(layout, IMAGE, B)
            assert sweep(layout, found, now=time.time()).images == ()
        assert_whole(tmp_path)

    def test_a_part_of_another_image_is_no_image_of_its_own(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, build_index([IMAGE, OTHER]), B)
            take_out(tmp_path, A)
            found = plan(layout, now=time.time())
            assert (found.images, found.blobs) == ((), ())

    def test_what_is_not_whole_any_more_stops_nothing(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            take_out(tmp_path, A)
            (tmp_path / "blobs" / "sha256" / IMAGE.layers[0].digest.hex).unlink()
            found = plan(layout, Choice(unused_for=3600.0), now=time.time())
            assert found.images == ()
            with pytest.raises(NotFound):
                restore(layout, A, 1)
