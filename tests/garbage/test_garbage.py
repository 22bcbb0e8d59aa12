"""Removing images: the name first, then what nothing else needs, and never more."""

import dataclasses
import datetime as dt
import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from ocitool.containers.uses import ContainerUse
from ocitool.errors import IntegrityError, NotFound, OcitoolError, Refused
from ocitool.garbage import Removal, explain, plan, remove, sweep, undo
from ocitool.image.content import Blob
from ocitool.images.lookup import Found, find_image
from ocitool.oci import Descriptor
from ocitool.operations.pin import pin
from ocitool.operations.verify import verify
from ocitool.places.layout import Layout, Writing, untag
from tests.support.disk import traced
from tests.support.images import (
    Built,
    BuiltImage,
    as_json,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    describe,
    write_layout,
)
from tests.support.layouts import A, B, blobs_in, bring, entries, image, names_of, store
from tests.support.stores import assert_whole, contents

IMAGE = image("a")
OTHER = image("b")
SHARED = {"shared": b"a layer of both"}
LEFT = build_image([SHARED, {"left": b"l"}])
RIGHT = build_image([SHARED, {"right": b"r"}])
ARM = image("arm", platform="linux/arm64")
SIGNATURE = build_artifact(IMAGE.descriptor)
UNKNOWN = "application/vnd.example.unknown.v1+json"


def rm(layout: Layout, *texts: str, force: bool = False) -> Removal:
    return remove(layout, [find_image(layout, text) for text in texts], force=force)


def hexes(*built: Built) -> set[str]:
    return {digest.hex for one in built for digest in one.blobs}


def keeper_of(built: BuiltImage) -> tuple[Built, Descriptor]:
    """Return an index of one document of a type that is known nowhere, and that document.

    It is the manifest of an image otherwise, so it names what the image needs.
    """
    manifest = json.loads(built.manifest) | {"mediaType": UNKNOWN}
    data = as_json(manifest)
    unknown = describe(data, UNKNOWN)
    index = build_index([], fields={"manifests": [unknown.to_json()]})
    return dataclasses.replace(index, blobs={**index.blobs, unknown.digest: data}), unknown


def damage(folder: Path, descriptor: Descriptor) -> None:
    path = folder / blob_path(descriptor)
    path.write_bytes(b"#" * path.stat().st_size)


class TestNames:
    def test_the_last_name_takes_the_image_with_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            removal = rm(layout, "a:1")
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()
        assert [(c.name, c.old, c.new) for c in removal.dropped] == [
            (A, IMAGE.descriptor.digest, None)
        ]
        assert removal.images == (IMAGE.descriptor.digest,)
        assert set(removal.blobs) == set(IMAGE.blobs)
        assert removal.waiting == sum(len(data) for data in IMAGE.blobs.values())
        assert removal.freed == 0

    def test_one_of_several_names_takes_nothing_with_it(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            removal = rm(layout, "a:1")
            assert list(names_of(layout)) == [B]
        assert (removal.images, removal.blobs, removal.freed) == ((), (), 0)
        assert_whole(tmp_path)

    def test_all_names_at_once_take_the_image_with_them(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            removal = rm(layout, "a:1", "b:1")
            assert layout.roots() == ()
        assert [change.name for change in removal.dropped] == [A, B]
        assert blobs_in(tmp_path) == set()

    def test_an_id_of_an_image_with_one_name_removes_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            rm(layout, IMAGE.config.digest.hex)
            assert layout.roots() == ()

    def test_an_id_of_an_image_with_several_names_needs_force(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            before = contents(tmp_path)
            with pytest.raises(Refused, match=r"a:1.*b:1") as caught:
                rm(layout, IMAGE.config.digest.hex)
            assert "--force" in (caught.value.hint or "")
            assert contents(tmp_path) == before
            rm(layout, IMAGE.config.digest.hex, force=True)
            assert layout.roots() == ()

    def test_an_image_without_a_name_is_removed_by_its_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            untag(layout, [A])
            removal = rm(layout, IMAGE.descriptor.digest.hex)
            assert removal.dropped == ()
            assert list(names_of(layout)) == [B]
        assert blobs_in(tmp_path) == hexes(OTHER)

    def test_a_name_that_went_in_the_meantime_is_not_found_and_nothing_is_done(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            found = [find_image(layout, "b:1"), find_image(layout, "a:1")]
            untag(layout, [A])
            before = contents(tmp_path)
            with pytest.raises(NotFound, match="a:1"):
                remove(layout, found)
            assert contents(tmp_path) == before

    def test_a_name_that_moved_in_the_meantime_takes_no_image_that_it_no_longer_names(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            found = find_image(layout, "a:1")
            bring(layout, OTHER, A)
            remove(layout, [found])
            assert [root.descriptor.digest for root in layout.roots()] == [IMAGE.descriptor.digest]
        assert_whole(tmp_path)

    def test_a_label_of_a_foreign_layout_is_a_name_too(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        with Layout.create(str(tmp_path)) as layout:
            remove(layout, [find_image(layout, "1.0")])
            assert [root.label for root in layout.roots()] == ["2.0"]
        assert blobs_in(tmp_path) == hexes(OTHER)


class TestWhatStays:
    def test_blobs_of_two_images_stay_with_the_other(self, tmp_path: Path) -> None:
        with store(tmp_path, a=LEFT, b=RIGHT) as layout:
            removal = rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(RIGHT)
        assert {digest.hex for digest in removal.blobs} == hexes(LEFT) - hexes(RIGHT)
        assert_whole(tmp_path)

    def test_blobs_of_two_images_go_with_the_last(self, tmp_path: Path) -> None:
        with store(tmp_path, a=LEFT, b=RIGHT) as layout:
            rm(layout, "a:1")
            rm(layout, "b:1")
        assert blobs_in(tmp_path) == set()

    def test_an_image_without_a_name_keeps_its_blobs(self, tmp_path: Path) -> None:
        with store(tmp_path, a=LEFT, b=RIGHT) as layout:
            untag(layout, [B])
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(RIGHT)

    def test_a_child_that_is_also_in_another_index_stays(self, tmp_path: Path) -> None:
        one = build_index([IMAGE, ARM])
        two = build_index([ARM, OTHER])
        with store(tmp_path, a=one, b=two) as layout:
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(two)
        assert_whole(tmp_path)

    def test_a_child_of_a_nested_index_that_is_an_image_too_stays(self, tmp_path: Path) -> None:
        outer = build_index([OTHER], others=[build_index([IMAGE, ARM])])
        with store(tmp_path, a=outer, b=ARM) as layout:
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(ARM)
        assert_whole(tmp_path)

    def test_an_index_of_which_a_child_was_removed_as_an_image_stays_whole(
        self, tmp_path: Path
    ) -> None:
        index = build_index([IMAGE, ARM])
        with store(tmp_path, a=IMAGE, b=index) as layout:
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(index)
        assert_whole(tmp_path)

    def test_attestations_go_with_their_index(self, tmp_path: Path) -> None:
        with store(tmp_path, a=build_index([IMAGE], attested=True)) as layout:
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == set()

    def test_an_absent_child_of_what_stays_is_no_obstacle(self, tmp_path: Path) -> None:
        sparse = build_index([IMAGE, ARM])
        with store(tmp_path, a=OTHER, b=sparse) as layout:
            for descriptor in (ARM.descriptor, ARM.config, *ARM.layers):
                (tmp_path / blob_path(descriptor)).unlink(missing_ok=True)
            rm(layout, "a:1")
            assert list(names_of(layout)) == [B]
        assert blobs_in(tmp_path) == hexes(sparse) - hexes(ARM)

    def test_a_manifest_stays_whole_when_another_image_has_it_for_a_layer(
        self, tmp_path: Path
    ) -> None:
        # The digest of the manifest is met first as the digest of some opaque file.
        opaque = describe(RIGHT.manifest, "application/octet-stream")
        carrier = build_artifact(None, RIGHT.manifest)
        assert carrier.content.digest == opaque.digest == RIGHT.descriptor.digest
        with store(tmp_path) as layout:
            bring(layout, carrier, "docker.io/library/carrier:1")
            bring(layout, RIGHT, B)
            bring(layout, LEFT, A)
            rm(layout, "a:1")
        assert_whole(tmp_path)

    def test_verify_follows_a_manifest_that_another_image_has_for_a_layer(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path) as layout:
            bring(layout, build_artifact(None, RIGHT.manifest), "docker.io/library/carrier:1")
            bring(layout, RIGHT, B)
            (tmp_path / blob_path(RIGHT.layers[0])).unlink()
            assert [p.subject for p in verify(layout).problems] == [str(RIGHT.layers[0].digest)]

    def test_what_a_document_of_an_unknown_type_names_stays_as_gc_says(
        self, tmp_path: Path
    ) -> None:
        keeper, unknown = keeper_of(LEFT)
        with store(tmp_path, a=LEFT, keep=keeper) as layout:
            found = plan(layout, now=time.time(), paths=True)
            assert explain(layout, found, str(LEFT.layers[0].digest)).state == "kept"
            rm(layout, "a:1")
            assert verify(layout).unreferenced == ()
        assert blobs_in(tmp_path) == {unknown.digest.hex, keeper.descriptor.digest.hex} | {
            part.digest.hex for part in (LEFT.config, *LEFT.layers)
        }

    def test_a_blob_that_a_running_command_claims_stays(self, tmp_path: Path) -> None:
        with (
            store(tmp_path, a=IMAGE) as layout,
            Layout.existing(str(tmp_path)) as same,
            Writing(same) as writing,
        ):
            writing.announce(IMAGE.layers)
            assert writing.has(IMAGE.layers[0])
            removal = rm(layout, "a:1")
            assert blobs_in(tmp_path) == {layer.digest.hex for layer in IMAGE.layers}
            assert not set(removal.blobs) & {layer.digest for layer in IMAGE.layers}

    def test_files_that_no_image_needs_are_not_its_business(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / "blobs" / "sha256" / "README").write_bytes(b"")
            with Writing(layout) as writing:
                writing.put(OTHER.config, lambda: _blob(OTHER, OTHER.config))
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == {"README", OTHER.config.digest.hex}


def _blob(built: Built, descriptor: Descriptor) -> Blob:
    return Blob.of(descriptor, built.blobs[descriptor.digest], where="the test")


class TestDamage:
    @pytest.mark.parametrize("how", ["damaged", "missing"])
    def test_nothing_is_deleted_when_another_manifest_cannot_be_read(
        self, tmp_path: Path, how: str
    ) -> None:
        with store(tmp_path, a=LEFT, b=RIGHT) as layout:
            if how == "missing":
                (tmp_path / blob_path(RIGHT.descriptor)).unlink()
            else:
                damage(tmp_path, RIGHT.descriptor)
            before = contents(tmp_path)
            with pytest.raises(OcitoolError):
                rm(layout, "a:1")
            assert contents(tmp_path) == before

    def test_a_missing_image_is_missed_even_where_an_index_may_lack_it(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=build_index([OTHER, ARM])) as layout:
            bring(layout, ARM, "docker.io/library/c:1")
            (tmp_path / blob_path(ARM.descriptor)).unlink()
            assert [p.subject for p in verify(layout).problems] == [str(ARM.descriptor.digest)]
            before = contents(tmp_path)
            with pytest.raises(NotFound, match="missing"):
                rm(layout, "a:1")
            assert contents(tmp_path) == before

    def test_nothing_is_deleted_when_a_child_of_another_index_is_damaged(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=build_index([OTHER, ARM])) as layout:
            damage(tmp_path, ARM.descriptor)
            before = contents(tmp_path)
            with pytest.raises(IntegrityError):
                rm(layout, "a:1")
            assert contents(tmp_path) == before

    def test_a_damaged_layer_of_another_image_is_no_obstacle(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            damage(tmp_path, OTHER.layers[0])
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(OTHER)

    def test_a_damaged_image_can_be_removed(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            damage(tmp_path, IMAGE.descriptor)
            rm(layout, "a:1")
            assert list(names_of(layout)) == [B]
        assert IMAGE.descriptor.digest.hex not in blobs_in(tmp_path)
        assert hexes(OTHER) <= blobs_in(tmp_path)

    def test_an_image_that_lacks_a_blob_can_be_removed(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / blob_path(IMAGE.layers[0])).unlink()
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == set()


class TestAttachedArtifacts:
    def test_they_go_with_their_subject(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, SIGNATURE)
            removal = rm(layout, "a:1")
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()
        assert set(removal.images) == {IMAGE.descriptor.digest, SIGNATURE.descriptor.digest}

    def test_a_tag_of_cosign_attaches_them_too_and_the_reflog_knows_it(
        self, tmp_path: Path
    ) -> None:
        tag = f"docker.io/library/a:sha256-{IMAGE.descriptor.digest.hex}.sig"
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, build_artifact(None), tag)
            removal = rm(layout, "a:1")
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()
        assert [change.name for change in removal.dropped] == [A, tag]

    def test_they_stay_while_another_name_keeps_the_subject(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            bring(layout, SIGNATURE)
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(IMAGE, SIGNATURE)

    def test_they_stay_while_an_index_keeps_the_subject(self, tmp_path: Path) -> None:
        index = build_index([IMAGE, ARM])
        with store(tmp_path, a=IMAGE, b=index) as layout:
            bring(layout, SIGNATURE)
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(index, SIGNATURE)
        assert_whole(tmp_path)

    def test_they_go_with_the_index_around_their_subject(self, tmp_path: Path) -> None:
        with store(tmp_path, a=build_index([IMAGE, ARM])) as layout:
            bring(layout, SIGNATURE)
            rm(layout, "a:1")
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()

    def test_an_artifact_of_an_artifact_goes_too(self, tmp_path: Path) -> None:
        second = build_artifact(SIGNATURE.descriptor, b"a timestamp")
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, second)
            bring(layout, SIGNATURE)
            rm(layout, "a:1")
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()

    def test_an_artifact_whose_subject_was_never_here_stays(self, tmp_path: Path) -> None:
        orphan = build_artifact(ARM.descriptor)
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, orphan)
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(orphan)

    def test_an_artifact_with_a_name_of_its_own_stays(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, SIGNATURE, "docker.io/library/signature:1")
            rm(layout, "a:1")
            assert list(names_of(layout)) == ["docker.io/library/signature:1"]
        assert blobs_in(tmp_path) == hexes(SIGNATURE)

    def test_content_that_an_artifact_shares_with_another_stays(self, tmp_path: Path) -> None:
        kept = build_artifact(OTHER.descriptor)
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            bring(layout, SIGNATURE)
            bring(layout, kept)
            rm(layout, "a:1")
        assert blobs_in(tmp_path) == hexes(OTHER, kept)
        assert_whole(tmp_path)


def test_the_entry_goes_durably_before_its_blobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store(tmp_path, a=IMAGE) as layout, traced(monkeypatch) as trace:
        rm(layout, "a:1")
    index = trace.position(f" {tmp_path}/index.json")
    durable = trace.position(f"fsync {tmp_path}")
    durable = next(n for n, c in enumerate(trace.calls) if n > index and c == f"fsync {tmp_path}")
    blobs = trace.positions(f"rename {tmp_path / 'blobs'}")
    assert len(blobs) == len(IMAGE.blobs)
    assert index < durable < min(blobs)


def test_nothing_asked_is_nothing_done(tmp_path: Path) -> None:
    nothing: Sequence[Found] = []
    with store(tmp_path, a=IMAGE) as layout:
        before = contents(tmp_path)
        assert remove(layout, nothing).images == ()
        assert contents(tmp_path) == before
    assert len(entries(tmp_path)) == 1


class TestWhatHoldsAnImage:
    def test_a_pinned_image_keeps_its_last_name_unless_forced(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            root = find_image(layout, "a:1").root
            pin(layout, [root], now=dt.datetime.now(dt.UTC), reason="release")
            before = contents(tmp_path)
            with pytest.raises(Refused, match="pinned: release") as caught:
                rm(layout, "a:1")
            assert "unpin" in (caught.value.hint or "")
            assert contents(tmp_path) == before
            rm(layout, "a:1", force=True)
            assert layout.roots() == ()
            assert layout.pins() == ()

    def test_one_of_several_names_of_a_pinned_image_may_go(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            pin(layout, [find_image(layout, "a:1").root], now=dt.datetime.now(dt.UTC))
            rm(layout, "a:1")
            assert list(names_of(layout)) == [B]

    def test_an_image_that_a_container_uses_keeps_its_last_name_unless_forced(
        self, tmp_path: Path
    ) -> None:
        digests = (str(IMAGE.config.digest),)
        use = ContainerUse(provider="store", id="1", name="web", state="created", digests=digests)
        with store(tmp_path, a=IMAGE) as layout:
            found = [find_image(layout, "a:1")]
            with pytest.raises(Refused, match="container web"):
                remove(layout, found, uses=[use])
            running = msgspec.structs.replace(use, state="running")
            with pytest.raises(Refused, match="container web") as caught:
                remove(layout, found, uses=[running], force=True)
            assert "stop the container" in (caught.value.hint or "")
            remove(layout, found, uses=[use], force=True)
            assert layout.roots() == ()

    def test_what_it_takes_the_place_of_in_the_trash_lacks_nothing(self, tmp_path: Path) -> None:
        with store(tmp_path, a=LEFT, b=RIGHT) as layout:
            untag(layout, [A])
            sweep(layout, plan(layout, now=time.time()), now=time.time())
            rm(layout, "b:1")
            assert blobs_in(tmp_path) == set()
            assert undo(layout).lost == ()
            assert [r.descriptor.digest for r in layout.roots()] == [RIGHT.descriptor.digest]
        assert_whole(tmp_path)
