"""A28: every command that reads an archive reads the bundles of other tools, digests unchanged."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.support.command import FIXTURES, Command
from tests.support.foreign_bundles import haul, imgpkg_members, sync_files, write_chunks
from tests.support.images import (
    Built,
    build_image,
    build_index,
    compressed,
    layout_files,
    tar_of,
    write_files,
)
from tests.support.registry import EmulatedRegistry
from tests.support.stores import assert_whole, roots_of, written

ONE, INDEX = "registry.example/team/a:1", "registry.example/team/i:2"
IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
IMAGES: dict[str, Built] = {
    ONE: IMAGE,
    INDEX: build_index([IMAGE, build_image([{"c": b"3"}], platform="linux/arm64")]),
}
DIGESTS = {name: str(image.descriptor.digest) for name, image in IMAGES.items()}

MAKERS: dict[str, Callable[[Path], Path]] = {
    "imgpkg": lambda folder: written(folder / "x.tar", tar_of(imgpkg_members(IMAGES))),
    "sync": lambda folder: write_files(folder / "synced", sync_files(IMAGES)),
    "sync-tar": lambda folder: written(folder / "s.tar", tar_of(sync_files(IMAGES))),
    "chunks": lambda folder: write_chunks(
        folder / "c", "haul.tar.zst", compressed(haul(IMAGES), "zstd"), 700
    ),
}


@pytest.fixture(params=list(MAKERS))
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return MAKERS[str(request.param)](tmp_path)


class TestA28EveryCommand:
    def test_reading_copying_and_pushing(
        self, ocitool: Command, bundle: Path, tmp_path: Path
    ) -> None:
        listed = ocitool("images", "--digests", "--no-trunc", bundle)
        assert listed.code == 0, listed.err
        assert all(digest in listed.out for digest in DIGESTS.values())
        assert ocitool("verify", bundle).code == 0
        both = ocitool("inspect", bundle)
        advised = both.err.rpartition("ocitool inspect ")[2].split()[0]
        assert DIGESTS[ONE] in ocitool("inspect", "--no-trunc", advised).out
        copied = ocitool("copy", bundle, f"oci:{tmp_path / 'out'}")
        assert copied.code == 0, copied.err
        assert {n: str(d) for n, d in roots_of(tmp_path / "out").items()} == DIGESTS
        with EmulatedRegistry() as registry:
            done = ocitool("push", bundle, "--to", f"{registry.host}/mirror")
            assert done.code == 0, done.err
            tags = registry.tags["mirror/team/a"]
            assert {tag: str(digest) for tag, digest in tags.items()} == {"1": DIGESTS[ONE]}

    def test_loading(self, ocitool: Command, bundle: Path) -> None:
        done = ocitool("load", bundle)
        assert done.code == 0, done.err
        assert {name: str(digest) for name, digest in roots_of(ocitool.store).items()} == DIGESTS
        assert_whole(ocitool.store)


def test_a28_one_lost_chunk_is_one_message(ocitool: Command, tmp_path: Path) -> None:
    first = MAKERS["chunks"](tmp_path)
    lost = first.with_name("haul.tar.zst.002")
    lost.unlink()
    done = ocitool("load", first)
    assert done.code == 4
    assert "the chunk haul.tar.zst.002 is missing" in done.err
    assert not ocitool.store.exists()


def test_a28_a_tag_alone_is_told_with_the_way_to_name_it(ocitool: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "backup.tar", tar_of(layout_files({"2": IMAGE})))
    done = ocitool("load", path)
    assert done.code == 0
    assert "'2', a tag without a repository" in done.err
    identifier = done.out.partition("sha256:")[2][:12]
    assert f"ocitool tag {identifier} NAME" in done.err
    assert (
        ocitool("load", "--tag", "reg.example/a:2", path).out == "Loaded image: reg.example/a:2\n"
    )


def test_a28_a_repository_names_images_that_have_only_tags(
    ocitool: Command, tmp_path: Path
) -> None:
    images = {"1": IMAGE, "2": IMAGES[INDEX]}
    path = write_files(tmp_path / "backup", layout_files(images))
    done = ocitool("load", "--tag", "reg.example:5000/t/a", path)
    assert done.code == 0, done.err
    assert {name: str(digest) for name, digest in roots_of(ocitool.store).items()} == {
        f"reg.example:5000/t/a:{tag}": str(image.descriptor.digest) for tag, image in images.items()
    }
    refused = ocitool("load", "--tag", "reg.example:5000/t/a:3", path)
    assert refused.code == 2
    assert "one name cannot be given to 2 images" in refused.err


CORPUS = Path(os.environ.get("OCITOOL_CORPUS", "")) / "bundles"
A1, B1 = "127.0.0.1:5071/t/a", "127.0.0.1:5071/t/b"
OF_A1 = "sha256:5d6886352544214ef31b3c512237e4a75be737edab271c6d23a920afdf41bf83"


@pytest.mark.skipif(not (CORPUS / "INDEX.md").exists(), reason="OCITOOL_CORPUS has no bundles")
class TestA28BundlesThatToolsMade:
    """What INDEX.md of the folder says of each file."""

    @pytest.mark.parametrize(
        ("file", "images", "attached", "names"),
        [
            ("imgpkg-image-a1.tar", 1, 0, {f"{A1}:1": OF_A1}),
            ("imgpkg-lock-1.tar", 4, 0, {f"{A1}@{OF_A1}": OF_A1}),
            ("skopeo-sync-dir-a.tar", 2, 4, {"docker.io/library/a:1": OF_A1}),
            ("regctl-export-a1.tar", 1, 0, {f"{A1}:1": OF_A1}),
            ("oras-backup-a2.tar", 1, 3, {}),
            ("ocitool-v1.tar", 4, 3, {f"{A1}:1": OF_A1}),
        ],
    )
    def test_it_loads_with_its_digests(
        self, ocitool: Command, file: str, images: int, attached: int, names: dict[str, str]
    ) -> None:
        done = ocitool("load", "-q", CORPUS / file)
        assert done.code == 0, done.err
        assert len(done.out.split()) == images
        with Layout.existing(str(ocitool.store)) as layout:
            assert len(layout.roots()) == images + attached
        found = {name: str(digest) for name, digest in roots_of(ocitool.store).items()}
        assert found.items() >= names.items()
        assert ocitool("verify", CORPUS / file).code == 0
        assert_whole(ocitool.store)


def test_a28_imgpkg_keeps_the_digest_of_a_real_image(ocitool: Command) -> None:
    done = ocitool("load", "-q", FIXTURES / "cases" / "imgpkg-image.tar")
    assert done.out.strip() == OF_A1
    assert roots_of(ocitool.store).keys() == {f"{A1}:1"}
