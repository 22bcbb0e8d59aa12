"""What is garbage and what is not: the pitfalls of the design, one test each."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool.containers.uses import ContainerUse
from ocitool.errors import IntegrityError, Refused, UsageError
from ocitool.garbage import Choice, LabelTest, Plan, plan, sweep
from ocitool.oci import Descriptor, Digest
from ocitool.oci.manifest import build_index
from ocitool.places.layout import Layout, Writing, untag
from ocitool.places.layout.lease import Lease
from tests.support.images import (
    Built,
    BuiltIndex,
    as_json,
    blob_path,
    build_artifact,
    build_image,
    describe,
    index_file,
    named_entry,
    write_layout,
)
from tests.support.images import build_index as build_test_index
from tests.support.layouts import A, B, C, blobs_in, bring, image, store
from tests.support.stores import assert_whole

IMAGE = image("a")
OTHER = image("b")
ARM = image("arm", platform="linux/arm64")
SIGNATURE = build_artifact(IMAGE.descriptor)


def planned(layout: Layout, uses: Iterable[ContainerUse] = (), **choice: object) -> Plan:
    return plan(layout, Choice(**choice), uses=uses, now=time.time())  # type: ignore[arg-type]


def collect(layout: Layout, uses: Iterable[ContainerUse] = (), **choice: object) -> Plan:
    """Plan and sweep; what was planned is what is gone."""
    found = planned(layout, uses, **choice)
    before = blobs_in(Path(layout.path))
    swept = sweep(layout, found, now=time.time())
    gone = before - blobs_in(Path(layout.path))
    assert gone == {blob.digest.hex for blob in found.blobs}
    assert {str(d) for d in swept.blobs} == {str(blob.digest) for blob in found.blobs}
    return found


def images_of(found: Plan) -> set[Digest]:
    return {image.digest for image in found.images}


def hexes(*built: Built) -> set[str]:
    return {digest.hex for one in built for digest in one.blobs}


def age(folder: Path, seconds: float) -> None:
    """Let every blob be so old."""
    then = time.time() - seconds
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def used(*digests: str, names: tuple[str, ...] = ()) -> ContainerUse:
    return ContainerUse(
        provider="docker", id="4f0c", name="web", state="exited", digests=digests, names=names
    )


class TestDangling:
    def test_an_image_without_a_name_goes_and_its_reason_is_the_name_that_it_lost(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            untag(layout, [A])
            found = collect(layout)
        assert images_of(found) == {IMAGE.descriptor.digest}
        (gone,) = found.images
        assert gone.former == A
        assert A in gone.reason
        assert gone.size == found.size == sum(len(data) for data in IMAGE.blobs.values())
        assert blobs_in(tmp_path) == hexes(OTHER)
        assert_whole(tmp_path)

    def test_named_images_go_only_when_all_are_asked_for(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            assert planned(layout).is_empty
            assert images_of(collect(layout, everything=True)) == {IMAGE.descriptor.digest}
        assert blobs_in(tmp_path) == set()

    def test_a_pulled_digest_is_not_dangling(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, f"docker.io/library/a@{IMAGE.descriptor.digest}")
            assert planned(layout).is_empty

    def test_a_blob_that_no_image_needs_goes(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            loose = tmp_path / "blobs" / "sha256" / Digest.of(b"loose").hex
            loose.write_bytes(b"loose")
            found = collect(layout, grace=0.0)
        assert [(blob.size, blob.image) for blob in found.blobs] == [(5, None)]
        assert not loose.exists()


class TestGraphs:
    def test_pitfall_01_children_and_attestations_of_an_index_stay(self, tmp_path: Path) -> None:
        nested = build_test_index([IMAGE], others=[build_test_index([ARM], attested=True)])
        with store(tmp_path, a=nested) as layout:
            assert planned(layout).is_empty

    def test_pitfall_01_they_go_with_it(self, tmp_path: Path) -> None:
        nested = build_test_index([IMAGE], others=[build_test_index([ARM], attested=True)])
        with store(tmp_path, a=nested, b=OTHER) as layout:
            untag(layout, [A])
            collect(layout)
        assert blobs_in(tmp_path) == hexes(OTHER)

    def test_pitfall_02_a_signature_lives_as_long_as_its_image(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, SIGNATURE)
            assert planned(layout).is_empty
            untag(layout, [A])
            found = collect(layout)
        assert {i.kind for i in found.images} == {"image", "attached"}
        assert blobs_in(tmp_path) == set()

    def test_pitfall_02_a_signature_of_a_signature_goes_too(self, tmp_path: Path) -> None:
        second = build_artifact(SIGNATURE.descriptor)
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, second)
            bring(layout, SIGNATURE)
            assert planned(layout).is_empty
            untag(layout, [A])
            collect(layout)
            assert layout.roots() == ()
        assert blobs_in(tmp_path) == set()

    @pytest.mark.parametrize("ending", ["", ".sig", ".att", ".sbom"])
    def test_pitfall_03_what_is_attached_by_a_tag_goes_with_its_image(
        self, tmp_path: Path, ending: str
    ) -> None:
        tag = f"docker.io/library/a:sha256-{IMAGE.descriptor.digest.hex}{ending}"
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, build_artifact(None), tag)
            assert planned(layout).is_empty
            untag(layout, [A])
            found = collect(layout)
        assert {i.kind for i in found.images} == {"image", "attached"}
        assert blobs_in(tmp_path) == set()

    def test_an_ordinary_image_with_the_tag_of_referrers_is_not_attached(
        self, tmp_path: Path
    ) -> None:
        tag = f"docker.io/library/a:sha256-{IMAGE.descriptor.digest.hex}"
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, OTHER, tag)
            container = used(str(IMAGE.descriptor.digest))
            found = collect(layout, [container], everything=True)
        assert images_of(found) == {OTHER.descriptor.digest}
        assert blobs_in(tmp_path) == hexes(IMAGE)

    def test_pitfall_03_a_tag_cuts_a_sha512_digest(self, tmp_path: Path) -> None:
        long = build_image(algorithm="sha512")
        tag = f"docker.io/library/a:sha512-{long.descriptor.digest.hex[:64]}.sig"
        with store(tmp_path, a=long) as layout:
            bring(layout, build_artifact(None), tag)
            assert planned(layout).is_empty
            untag(layout, [A])
            collect(layout)
        assert blobs_in(tmp_path) == set()

    def test_pitfall_03_a_signature_of_one_platform_stays_with_the_index(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=build_test_index([IMAGE, ARM])) as layout:
            bring(layout, build_artifact(ARM.descriptor))
            assert planned(layout).is_empty

    def test_what_is_attached_to_nothing_here_stays_unless_it_is_asked_for(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path) as layout:
            bring(layout, SIGNATURE)
            assert planned(layout).is_empty
            assert images_of(collect(layout, orphans=True)) == {SIGNATURE.descriptor.digest}

    def test_pitfall_10_a_sparse_index_is_no_damage(self, tmp_path: Path) -> None:
        index = build_test_index([IMAGE, ARM])
        with store(tmp_path, a=index) as layout:
            (tmp_path / blob_path(ARM.descriptor)).unlink()
            for digest in ARM.blobs.keys() - IMAGE.blobs.keys() - {ARM.descriptor.digest}:
                (tmp_path / "blobs" / digest.algorithm / digest.hex).unlink()
            found = planned(layout)
        assert found.is_empty
        assert found.absent == 1

    def test_pitfall_11_a_document_of_an_unknown_type_keeps_what_looks_like_a_descriptor(
        self, tmp_path: Path
    ) -> None:
        data = b"content of an unknown kind"
        inner = describe(data, "application/x")
        outer_bytes = as_json({"things": [{"deep": {"one": inner.to_json()}}]})
        outer = describe(outer_bytes, "application/vnd.unknown.thing+json")
        folder = write_layout(tmp_path, {"1.0": IMAGE})
        for descriptor, raw in ((inner, data), (outer, outer_bytes)):
            (folder / blob_path(descriptor)).write_bytes(raw)
        entries = [named_entry(IMAGE.descriptor, "1.0"), named_entry(outer, "thing")]
        (folder / "index.json").write_bytes(index_file(entries))
        with Layout.existing(str(folder)) as layout:
            assert planned(layout, grace=0).is_empty

    def test_pitfall_11_an_artifact_is_never_dangling(self, tmp_path: Path) -> None:
        chart = build_artifact(None)
        with store(tmp_path) as layout:
            bring(layout, chart)
            assert planned(layout).is_empty
            assert planned(layout, everything=True).is_empty

    def test_pitfall_18_blobs_named_by_sha512_stay_and_go_like_others(self, tmp_path: Path) -> None:
        with store(tmp_path, a=build_image(algorithm="sha512"), b=OTHER) as layout:
            assert planned(layout).is_empty
            untag(layout, [A])
            collect(layout)
        assert blobs_in(tmp_path) == hexes(OTHER)

    def test_pitfall_19_a_digest_with_two_entries_stays_while_one_has_a_name(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            untag(layout, [A])
            assert planned(layout).is_empty
            untag(layout, [B])
            assert images_of(collect(layout)) == {IMAGE.descriptor.digest}

    def test_blobs_of_an_image_that_stays_stay_and_are_counted_for_nobody(
        self, tmp_path: Path
    ) -> None:
        shared = {"shared": b"s"}
        left, right = build_image([shared, {"l": b"l"}]), build_image([shared, {"r": b"r"}])
        with store(tmp_path, a=left, b=right) as layout:
            untag(layout, [A])
            found = collect(layout)
        assert {blob.digest.hex for blob in found.blobs} == hexes(left) - hexes(right)
        assert found.images[0].size == found.size
        assert_whole(tmp_path)

    def test_a_field_that_the_specification_does_not_know_keeps_what_it_names(
        self, tmp_path: Path
    ) -> None:
        data = b"more"
        extra = describe(data, "application/x")
        fields = json.loads(IMAGE.blobs[IMAGE.descriptor.digest])
        raw = as_json({**fields, "blobs": [extra.to_json()]})
        descriptor = describe(raw, IMAGE.descriptor.media_type)
        folder = write_layout(tmp_path, {"1.0": IMAGE})
        (folder / blob_path(extra)).write_bytes(data)
        (folder / blob_path(descriptor)).write_bytes(raw)
        (folder / "index.json").write_bytes(index_file([named_entry(descriptor, "1.0")]))
        with Layout.existing(str(folder)) as layout:
            found = planned(layout, grace=0)
        assert {blob.digest for blob in found.blobs} == {IMAGE.descriptor.digest}

    def test_a_digest_in_an_annotation_keeps_nothing(self, tmp_path: Path) -> None:
        fields = json.loads(IMAGE.blobs[IMAGE.descriptor.digest])
        base = {"org.opencontainers.image.base.digest": str(OTHER.descriptor.digest)}
        raw = as_json({**fields, "annotations": base})
        descriptor = describe(raw, IMAGE.descriptor.media_type)
        folder = write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        (folder / blob_path(descriptor)).write_bytes(raw)
        (folder / "index.json").write_bytes(index_file([named_entry(descriptor, "1.0")]))
        with Layout.existing(str(folder)) as layout:
            found = planned(layout, grace=0)
        assert OTHER.descriptor.digest in {blob.digest for blob in found.blobs}


class TestDamage:
    """An unreadable manifest that stays stops everything before anything is deleted."""

    def assert_stopped(self, layout: Layout, kind: type[Exception], match: str) -> None:
        before = blobs_in(Path(layout.path))
        with pytest.raises(kind, match=match):
            planned(layout, grace=0)
        assert blobs_in(Path(layout.path)) == before

    def test_pitfall_09_a_manifest_that_is_not_what_it_claims_stops_it(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            untag(layout, [B])
            path = tmp_path / blob_path(IMAGE.descriptor)
            path.write_bytes(b"#" * path.stat().st_size)
            self.assert_stopped(layout, IntegrityError, "garbage cannot be told from it")

    def test_pitfall_09_a_child_of_an_index_that_cannot_be_read_stops_it(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=build_test_index([IMAGE, ARM]), b=OTHER) as layout:
            untag(layout, [B])
            path = tmp_path / blob_path(ARM.descriptor)
            path.write_bytes(b"{" * path.stat().st_size)
            self.assert_stopped(layout, IntegrityError, "garbage cannot be told from it")

    @pytest.mark.parametrize("what", ["config", "manifest"])
    def test_pitfall_09_a_blob_that_an_image_needs_and_that_is_missing_stops_it(
        self, tmp_path: Path, what: str
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            untag(layout, [B])
            missing = IMAGE.config if what == "config" else IMAGE.descriptor
            (tmp_path / blob_path(missing)).unlink()
            self.assert_stopped(layout, IntegrityError, "missing")

    def test_pitfall_09_a_manifest_of_another_size_stops_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            with (tmp_path / blob_path(IMAGE.descriptor)).open("ab") as file:
                file.write(b" ")
            self.assert_stopped(layout, IntegrityError, "bytes")

    def test_pitfall_09_an_index_json_that_cannot_be_read_stops_it(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / "index.json").write_bytes(b"[]")
            self.assert_stopped(layout, IntegrityError, "index.json")

    def test_pitfall_09_a_key_that_is_there_twice_stops_it(self, tmp_path: Path) -> None:
        raw = IMAGE.blobs[IMAGE.descriptor.digest].replace(b'"layers":', b'"layers":[],"layers":')
        descriptor = describe(raw, IMAGE.descriptor.media_type)
        folder = write_layout(tmp_path, {"1.0": IMAGE})
        (folder / blob_path(descriptor)).write_bytes(raw)
        (folder / "index.json").write_bytes(index_file([named_entry(descriptor, "1.0")]))
        with Layout.existing(str(folder)) as layout:
            self.assert_stopped(layout, IntegrityError, "twice")

    @pytest.mark.parametrize("part", ["layer", "manifest"])
    def test_the_message_names_the_image(self, tmp_path: Path, part: str) -> None:
        with store(tmp_path, b=OTHER, a=IMAGE) as layout:
            missing = IMAGE.layers[0] if part == "layer" else IMAGE.descriptor
            (tmp_path / blob_path(missing)).unlink()
            self.assert_stopped(layout, IntegrityError, "^a:1 is damaged: blob .* is missing")

    def test_a_damaged_image_that_goes_anyway_stops_nothing(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            untag(layout, [A])
            path = tmp_path / blob_path(IMAGE.descriptor)
            path.write_bytes(b"#" * path.stat().st_size)
            collect(layout, grace=0.0)
        assert blobs_in(tmp_path) == hexes(OTHER)


class TestHolders:
    @pytest.mark.parametrize("by", ["config", "manifest", "short", "reference", "name"])
    def test_pitfall_17_a_container_holds_its_image_whatever_it_calls_it(
        self, tmp_path: Path, by: str
    ) -> None:
        use = {
            "config": used(str(IMAGE.config.digest)),
            "manifest": used(str(IMAGE.descriptor.digest)),
            "short": used(IMAGE.config.digest.hex[:12]),
            "reference": used(names=(f"a@{IMAGE.descriptor.digest}",)),
            "name": used(names=("a:1",)),
        }[by]
        with store(tmp_path, a=IMAGE) as layout:
            if by != "name":
                untag(layout, [A])
            found = collect(layout, [use], everything=by == "name")
        assert found.is_empty
        (kept,) = found.kept
        assert kept.digest == IMAGE.descriptor.digest
        assert [holder.name for holder in kept.holders] == ["web"]

    def test_a_container_of_one_platform_holds_the_whole_index(self, tmp_path: Path) -> None:
        with store(tmp_path, a=build_test_index([IMAGE, ARM])) as layout:
            untag(layout, [A])
            assert collect(layout, [used(str(ARM.config.digest))]).is_empty

    def test_a_signature_stays_with_an_image_that_a_container_holds(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, SIGNATURE)
            untag(layout, [A])
            assert collect(layout, [used(str(IMAGE.config.digest))]).is_empty

    def test_pitfall_04_what_a_running_command_brings_in_stays(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            bring(layout, IMAGE)
            writing.announce([IMAGE.descriptor, *map(_as_blob, IMAGE.blobs.items())])
            assert planned(layout).is_empty
        with Layout.existing(str(tmp_path)) as layout:
            assert images_of(planned(layout)) == {IMAGE.descriptor.digest}

    def test_what_a_command_claims_after_the_plan_is_spared(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE)
            found = planned(layout)
            with Writing(layout) as writing:
                writing.announce([IMAGE.descriptor, *map(_as_blob, IMAGE.blobs.items())])
                swept = sweep(layout, found, now=time.time())
            assert (swept.images, swept.blobs) == ((), ())
            assert swept.spared == 1 + len(IMAGE.blobs)
        assert blobs_in(tmp_path) == hexes(IMAGE)

    def test_an_image_that_got_a_name_after_the_plan_is_spared(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE)
            bring(layout, SIGNATURE)
            found = planned(layout)
            bring(layout, IMAGE, C)
            swept = sweep(layout, found, now=time.time())
            assert swept.images == ()
        assert_whole(tmp_path)
        assert blobs_in(tmp_path) == hexes(IMAGE, SIGNATURE)

    def test_an_image_that_came_after_the_plan_keeps_blobs_that_were_planned(
        self, tmp_path: Path
    ) -> None:
        shared = {"shared": b"s"}
        left, right = build_image([shared, {"l": b"l"}]), build_image([shared, {"r": b"r"}])
        with store(tmp_path) as layout:
            bring(layout, left)
            found = planned(layout)
            bring(layout, right, B)
            swept = sweep(layout, found, now=time.time())
            assert [i.digest for i in swept.images] == [left.descriptor.digest]
        assert blobs_in(tmp_path) == hexes(right)
        assert_whole(tmp_path)

    def test_a_container_that_came_after_the_plan_is_asked_for_again(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE)
            found = planned(layout)
            use = used(str(IMAGE.config.digest))
            swept = sweep(layout, found, now=time.time(), ask_again=lambda: [use])
            assert swept.images == ()
        assert_whole(tmp_path)


def _as_blob(item: tuple[Digest, bytes]) -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=item[0], size=len(item[1]))


class TestOtherLayouts:
    def test_every_entry_is_a_root_with_or_without_a_name(self, tmp_path: Path) -> None:
        folder = write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        entries = [named_entry(IMAGE.descriptor, None), named_entry(OTHER.descriptor, "2.0")]
        (folder / "index.json").write_bytes(index_file(entries))
        with Layout.existing(str(folder)) as layout:
            assert planned(layout, grace=0).is_empty
            found = collect(layout, grace=0, untagged=True)
        assert images_of(found) == {IMAGE.descriptor.digest}
        assert blobs_in(tmp_path) == hexes(OTHER)

    def test_all_is_refused_where_names_are_all_that_holds(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.existing(str(tmp_path)) as layout, pytest.raises(UsageError):
            planned(layout, everything=True)

    def loose(self, folder: Path, data: bytes, seconds: float) -> Path:
        path = folder / "blobs" / "sha256" / Digest.of(data).hex
        path.write_bytes(data)
        then = time.time() - seconds
        os.utime(path, (then, then))
        return path

    @pytest.mark.parametrize(("seconds", "stays"), [(60, True), (7200, False), (-9999, True)])
    def test_pitfall_04_and_07_what_is_young_or_of_the_future_stays(
        self, tmp_path: Path, seconds: float, stays: bool
    ) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        path = self.loose(tmp_path, b"loose", seconds)
        with Layout.existing(str(tmp_path)) as layout:
            found = collect(layout)
        assert path.exists() is stays
        assert found.young == stays

    def test_pitfall_05_a_young_manifest_keeps_the_old_blobs_that_it_reuses(
        self, tmp_path: Path
    ) -> None:
        write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        age(tmp_path, 9999)
        (tmp_path / "index.json").write_bytes(index_file([named_entry(IMAGE.descriptor, "1.0")]))
        os.utime(tmp_path / blob_path(OTHER.descriptor))
        with Layout.existing(str(tmp_path)) as layout:
            assert collect(layout).blobs == ()

    def test_pitfall_08_a_blob_that_another_tool_touched_after_the_plan_is_spared(
        self, tmp_path: Path
    ) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        path = self.loose(tmp_path, b"loose", 9999)
        with Layout.existing(str(tmp_path)) as layout:
            found = planned(layout)
            os.utime(path)
            assert sweep(layout, found, now=time.time()).blobs == ()
        assert path.exists()

    @pytest.mark.parametrize("below", ["", "sha256"])
    def test_pitfall_15_blobs_that_other_layouts_may_share_are_refused(
        self, tmp_path: Path, below: str
    ) -> None:
        write_layout(tmp_path / "layout", {"1.0": IMAGE})
        real = tmp_path / "layout" / "blobs" / below
        real.rename(tmp_path / "shared")
        (tmp_path / "layout" / "blobs" / below).symlink_to(tmp_path / "shared")
        with (
            Layout.existing(str(tmp_path / "layout")) as layout,
            pytest.raises(Refused, match="is a link"),
        ):
            planned(layout, grace=0)

    def test_pitfall_15_a_blob_that_is_linked_elsewhere_frees_nothing(self, tmp_path: Path) -> None:
        from ocitool.garbage import purge

        write_layout(tmp_path / "layout", {"1.0": IMAGE})
        path = self.loose(tmp_path / "layout", b"loose", 9999)
        os.link(path, tmp_path / "elsewhere")
        with Layout.existing(str(tmp_path / "layout")) as layout:
            collect(layout)
        with Layout.existing(str(tmp_path / "layout")) as layout:
            assert purge(layout) == (1, 0)
        assert (tmp_path / "elsewhere").read_bytes() == b"loose"

    def test_a_dry_run_makes_nothing_in_a_layout_of_another_tool(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            planned(layout)
        assert not (tmp_path / ".ocitool").exists()


class TestLeftovers:
    @pytest.mark.parametrize(
        "path",
        [
            ".umoci-123",
            "oci-put-blob123",
            "ingest/x",
            "index.json.5.tmp",
            "index-7.json",
            "blobs/sha256/" + "ab" * 32 + ".12.tmp",
            "blobs/sha256/" + "ab" * 32 + ".tmp-1",
            "blobs/sha256/" + "ab" * 32 + "123456",
        ],
    )
    @pytest.mark.parametrize(("seconds", "goes"), [(3600, False), (90000, True)])
    def test_pitfall_14_temporary_files_of_other_tools_go_when_they_are_old(
        self, tmp_path: Path, path: str, seconds: float, goes: bool
    ) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"left")
        then = time.time() - seconds
        os.utime(file, (then, then))
        with Layout.existing(str(tmp_path)) as layout:
            found = planned(layout)
            assert [leftover.path for leftover in found.leftovers] == ([path] if goes else [])
            assert found.unknown_files == ()
            swept = sweep(layout, found, now=time.time())
        assert file.exists() is not goes
        assert (swept.leftovers, swept.freed) == ((1, 4) if goes else (0, 0))

    def test_pitfall_14_a_temporary_folder_that_somebody_locks_stays(self, tmp_path: Path) -> None:
        import fcntl

        write_layout(tmp_path, {"1.0": IMAGE})
        folder = tmp_path / ".umoci-1"
        folder.mkdir()
        os.utime(folder, (1, 1))
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with Layout.existing(str(tmp_path)) as layout:
                assert planned(layout).leftovers == ()
        finally:
            os.close(descriptor)

    def test_pitfall_14_what_nobody_knows_is_told_of_and_stays(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        stray = tmp_path / "blobs" / "sha256" / "README"
        stray.write_bytes(b"?")
        os.utime(stray, (1, 1))
        with Layout.existing(str(tmp_path)) as layout:
            found = collect(layout)
        assert found.unknown_files == ("blobs/sha256/README",)
        assert stray.exists()

    def test_parts_of_downloads_go_after_a_week_or_when_the_blob_is_there(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            ingest = tmp_path / ".ocitool" / "ingest"
            ingest.mkdir()
            fresh, old = ingest / f"sha256-{'11' * 32}", ingest / f"sha256-{'22' * 32}"
            whole = ingest / f"sha256-{IMAGE.config.digest.hex}"
            for part in (fresh, old, whole):
                part.write_bytes(b"part")
                part.with_name(f"{part.name}.ranges").write_bytes(b"0 4\n")
            then = time.time() - 8 * 86400
            os.utime(old, (then, then))
            found = planned(layout)
            assert len(found.leftovers) == 4
            swept = sweep(layout, found, now=time.time())
        assert swept.leftovers == 4
        assert sorted(path.name for path in ingest.iterdir()) == sorted(
            [fresh.name, f"{fresh.name}.ranges"]
        )

    def test_temporary_files_of_dead_commands_go_and_are_counted(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / ".ocitool" / "tmp" / "dead.1").write_bytes(b"12345")
            found = planned(layout)
            swept = sweep(layout, found, now=time.time())
        assert (swept.leftovers, swept.freed) == (1, 5)


class TestChoices:
    def test_only_what_was_not_used_for_so_long(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            age(tmp_path, 9999)
            os.utime(tmp_path / blob_path(OTHER.descriptor))
            found = collect(layout, everything=True, unused_for=3600.0)
        assert images_of(found) == {IMAGE.descriptor.digest}

    def test_pitfall_20_the_date_of_a_build_says_nothing_about_use(self, tmp_path: Path) -> None:
        with store(tmp_path, a=build_image(config={"created": "1970-01-01T00:00:00Z"})) as layout:
            assert planned(layout, everything=True, unused_for=3600.0).is_empty

    def test_an_image_that_lost_its_name_just_now_was_used_just_now(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            age(tmp_path, 9999)
            assert planned(layout, unused_for=3600.0).is_empty

    @pytest.mark.parametrize(
        ("test", "goes"),
        [
            (LabelTest(key="team"), True),
            (LabelTest(key="team", value="a"), True),
            (LabelTest(key="team", value="b"), False),
            (LabelTest(key="team", wanted=False), False),
            (LabelTest(key="other", wanted=False), True),
        ],
    )
    def test_only_what_has_a_label(self, tmp_path: Path, test: LabelTest, goes: bool) -> None:
        with store(tmp_path, a=build_image(config={"config": {"Labels": {"team": "a"}}})) as layout:
            assert planned(layout, everything=True, labels=(test,)).is_empty is not goes

    @pytest.mark.parametrize(("pattern", "goes"), [("a", True), ("a:*", True), ("b*", False)])
    def test_only_what_is_or_was_called_so(self, tmp_path: Path, pattern: str, goes: bool) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            assert planned(layout, everything=True, references=(pattern,)).is_empty is not goes
            untag(layout, [A])
            assert planned(layout, references=(pattern,)).is_empty is not goes

    def test_the_last_of_each_repository_stay(self, tmp_path: Path) -> None:
        built = [image(str(number)) for number in range(4)]
        with store(tmp_path) as layout:
            for number, one in enumerate(built):
                bring(layout, one, f"docker.io/library/a:{number}")
                path = tmp_path / blob_path(one.descriptor)
                os.utime(path, (number * 10, number * 10))
            bring(layout, OTHER, B)
            found = collect(layout, everything=True, keep_last=2)
        assert images_of(found) == {one.descriptor.digest for one in built[:2]}

    def test_a_grace_keeps_images_that_came_a_moment_ago(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            found = collect(layout, grace=3600.0)
            assert found.is_empty
            assert found.kept[0].reason == "it is not old enough"
            age(tmp_path, 9999)
            assert not collect(layout, grace=3600.0).is_empty


def test_an_index_with_an_attached_subject_is_attached(tmp_path: Path) -> None:
    raw = json.loads(build_index([ARM.descriptor]))
    raw["subject"] = IMAGE.descriptor.to_json()
    data = as_json(raw)
    descriptor = describe(data, "application/vnd.oci.image.index.v1+json")
    blobs = {**ARM.blobs, descriptor.digest: data}
    attached = replace(build_test_index([ARM]), descriptor=descriptor, blobs=blobs)
    assert isinstance(attached, BuiltIndex)
    with store(tmp_path, a=IMAGE) as layout:
        bring(layout, attached)
        assert planned(layout).is_empty
        untag(layout, [A])
        collect(layout)
    assert blobs_in(tmp_path) == set()


def test_what_a_lease_holds_may_be_a_recent_push(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        untag(layout, [A])
        assert layout.control is not None
        lease = Lease.take(layout.control)
        lease.add([IMAGE.descriptor.digest])
        reasons = [one.reason for one in planned(layout, everything=True).kept]
        lease.release()
    assert reasons == [
        "a running command uses it, or a client of `registry serve` pushed it within an hour"
    ]
