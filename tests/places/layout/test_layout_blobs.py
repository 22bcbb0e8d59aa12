"""Reading blobs from a layout that somebody else may have touched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, IntegrityError, NotFound
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout import Layout
from tests.support.disk import open_descriptors, time_limit
from tests.support.images import blob_path, build_image, describe, write_layout
from tests.support.layouts import image

IMAGE = build_image([{"f": b"x" * 5000}], compression="none")
LAYER = IMAGE.layers[0]
ABSENT = describe(b"absent", "application/octet-stream")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "l", {"1.0": IMAGE})


@pytest.fixture
def layout(folder: Path) -> Iterator[Layout]:
    with Layout.existing(str(folder)) as layout:
        yield layout


def read(layout: Layout, descriptor: Descriptor) -> bytes:
    with layout.open(descriptor) as blob:
        return blob.read_all(1 << 20)


def test_a_blob_reads_back(layout: Layout) -> None:
    assert read(layout, LAYER) == IMAGE.tars[0]


def test_a_sha512_blob_reads_back(tmp_path: Path) -> None:
    built = build_image(algorithm="sha512")
    write_layout(tmp_path / "l512", {"1.0": built})
    with Layout.existing(str(tmp_path / "l512")) as layout:
        assert read(layout, built.layers[0]) == built.blobs[built.layers[0].digest]


def test_a_blob_that_is_not_there_is_not_found(layout: Layout) -> None:
    assert not layout.has(ABSENT)
    with pytest.raises(NotFound, match=str(ABSENT.digest)):
        layout.open(ABSENT)


def test_a_blob_of_an_algorithm_without_a_folder_is_not_found(layout: Layout) -> None:
    absent = describe(b"absent", "application/octet-stream", algorithm="sha512")
    assert not layout.has(absent)
    with pytest.raises(NotFound):
        layout.open(absent)


def test_a_flipped_bit_is_found_before_the_end(layout: Layout, folder: Path) -> None:
    path = folder / blob_path(LAYER)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        read(layout, LAYER)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_blob_of_another_size_is_refused_before_it_is_read(
    layout: Layout, folder: Path, change: int
) -> None:
    os.truncate(folder / blob_path(LAYER), LAYER.size + change)
    assert not layout.has(LAYER)
    before = open_descriptors()
    with pytest.raises(IntegrityError, match="its descriptor promises"):
        layout.open(LAYER)
    assert open_descriptors() == before


def test_a_file_that_shrinks_while_it_is_read_is_found(layout: Layout, folder: Path) -> None:
    with layout.open(LAYER) as blob:
        blob.read(10)
        os.truncate(folder / blob_path(LAYER), 20)
        with pytest.raises(IntegrityError):
            blob.read_all(1 << 20)


def test_a_file_that_grows_while_it_is_read_is_found(layout: Layout, folder: Path) -> None:
    with layout.open(LAYER) as blob:
        with (folder / blob_path(LAYER)).open("ab") as file:
            file.write(b"more")
        with pytest.raises(IntegrityError):
            blob.read_all(1 << 20)


def test_a_linked_blob_is_not_followed(layout: Layout, folder: Path, tmp_path: Path) -> None:
    path = folder / blob_path(LAYER)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    assert not layout.has(LAYER)
    with pytest.raises(IntegrityError, match="symbolic link"):
        layout.open(LAYER)


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_a_linked_blob_folder_is_not_followed(
    layout: Layout, folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError):
        layout.open(LAYER)
    with pytest.raises(IntegrityError):
        layout.has(LAYER)


def test_a_fifo_in_place_of_a_blob_is_refused_without_waiting(layout: Layout, folder: Path) -> None:
    path = folder / blob_path(LAYER)
    path.unlink()
    os.mkfifo(path)
    assert not layout.has(LAYER)
    with time_limit(5, "opening a blob"), pytest.raises(IntegrityError, match="regular file"):
        layout.open(LAYER)


def test_a_folder_in_place_of_a_blob_is_refused(layout: Layout, folder: Path) -> None:
    (folder / blob_path(LAYER)).unlink()
    (folder / blob_path(LAYER)).mkdir()
    assert not layout.has(LAYER)
    with pytest.raises(IntegrityError):
        layout.open(LAYER)


def test_digests_of_well_named_files_are_listed_and_others_are_not(
    layout: Layout, folder: Path
) -> None:
    (folder / "blobs" / "sha256" / "README").write_bytes(b"")
    (folder / "blobs" / "sha256" / f"{LAYER.digest.hex}.tmp").write_bytes(b"")
    (folder / "blobs" / "md5").mkdir()
    (folder / "blobs" / "md5" / ("0" * 32)).write_bytes(b"")
    assert set(layout.blob_digests()) == set(IMAGE.blobs)


def test_a_layout_without_blobs_lists_none(tmp_path: Path) -> None:
    write_layout(tmp_path / "empty", {})
    with Layout.existing(str(tmp_path / "empty")) as layout:
        assert list(layout.blob_digests()) == []


def test_a_file_among_the_blob_folders_does_not_hide_the_blobs(
    layout: Layout, folder: Path
) -> None:
    (folder / "blobs" / "README").write_bytes(b"")
    assert set(layout.blob_digests()) == set(IMAGE.blobs)


def test_a_digest_cannot_lead_out_of_the_layout() -> None:
    with pytest.raises(IntegrityError):
        Digest("sha256", "../../oci-layout")
    with pytest.raises(IntegrityError):
        Digest("..", image("a").descriptor.digest.hex)
