"""Load and save again: every digest stays, every byte of every document stays."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.faults import figures
from tests.support.command import FIXTURES
from tests.support.images import (
    Built,
    BuiltImage,
    build_image,
    build_index,
    docker_archive,
    hybrid_archive,
    oci_archive,
)
from tests.support.stores import checked, contents, load_archive, roots_of, save_bytes, written

REAL = sorted(
    path
    for path in FIXTURES.iterdir()
    if path.suffix == ".tar" or (path / "oci-layout").exists() or (path / "manifest.json").exists()
)
NAME = "docker.io/library/a:1"


def assert_preserved(source: Path, folder: Path) -> None:
    """Fail unless what was loaded comes out of an archive as it went in."""
    load_archive(source, folder / "one")
    saved = save_bytes(folder / "one")
    load_archive(written(folder / "saved.tar", saved), folder / "two")
    assert roots_of(folder / "two") == roots_of(folder / "one")
    one, two = contents(folder / "one"), contents(folder / "two")
    assert {p: d for p, d in two.items() if "blobs/" in p} == {
        p: d for p, d in one.items() if "blobs/" in p
    }
    assert save_bytes(folder / "two") == saved
    assert checked(folder / "two").problems == ()


def generated(seed: int) -> tuple[bytes, Mapping[str, Built]]:
    """Return an archive that a seed stands for, and what is in it by name."""
    chance = random.Random(seed)

    def image(platform: str = "linux/amd64") -> BuiltImage:
        layers = [
            {f"f{n}": chance.randbytes(chance.randrange(0, 3000)) for n in range(3)}
            for _ in range(chance.randrange(1, 5))
        ]
        return build_image(
            layers,
            platform=platform,
            compression=chance.choice(["none", "gzip", "zstd"]),
            docker=chance.random() < 0.3,
            config={"x-unknown": chance.random(), "author": "Zo\u00eb \u202e"},
            manifest={"annotations": {"b": "2", "a": "1"}, "x-unknown": [1.0, None]},
        )

    if chance.random() < 0.4:
        index = build_index([image(), image("linux/arm64")], attested=chance.random() < 0.5)
        return oci_archive({NAME: index}), {NAME: index}
    built = image()
    archive = chance.choice([oci_archive, hybrid_archive])
    return archive({NAME: built}), {NAME: built}


def assert_generated(seed: int, folder: Path) -> None:
    """Fail unless the digests are those that were built, and stay so."""
    archive, images = generated(seed)
    path = written(folder.with_name(f"{folder.name}.tar"), archive)
    folder.mkdir()
    assert_preserved(path, folder)
    expected = {name: image.descriptor.digest for name, image in images.items()}
    assert roots_of(folder / "two") == expected
    for image in images.values():
        for digest, data in image.blobs.items():
            assert (folder / "two" / "blobs" / digest.algorithm / digest.hex).read_bytes() == data
    figures.current.count("G1 G10", "round trips of generated images")


@pytest.mark.parametrize("source", REAL, ids=lambda path: path.name)
def test_an_archive_of_another_tool_keeps_its_digests(source: Path, tmp_path: Path) -> None:
    assert_preserved(source, tmp_path)
    figures.current.count("G1 G10", "round trips of archives of other tools")


def test_there_are_archives_of_other_tools() -> None:
    assert len(REAL) >= 5


def test_generated_images_keep_their_digests(tmp_path: Path) -> None:
    for seed in range(10):
        assert_generated(seed, tmp_path / str(seed))


@pytest.mark.soak
def test_200_generated_images_keep_their_digests(tmp_path: Path) -> None:
    for seed in figures.current.in_time(range(1000, 1200)):
        assert_generated(seed, tmp_path / str(seed))


def test_a_docker_archive_keeps_its_image_id(tmp_path: Path) -> None:
    built = build_image([{"a": b"1"}, {"b": b"2"}])
    path = written(tmp_path / "a.tar", docker_archive({"a:1": built}))
    load_archive(path, tmp_path / "one")
    assert built.config.digest.hex in {
        p.name for p in (tmp_path / "one" / "blobs" / "sha256").iterdir()
    }
    (tmp_path / "rest").mkdir()
    assert_preserved(path, tmp_path / "rest")
