"""A writer's time: all of it or nothing of it, durable, and nobody else is disturbed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, OcitoolError, StorageError
from ocitool.image.content import Blob
from ocitool.oci import Digest
from ocitool.places.layout import Layout, Writing
from ocitool.places.layout.lease import claimed_digests
from tests.support.disk import open_descriptors, read_only, small_disk, traced
from tests.support.images import Built, blob_path, build_image, describe, write_layout
from tests.support.layouts import (
    A,
    B,
    blob_of,
    blobs_in,
    bring,
    image,
    names_of,
    store,
    store_blobs,
    temporaries,
)
from tests.support.stores import assert_whole, contents

IMAGE = image("a")
OTHER = image("b")
DATA = b"x" * 3000
BLOB = describe(DATA, "application/octet-stream")


class Broken(Exception):
    """What goes wrong in a writer's block."""


def opener(data: bytes, opened: list[int] | None = None) -> Callable[[], Blob]:
    """Return how to open a blob that promises to be BLOB; each opening is counted."""

    def open_blob() -> Blob:
        if opened is not None:
            opened.append(1)
        return blob_of(BLOB, data)

    return open_blob


def fail_to_bring(
    layout: Layout,
    built: Built,
    name: str,
    *,
    error: type[BaseException] = Broken,
    before: Callable[[], object] | None = None,
) -> None:
    """Store an image in a block that fails at its end, after `before`."""
    with Writing(layout) as writing:
        store_blobs(writing, built)
        writing.root(built.descriptor, [name])
        if before is not None:
            before()
        raise error


def forbidden() -> Blob:
    raise AssertionError("what is stored is not opened again")


def claimed(layout: Layout) -> set[Digest]:
    assert layout.control is not None
    return claimed_digests(layout.control)


class TestPut:
    def test_what_is_put_is_there(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            with Writing(layout) as writing:
                assert not writing.has(BLOB)
                writing.put(BLOB, opener(DATA))
                assert writing.has(BLOB)
                with writing.open(BLOB) as blob:
                    assert blob.read_all(10_000) == DATA
            assert layout.has(BLOB)

    def test_what_is_there_is_not_opened_again(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            writing.put(BLOB, opener(DATA))
            writing.put(BLOB, forbidden)

    @pytest.mark.parametrize(
        "data", [DATA[:-1], DATA + b"x", b"y" + DATA[1:], b""], ids=["cut", "long", "wrong", "none"]
    )
    def test_content_that_is_not_what_was_promised_is_never_published(
        self, tmp_path: Path, data: bytes
    ) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            with pytest.raises(IntegrityError):
                writing.put(BLOB, opener(data))
            assert not writing.has(BLOB)
            assert blobs_in(tmp_path) == set()
            assert os.listdir(tmp_path / ".ocitool" / "tmp") == []

    def test_nothing_is_published_before_the_verified_end(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            seen: list[bool] = []

            def look(_: int) -> None:
                seen.append(writing.has(BLOB) or blobs_in(tmp_path) != set())

            writing.put(BLOB, lambda: blob_of(BLOB, DATA).watched(look))
            assert seen
            assert not any(seen)

    def test_a_blob_of_the_wrong_size_is_replaced(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A)
            os.truncate(tmp_path / blob_path(IMAGE.layers[0]), 3)
            bring(layout, IMAGE, A)
        assert_whole(tmp_path)

    def test_a_reused_blob_is_young_again(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            path = tmp_path / blob_path(IMAGE.layers[0])
            os.utime(path, (0, 0))
            with Writing(layout) as writing:
                assert writing.has(IMAGE.layers[0])
            assert path.stat().st_mtime > 1_000_000_000

    def test_a_link_in_place_of_a_blob_is_replaced_and_not_written_through(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").write_bytes(b"outside")
        with store(tmp_path / "s", a=IMAGE) as layout:
            path = tmp_path / "s" / "blobs" / "sha256" / BLOB.digest.hex
            path.symlink_to(tmp_path / "outside")
            with Writing(layout) as writing:
                writing.put(BLOB, opener(DATA))
        assert path.read_bytes() == DATA
        assert (tmp_path / "outside").read_bytes() == b"outside"


class TestBlobWriters:
    def test_content_is_named_by_its_digest(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            writer = writing.writer()
            writer.write(DATA[:1000])
            writer.write(DATA[1000:])
            descriptor = writer.commit("text/plain")
            writer.close()
            assert (descriptor.digest, descriptor.size) == (BLOB.digest, BLOB.size)
            assert descriptor.media_type == "text/plain"
            assert writing.has(BLOB)

    def test_committed_content_is_claimed(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            writer = writing.writer()
            writer.write(DATA)
            writer.commit("text/plain")
            assert claimed(layout) == {BLOB.digest}

    def test_what_was_not_committed_leaves_nothing(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            writer = writing.writer()
            writer.write(DATA)
            writer.close()
            writer.close()
            assert os.listdir(tmp_path / ".ocitool" / "tmp") == []
            assert blobs_in(tmp_path) == set()

    def test_content_that_is_there_already_leaves_nothing_beside_it(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, Writing(layout) as writing:
            writing.put(BLOB, opener(DATA))
            writer = writing.writer()
            writer.write(DATA)
            writer.commit("text/plain")
            writer.close()
            assert blobs_in(tmp_path) == {BLOB.digest.hex}
            assert os.listdir(tmp_path / ".ocitool" / "tmp") == []


class TestTheEndOfABlock:
    def test_names_appear_together_and_only_at_the_end(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            with Writing(layout) as writing:
                for built, name in ((IMAGE, A), (OTHER, B)):
                    store_blobs(writing, built)
                    writing.root(built.descriptor, [name])
                    assert names_of(layout) == {}
            assert list(names_of(layout)) == [A, B]

    def test_a_block_that_ends_well_leaves_no_lease_and_no_temporary_file(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A)
            assert temporaries(tmp_path) == []
        assert_whole(tmp_path)

    def test_a_block_that_fails_leaves_everything_as_it_was(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = contents(tmp_path)
            with pytest.raises(Broken):
                fail_to_bring(layout, OTHER, A)
            assert contents(tmp_path) == before
            assert temporaries(tmp_path) == []

    def test_blobs_that_were_there_survive_a_block_that_fails(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(Broken):
            fail_to_bring(layout, IMAGE, B)
        assert_whole(tmp_path)

    def test_a_failing_block_keeps_blobs_that_another_writer_claims(self, tmp_path: Path) -> None:
        with (
            store(tmp_path) as layout,
            Layout.existing(str(tmp_path)) as same,
            Writing(same) as other,
        ):
            with pytest.raises(Broken):
                fail_to_bring(layout, IMAGE, A, before=lambda: other.announce(IMAGE.layers))
            assert other.has(IMAGE.layers[0])
            assert blobs_in(tmp_path) == {IMAGE.layers[0].digest.hex}

    def test_a_failing_block_keeps_blobs_that_another_writer_has_made_its_own(
        self, tmp_path: Path
    ) -> None:
        with (
            store(tmp_path) as layout,
            Layout.existing(str(tmp_path)) as same,
            pytest.raises(Broken),
        ):
            fail_to_bring(layout, IMAGE, B, before=lambda: bring(same, IMAGE, A))
        assert_whole(tmp_path)

    def test_an_interrupted_block_cleans_up_too(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, pytest.raises(KeyboardInterrupt):
            fail_to_bring(layout, IMAGE, A, error=KeyboardInterrupt)
        assert blobs_in(tmp_path) == set()
        assert temporaries(tmp_path) == []

    def test_blobs_go_again_when_the_index_cannot_be_rewritten(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = contents(tmp_path)
            (tmp_path / ".ocitool" / "reflog").unlink()
            (tmp_path / ".ocitool" / "reflog").mkdir()
            with pytest.raises(OcitoolError, match="reflog"):
                bring(layout, OTHER, A)
            assert contents(tmp_path) == before
            assert temporaries(tmp_path) == []

    def test_a_writer_that_cannot_begin_leaves_no_lease(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            (tmp_path / "index.json").write_bytes(b"not json")
            before = open_descriptors()
            with pytest.raises(IntegrityError), Writing(layout):
                pass
            assert temporaries(tmp_path) == []
            assert open_descriptors() == before

    def test_nothing_stays_open(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = open_descriptors()
            bring(layout, OTHER, B)
            with pytest.raises(Broken), Writing(layout):
                raise Broken
            assert open_descriptors() == before

    def test_a_writer_in_a_foreign_layout_adds_the_control_folder_alone(
        self, tmp_path: Path
    ) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            bring(layout, OTHER, "2.0")
        assert sorted(os.listdir(tmp_path)) == [".ocitool", "blobs", "index.json", "oci-layout"]
        assert_whole(tmp_path)


class TestDurability:
    def test_blobs_then_their_names_then_the_reflog_then_the_index(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with store(tmp_path) as layout, traced(monkeypatch) as trace:
            bring(layout, IMAGE, A)
        base = str(tmp_path)
        renames = [call.split() for call in trace.calls if call.startswith("rename")]
        blobs = [call for call in renames if "/blobs/" in call[2]]
        assert len(blobs) == len(IMAGE.blobs)
        for _, source, target in blobs:
            assert trace.position(f"fsync {source}") < trace.position(f"rename {source} {target}")
        last_blob = max(trace.positions("/blobs/sha256/"))
        names = max(n for n, call in enumerate(trace.calls) if call == f"fsync {base}/blobs/sha256")
        reflog = trace.position(f"fsync {base}/.ocitool/reflog")
        data = trace.position(f"fsync {base}/.ocitool/tmp/index.json.")
        index = trace.position(f" {base}/index.json")
        entry = max(n for n, call in enumerate(trace.calls) if call == f"fsync {base}")
        assert last_blob < names < reflog < data < index < entry

    def test_the_names_of_reused_blobs_are_made_durable_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout, traced(monkeypatch) as trace:
            bring(layout, IMAGE, B)
        names = trace.position(f"fsync {tmp_path}/blobs/sha256")
        assert names < trace.position(f" {tmp_path}/index.json")

    def test_a_failed_sync_of_a_blob_fails_the_writer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        with store(tmp_path, a=IMAGE) as layout:
            before = contents(tmp_path)
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fail)
                with pytest.raises(StorageError, match="I/O error"):
                    bring(layout, OTHER, A)
            assert contents(tmp_path) == before

    def test_a_full_disk_leaves_the_old_images_and_gives_the_space_back(
        self, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "disk", "128k") as disk, store(disk / "s", a=IMAGE) as layout:
            before = contents(disk / "s")
            big = build_image([{"small": b"1"}, {"big": os.urandom(200_000)}])
            with pytest.raises(StorageError, match="no space left"):
                bring(layout, big, A)
            assert contents(disk / "s") == before
            assert temporaries(disk / "s") == []
            bring(layout, OTHER, B)
            assert_whole(disk / "s")

    def test_a_read_only_store_is_read_and_not_written(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", a=IMAGE):
            pass
        with read_only(tmp_path / "s"), Layout.existing(str(tmp_path / "s")) as layout:
            assert list(names_of(layout)) == [A]
            with layout.open(IMAGE.layers[0]) as blob:
                assert blob.read_all(1 << 20)
            with pytest.raises(StorageError, match="read-only"):
                bring(layout, OTHER, B)
