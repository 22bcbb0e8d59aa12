"""A28: bundles of imgpkg, skopeo sync and hauler are read, with every digest as it was."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    MalformedArchive,
    MalformedDocument,
    NotFound,
)
from ocitool.image.graph import closure_of
from ocitool.places.archive import open_archive
from ocitool.places.archive.source import ArchiveSource
from tests.support.foreign_bundles import (
    haul,
    imgpkg_entry,
    imgpkg_members,
    sync_files,
    write_chunks,
)
from tests.support.images import (
    Built,
    build_artifact,
    build_image,
    build_index,
    compressed,
    tar_of,
    write_files,
)
from tests.support.stores import assert_whole, load_archive, roots_of, written

A = "registry.example/team/a:1"
ONE = build_image([{"a": b"1"}, {"b": b"2"}])
ARM = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, ARM], attested=True)
NESTED = build_index([], others=[INDEX])
SBOM = build_artifact(ONE.descriptor, b"an SBOM", artifact_type="application/spdx+json")
SIGNATURE = build_artifact(SBOM.descriptor)


def opened(path: Path) -> ArchiveSource:
    source = open_archive(str(path))
    assert isinstance(source, ArchiveSource)
    return source


def offered(path: Path) -> dict[str, list[str]]:
    """Return the names of each image by its digest, having read every byte of all of them."""
    found: dict[str, list[str]] = {}
    with opened(path) as source:
        for root in source.roots():
            found[str(root.descriptor.digest)] = list(root.names)
            for descriptor in closure_of(source, root.descriptor).descriptors:
                with source.open(descriptor) as blob:
                    blob.read_all(1 << 20)
    return found


def digest(image: Built) -> str:
    return str(image.descriptor.digest)


class TestA28Imgpkg:
    def test_images_and_indexes_keep_digests_and_names(self, tmp_path: Path) -> None:
        images: dict[str, Built] = {
            A: ONE,
            "registry.example/team/i:2": INDEX,
            "registry.example/n": NESTED,
        }
        path = written(tmp_path / "x.tar", tar_of(imgpkg_members(images)))
        assert offered(path) == {
            digest(ONE): [A],
            digest(INDEX): ["registry.example/team/i:2"],
            digest(NESTED): [f"registry.example/n@{digest(NESTED)}"],
        }
        load_archive(path, tmp_path / "store")
        assert_whole(tmp_path / "store")
        assert {str(one) for one in roots_of(tmp_path / "store").values()} == set(
            map(digest, images.values())
        )

    def test_it_may_be_unpacked_or_compressed(self, tmp_path: Path) -> None:
        members = imgpkg_members({A: ONE})
        assert offered(write_files(tmp_path / "d", members)) == {digest(ONE): [A]}
        packed = written(tmp_path / "x.tar.gz", compressed(tar_of(members), "gzip"))
        assert offered(packed) == {digest(ONE): [A]}

    def test_a_reference_to_something_else_is_not_a_name(self, tmp_path: Path) -> None:
        entry = imgpkg_entry("registry.example/a", ONE)
        entry["Image"] = {**_fields(entry), "Refs": [f"x/y@sha256:{'0' * 64}", "UPPER"]}
        path = written(tmp_path / "x.tar", tar_of(imgpkg_members({A: ONE}, [entry])))
        with opened(path) as source:
            (root,) = source.roots()
            assert root.names == ()
            remarks = " ".join(source.remarks[root.descriptor.digest])
        assert "another digest" in remarks
        assert "UPPER" in remarks

    @pytest.mark.parametrize(
        ("edit", "error", "says"),
        [
            ({"Manifest": {"Digest": digest(ARM), "Raw": "{}"}}, DigestMismatch, "hashes to"),
            ({"Config": {"Digest": digest(ONE), "Raw": "{}"}}, DigestMismatch, "hashes to"),
            ({"Layers": []}, MalformedDocument, "not the layers"),
            ({"Layers": None}, MalformedDocument, "not the layers"),
            ({"Config": None}, MalformedDocument, "Config must be an object"),
            ({"Refs": "x"}, MalformedDocument, "Refs must be an array"),
        ],
    )
    def test_a_list_that_lies_is_refused(
        self, tmp_path: Path, edit: dict[str, object], error: type[Exception], says: str
    ) -> None:
        entry = imgpkg_entry(A, ONE)
        entry["Image"] = {**_fields(entry), **edit}
        path = written(tmp_path / "x.tar", tar_of(imgpkg_members({A: ONE}, [entry])))
        with pytest.raises(error, match=says):
            open_archive(str(path)).close()

    def test_an_entry_is_an_image_or_an_index(self, tmp_path: Path) -> None:
        entry = imgpkg_entry(A, ONE)
        for wrong in ({**entry, "ImageIndex": entry["Image"]}, {"Image": None}):
            path = written(tmp_path / "x.tar", tar_of(imgpkg_members({}, [wrong])))
            with pytest.raises(MalformedDocument, match="either an image or an index"):
                open_archive(str(path)).close()

    def test_a_missing_layer_is_named(self, tmp_path: Path) -> None:
        members = imgpkg_members({A: ONE})
        lost = f"{str(ONE.layers[1].digest).replace(':', '-')}.tar.gz"
        del members[lost]
        path = written(tmp_path / "x.tar", tar_of(members))
        with pytest.raises(NotFound, match=str(ONE.layers[1].digest)):
            load_archive(path, tmp_path / "store")


def _fields(entry: Mapping[str, object]) -> dict[str, object]:
    fields = entry["Image"]
    assert isinstance(fields, dict)
    return fields


class TestA28SkopeoSync:
    @pytest.fixture(params=["folder", "tar", "wrapped"])
    def form(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def path(self, tmp_path: Path, form: str, files: Mapping[str, bytes]) -> Path:
        if form == "folder":
            return write_files(tmp_path / "synced", files)
        above = "./" if form == "tar" else "synced/"
        return written(
            tmp_path / "s.tar", tar_of({above + name: data for name, data in files.items()})
        )

    def test_names_are_those_of_the_folders(self, tmp_path: Path, form: str) -> None:
        files = sync_files({A: ONE, "localhost:5000/deep/er/i:2": INDEX, "b:1": ARM})
        path = self.path(tmp_path, form, files)
        assert offered(path) == {
            digest(ONE): [A],
            digest(INDEX): ["localhost:5000/deep/er/i:2"],
            digest(ARM): ["docker.io/library/b:1"],
        }
        load_archive(path, tmp_path / "store")
        assert_whole(tmp_path / "store")

    def test_a_name_without_a_registry_is_remarked_once(self, tmp_path: Path) -> None:
        path = self.path(tmp_path, "folder", sync_files({"b:1": ONE, "c:1": ARM, A: INDEX}))
        with opened(path) as source:
            told = [text for texts in source.remarks.values() for text in texts]
        assert len(told) == 1
        assert "b:1 and 1 more" in told[0]
        assert "--scoped" in told[0]

    def test_lists_of_what_is_attached_are_not_images(self, tmp_path: Path, form: str) -> None:
        tag = f"registry.example/team/a:sha256-{ONE.descriptor.digest.hex}"
        of_sbom = f"registry.example/team/a:sha256-{SBOM.descriptor.digest.hex}"
        files = sync_files({A: ONE, tag: SBOM, of_sbom: SIGNATURE})
        path = self.path(tmp_path, form, files)
        assert offered(path) == {digest(ONE): [A], digest(SBOM): [], digest(SIGNATURE): []}
        report = load_archive(path, tmp_path / "store")
        assert [image.names for image in report.images if image.names] == [(A,)]
        assert_whole(tmp_path / "store")

    def test_a_whole_list_gives_each_of_its_artifacts(self, tmp_path: Path, form: str) -> None:
        second = build_artifact(ONE.descriptor)
        listed = _list_of(SBOM, second)
        tag = f"registry.example/team/a:sha256-{ONE.descriptor.digest.hex}"
        path = self.path(tmp_path, form, sync_files({A: ONE, tag: listed}))
        assert offered(path) == {digest(ONE): [A], digest(SBOM): [], digest(second): []}

    def test_a_folder_by_digest(self, tmp_path: Path) -> None:
        good, bad = f"registry.example/a@{digest(ONE)}", f"registry.example/b@{digest(ONE)}"
        path = self.path(tmp_path, "folder", sync_files({good: ONE, bad: ARM}))
        assert offered(path) == {digest(ONE): [good], digest(ARM): []}

    def test_a_dir_folder_packed_alone_has_no_name(self, tmp_path: Path) -> None:
        files = {name.partition("/")[2]: data for name, data in sync_files({"x": ONE}).items()}
        assert offered(written(tmp_path / "x.tar", tar_of(files))) == {digest(ONE): []}

    def test_a_blob_that_one_folder_lacks_is_taken_from_another(self, tmp_path: Path) -> None:
        files = sync_files({"r.example/a:1": ONE, "r.example/b:1": ARM})
        del files[f"r.example/b:1/{ARM.layers[0].digest.hex}"]
        assert set(offered(self.path(tmp_path, "folder", files))) == {digest(ONE), digest(ARM)}

    def test_a_cut_blob_is_named_with_its_folder(self, tmp_path: Path, form: str) -> None:
        files = sync_files({"r.example/a:1": ONE})
        cut = f"r.example/a:1/{ONE.layers[0].digest.hex}"
        files[cut] = files[cut][:-1]
        with pytest.raises(IntegrityError, match=r"r\.example/a:1"):
            load_archive(self.path(tmp_path, form, files), tmp_path / "store")


def _list_of(*artifacts: Built) -> Built:
    children = [
        {**one.descriptor.to_json(), "artifactType": "application/spdx+json"} for one in artifacts
    ]
    built = build_index([], fields={"manifests": children})
    blobs = {**built.blobs}
    for one in artifacts:
        blobs |= one.blobs
    return replace(built, blobs=blobs)


class TestA28Hauler:
    NAME = "index.docker.io/library/busybox:latest"
    SHOWN = "docker.io/library/busybox:latest"

    def test_kinds_of_hauler_tell_what_is_attached(self, tmp_path: Path) -> None:
        data = haul(
            {self.NAME: ONE},
            [
                (self.NAME, "sigs", build_artifact(None, b"a cosign signature")),
                (self.NAME, f"referrers/{SBOM.descriptor.digest.hex}", SBOM),
            ],
        )
        report = load_archive(written(tmp_path / "haul.tar", data), tmp_path / "store")
        assert [image.names for image in report.images if image.names] == [(self.SHOWN,)]
        assert_whole(tmp_path / "store")

    def test_a_signature_of_one_platform_keeps_its_subject(self, tmp_path: Path) -> None:
        signature = build_artifact(None, b"of arm64")
        kind = f"sigs/{ARM.descriptor.digest.hex}"
        files = haul({self.NAME: INDEX}, [(self.NAME, kind, signature)])
        path = written(tmp_path / "haul.tar", files)
        assert offered(path) == {digest(INDEX): [self.SHOWN], digest(signature): []}


NOISE = random.Random(28).randbytes(600_000)
BIG = build_image([{"noise": NOISE}], compression="none")
PLAIN = haul({TestA28Hauler.NAME: BIG})
SIZE = 200_000


@pytest.fixture(scope="module")
def packed() -> bytes:
    return compressed(PLAIN, "zstd")


@pytest.fixture(params=["zstd", "plain"])
def chunks(request: pytest.FixtureRequest, tmp_path: Path, packed: bytes) -> list[Path]:
    """The chunks of one haul: four, the last smaller than the others."""
    name, data = ("haul.tar.zst", packed) if request.param == "zstd" else ("haul.tar", PLAIN)
    first = write_chunks(tmp_path / "hauls", name, data, SIZE)
    paths = sorted(first.parent.iterdir())
    assert len(paths) == 4
    return paths


class TestA28Chunks:
    WANTED: Mapping[str, list[str]] = {digest(BIG): [TestA28Hauler.SHOWN]}

    def test_the_first_any_other_and_the_folder_mean_the_set(self, chunks: list[Path]) -> None:
        assert offered(chunks[0]) == self.WANTED
        assert offered(chunks[2]) == self.WANTED
        assert offered(chunks[0].parent) == self.WANTED

    def test_names_of_older_versions_and_of_split(self, tmp_path: Path, packed: bytes) -> None:
        old = write_chunks(tmp_path / "old", "haul", packed, SIZE, "{}_{}.tar.zst")
        for number in range(1, 5):
            (old.parent / f"haul_{number}.tar.zst").rename(
                old.parent / f"haul_{number - 1}.tar.zst"
            )
        assert offered(old.parent / "haul_0.tar.zst") == self.WANTED
        split = write_chunks(tmp_path / "split", "haul.tar.zst", packed, SIZE)
        for number in range(1, 5):
            name = "haul.tar.zst.{:03}"
            (split.parent / name.format(number)).rename(split.parent / name.format(number - 1))
        assert offered(split.parent / "haul.tar.zst.000") == self.WANTED

    @pytest.mark.parametrize("lost", [0, 1, 2])
    def test_a_lost_chunk_is_named(self, chunks: list[Path], lost: int) -> None:
        chunks[lost].unlink()
        for path in (chunks[0], chunks[3], chunks[0].parent):
            with pytest.raises(NotFound) as raised:
                open_archive(str(path)).close()
            assert f"the chunk {chunks[lost].name} is missing" in raised.value.message

    def test_a_lost_end_is_named(self, chunks: list[Path]) -> None:
        chunks[3].unlink()
        with pytest.raises(MalformedArchive) as raised:
            load_archive(chunks[0], chunks[0].parent / "store")
        assert f"{chunks[2].name} was cut short, or {chunks[3].name} is missing" in str(
            raised.value.hint
        )

    def test_all_lost_but_the_first(self, chunks: list[Path]) -> None:
        for path in chunks[1:]:
            path.unlink()
        with pytest.raises(MalformedArchive) as raised:
            open_archive(str(chunks[0])).close()
        assert f"{chunks[1].name} is missing" in str(raised.value.hint)

    @pytest.mark.parametrize("cut", [0, 1, 2])
    def test_a_cut_chunk_is_named(self, chunks: list[Path], cut: int) -> None:
        chunks[cut].write_bytes(chunks[cut].read_bytes()[:-1])
        with pytest.raises(MalformedArchive, match=f"the chunk {chunks[cut].name} is 199999 bytes"):
            open_archive(str(chunks[0])).close()

    def test_a_chunk_of_an_older_set_beyond_the_end_is_told(self, chunks: list[Path]) -> None:
        older = chunks[3].with_name(chunks[3].name.replace("004", "005"))
        older.write_bytes(bytes(SIZE))
        with pytest.raises(MalformedArchive, match=f"the chunk {chunks[3].name} is") as raised:
            open_archive(str(chunks[0])).close()
        assert "older set" in str(raised.value.hint)

    def test_a_chunk_of_another_set_is_named(self, chunks: list[Path]) -> None:
        chunks[1].write_bytes(random.Random(1).randbytes(SIZE))
        with pytest.raises(IntegrityError) as raised:
            load_archive(chunks[0], chunks[0].parent / "store")
        said = f"{raised.value.message} {raised.value.hint}"
        # Of a plain tar only the digest of a blob tells, and any chunk of that may be bad.
        plain = f"in {chunks[0].name} to {chunks[3].name} is damaged"
        assert plain in said or f"it breaks in {chunks[1].name}" in said

    def test_whole_archives_with_numbers_are_not_joined(self, tmp_path: Path) -> None:
        for number, image in ((1, ONE), (2, ARM)):
            written(tmp_path / f"app.tar.00{number}", haul({TestA28Hauler.NAME: image}))
            written(tmp_path / f"app_{number - 1}.tar", haul({TestA28Hauler.NAME: image}))
        assert set(offered(tmp_path / "app.tar.002")) == {digest(ARM)}
        assert set(offered(tmp_path / "app.tar.001")) == {digest(ONE)}
        assert set(offered(tmp_path / "app_0.tar")) == {digest(ONE)}

    def test_two_sets_in_a_folder_are_not_guessed_at(self, chunks: list[Path]) -> None:
        write_chunks(chunks[0].parent, "b.tar", PLAIN, SIZE)
        with pytest.raises(MalformedArchive, match="chunks of 2 archives") as raised:
            open_archive(str(chunks[0].parent)).close()
        assert "b.tar.001" in str(raised.value.hint)
