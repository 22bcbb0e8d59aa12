"""A store that other tools write to as well: what they remove, and what they are about to add."""

import json
import os
import time
from pathlib import Path

import pytest

from ocitool.errors import NotFound
from ocitool.garbage import Choice, plan, sweep, undo
from ocitool.operations.restore import name_history, restore
from ocitool.places.layout import untag
from tests.support.images import blob_path, build_index
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


class TestWrittenByAnotherTool:
    @staticmethod
    def write(path: Path, age: float) -> Path:
        """Store a blob as another tool does: without a lease, and before index.json."""
        blob = path / blob_path(OTHER.layers[0])
        blob.write_bytes(OTHER.blobs[OTHER.layers[0].digest])
        os.utime(blob, (time.time() - age, time.time() - age))
        return blob

    @pytest.mark.parametrize(("age", "stays"), [(0, True), (590, True), (610, False)])
    def test_a_blob_without_an_image_stays_for_ten_minutes(
        self, tmp_path: Path, age: float, *, stays: bool
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            blob = self.write(tmp_path, age)
            found = plan(layout, now=time.time())
            assert (len(found.blobs), found.young) == (0, 1) if stays else (1, 0)
            sweep(layout, found, now=time.time())
        assert blob.exists() == stays

    def test_it_stays_when_it_is_written_again_after_the_plan(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            self.write(tmp_path, 700)
            found = plan(layout, now=time.time())
            blob = self.write(tmp_path, 0)
            assert sweep(layout, found, now=time.time()).blobs == ()
        assert blob.exists()

    def test_a_grace_that_is_given_holds_for_it_too(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            self.write(tmp_path, 0)
            assert len(plan(layout, Choice(grace=0.0), now=time.time()).blobs) == 1

    def test_an_image_that_lost_its_name_needs_no_age(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            assert len(plan(layout, now=time.time()).blobs) == len(IMAGE.blobs)

    def test_it_does_not_take_the_place_of_the_images_in_the_trash(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            sweep(layout, plan(layout, now=time.time()), now=time.time())
            self.write(tmp_path, 700)
            assert len(sweep(layout, plan(layout, now=time.time()), now=time.time()).blobs) == 1
            assert undo(layout).images == (IMAGE.descriptor.digest,)
            assert plan(layout, now=time.time()).young == 0


@pytest.mark.parametrize("ending", ["", ".sig"])
def test_an_ordinary_image_whose_tag_looks_like_a_digest_goes_as_any_other(
    tmp_path: Path, ending: str
) -> None:
    with store(tmp_path) as layout:
        bring(layout, IMAGE, f"docker.io/library/a:sha256-{'12' * 32}{ending}")
        found = plan(layout, Choice(everything=True), now=time.time())
        assert [image.digest for image in found.images] == [IMAGE.descriptor.digest]
