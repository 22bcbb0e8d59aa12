"""From a file, a folder or a pipe to an archive: compressed or not, whole or cut."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    MalformedArchive,
    MalformedDocument,
    NotFound,
)
from ocitool.places.archive import ArchiveSource, FolderSource, open_archive
from tests.support.command import FIXTURES
from tests.support.images import (
    BuiltImage,
    Compression,
    build_image,
    build_index,
    compressed,
    docker_archive,
    docker_members,
    hybrid_archive,
    layout_files,
    oci_archive,
    tar_of,
    write_files,
    write_layout,
)
from tests.support.stores import written

CODECS: tuple[Compression, ...] = ("none", "gzip", "bzip2", "xz", "zstd")
NAME = "docker.io/library/a:1"
IMAGE = build_image([{"a": b"1"}, {"b": bytes(3000)}])


def names_of(path: str, *, stdin: int | None = None) -> tuple[str, ...]:
    with open_archive(path, stdin=stdin) as source:
        return source.roots()[0].names


def layer_of(path: Path) -> bytes:
    with open_archive(str(path)) as source, source.open(IMAGE.layers[0]) as blob:
        return blob.read_all(1 << 20)


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """Give the reading end of a pipe into which a thread writes the data."""
    reading, writing = os.pipe()

    def run() -> None:
        # A reader that gives up early breaks the pipe.
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(writing, view[:700]) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(writing)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reading
    finally:
        os.close(reading)
        thread.join()


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_is_read_whatever_compresses_it(tmp_path: Path, codec: Compression) -> None:
    path = written(tmp_path / "x", compressed(hybrid_archive({NAME: IMAGE}), codec))
    assert names_of(str(path)) == (NAME,)
    assert layer_of(path) == IMAGE.blobs[IMAGE.layers[0].digest]


@pytest.mark.parametrize("codec", CODECS)
def test_a_pipe_is_read_whatever_compresses_it(codec: Compression) -> None:
    with piped(compressed(docker_archive({NAME: IMAGE}), codec)) as pipe:
        assert names_of("-", stdin=pipe) == (NAME,)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bzip2"])
def test_several_compressed_members_are_one_stream(tmp_path: Path, codec: Compression) -> None:
    data = hybrid_archive({NAME: IMAGE})
    parts = [compressed(part, codec) for part in (data[:1000], data[1000:])]
    assert names_of(str(written(tmp_path / "x", b"".join(parts)))) == (NAME,)


def test_a_named_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = hybrid_archive({NAME: IMAGE})
    thread = threading.Thread(target=lambda: fifo.write_bytes(data))
    thread.start()
    try:
        assert names_of(str(fifo)) == (NAME,)
    finally:
        thread.join()


def test_standard_input_may_be_a_file_at_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "x", hybrid_archive({NAME: IMAGE}))
    with path.open("rb", buffering=0) as file:
        assert names_of("-", stdin=file.fileno()) == (NAME,)


def test_without_standard_input_there_is_nothing_to_read() -> None:
    with pytest.raises(NotFound, match="standard input"):
        open_archive("-")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_archive(str(tmp_path / "gone.tar"))


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_plain_archive_that_was_cut_is_refused(tmp_path: Path, keep: float) -> None:
    data = tar_of({**docker_members({NAME: IMAGE}), "last": bytes(9000)})
    path = written(tmp_path / "x", data[: int(len(data) * keep)])
    with pytest.raises(MalformedArchive) as raised:
        open_archive(str(path))
    assert str(path) in raised.value.message
    assert "copy it again" in str(raised.value.hint)


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd"])
def test_a_compressed_archive_that_was_cut_is_refused(tmp_path: Path, codec: Compression) -> None:
    data = compressed(hybrid_archive({NAME: IMAGE}), codec)
    path = written(tmp_path / "x", data[:-9])
    with pytest.raises(MalformedArchive, match=r"x: the .* data ends in the middle"):
        open_archive(str(path))


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_pipe_that_was_cut_is_refused(codec: Compression) -> None:
    data = compressed(hybrid_archive({NAME: IMAGE}), codec)
    with piped(data[:-9]) as pipe, pytest.raises(MalformedArchive, match=r"^stdin: "):
        open_archive("-", stdin=pipe)


def test_a_plain_pipe_that_was_cut_is_refused() -> None:
    data = docker_archive({NAME: IMAGE})
    with piped(data[:2000]) as pipe, pytest.raises(MalformedArchive, match=r"^stdin"):
        open_archive("-", stdin=pipe)


def test_an_empty_pipe_is_called_empty() -> None:
    with piped(b"") as pipe, pytest.raises(MalformedArchive, match="stdin is empty"):
        open_archive("-", stdin=pipe)


def test_a_flipped_bit_of_the_compressed_stream_is_found(tmp_path: Path) -> None:
    data = bytearray(compressed(hybrid_archive({NAME: IMAGE}), "gzip"))
    data[-6] ^= 1
    with pytest.raises(MalformedArchive, match="damaged gzip data"):
        open_archive(str(written(tmp_path / "x", bytes(data))))


def test_a_flipped_bit_of_a_tar_header_is_found(tmp_path: Path) -> None:
    data = bytearray(hybrid_archive({NAME: IMAGE}))
    data[1024 + 5] ^= 1
    with pytest.raises(MalformedArchive):
        open_archive(str(written(tmp_path / "x", bytes(data))))


def test_a_compressed_archive_is_unpacked_into_the_folder_that_is_asked_for(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "x", compressed(hybrid_archive({NAME: IMAGE}), "gzip"))
    with pytest.raises(NotFound, match="temporary file"):
        open_archive(str(path), scratch=str(tmp_path / "gone"))


def test_a_plain_archive_needs_no_room_to_unpack(tmp_path: Path) -> None:
    path = written(tmp_path / "x", hybrid_archive({NAME: IMAGE}))
    open_archive(str(path), scratch=str(tmp_path / "gone")).close()


def test_unpacking_leaves_no_file_behind(tmp_path: Path) -> None:
    path = written(tmp_path / "x", compressed(hybrid_archive({NAME: IMAGE}), "gzip"))
    (tmp_path / "scratch").mkdir()
    with open_archive(str(path), scratch=str(tmp_path / "scratch")):
        assert list((tmp_path / "scratch").iterdir()) == []


def test_a_refused_archive_leaves_no_open_file(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for data in (b"junk", compressed(b"junk", "gzip"), tar_of({"a": b"1"}), b"\x1f\x8b\x08cut"):
        with pytest.raises(IntegrityError):
            open_archive(str(written(tmp_path / "x", data)))
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_unpacked_docker_archive_is_read(tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}])
    files = {p: c for p, c in docker_members({NAME: image}).items() if p[-1] != "/"}
    write_files(tmp_path / "d", {p: c for p, c in files.items() if isinstance(c, bytes)})
    assert names_of(str(tmp_path / "d")) == (NAME,)


def test_a_layout_folder_is_read(tmp_path: Path) -> None:
    write_layout(tmp_path / "d", {NAME: IMAGE})
    with open_archive(str(tmp_path / "d")) as source:
        assert isinstance(source, ArchiveSource)
        assert source.roots()[0].descriptor.digest == IMAGE.descriptor.digest


def dir_form(image: BuiltImage) -> dict[str, bytes]:
    """Return the files that `skopeo copy … dir:` writes."""
    blobs = {d.hex: data for d, data in image.blobs.items() if d != image.descriptor.digest}
    return {"version": b"Directory Transport Version: 1.1\n", "manifest.json": image.manifest} | (
        blobs
    )


def test_the_dir_form_is_one_nameless_image_with_its_own_digest(tmp_path: Path) -> None:
    write_files(tmp_path / "d", dir_form(IMAGE))
    with open_archive(str(tmp_path / "d")) as source:
        assert isinstance(source, FolderSource)
        (root,) = source.roots()
        assert (root.names, root.label) == ((), None)
        assert root.descriptor.digest == IMAGE.descriptor.digest
        assert source.resolve(str(root.descriptor.digest)) == root
        with source.open(IMAGE.layers[0]) as blob:
            assert blob.read_all(1 << 20) == IMAGE.blobs[IMAGE.layers[0].digest]


def test_the_dir_form_keeps_an_index_and_its_children(tmp_path: Path) -> None:
    index = build_index([IMAGE])
    files = dir_form(IMAGE)
    files[f"{IMAGE.descriptor.digest.hex}.manifest.json"] = files["manifest.json"]
    files["manifest.json"] = index.blobs[index.descriptor.digest]
    write_files(tmp_path / "d", files)
    with open_archive(str(tmp_path / "d")) as source:
        assert source.has(IMAGE.descriptor)
        with source.open(IMAGE.descriptor) as blob:
            assert blob.read_all(1 << 20) == IMAGE.manifest


def test_the_dir_form_has_no_names(tmp_path: Path) -> None:
    write_files(tmp_path / "d", dir_form(IMAGE))
    with open_archive(str(tmp_path / "d")) as source, pytest.raises(NotFound, match="no image"):
        source.resolve(NAME)


def test_a_blob_of_the_dir_form_with_another_size_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "d", {**dir_form(IMAGE), IMAGE.layers[0].digest.hex: b"short"})
    with open_archive(str(tmp_path / "d")) as source:
        assert not source.has(IMAGE.layers[0])
        with pytest.raises(IntegrityError, match="5 bytes"):
            source.open(IMAGE.layers[0])


def test_a_blob_missing_from_the_dir_form_is_not_found(tmp_path: Path) -> None:
    files = dir_form(IMAGE)
    del files[IMAGE.layers[0].digest.hex]
    write_files(tmp_path / "d", files)
    with open_archive(str(tmp_path / "d")) as source, pytest.raises(NotFound, match="missing"):
        source.open(IMAGE.layers[0])


def test_a_fifo_in_place_of_a_document_does_not_hang(tmp_path: Path) -> None:
    write_files(tmp_path / "d", {"oci-layout": b"{}"})
    os.mkfifo(tmp_path / "d/index.json")
    with pytest.raises(IntegrityError, match="not a regular file"):
        open_archive(str(tmp_path / "d"))


def test_a_fifo_in_place_of_a_blob_does_not_hang(tmp_path: Path) -> None:
    write_files(tmp_path / "d", layout_files({NAME: IMAGE}))
    layer = tmp_path / f"d/blobs/sha256/{IMAGE.layers[0].digest.hex}"
    layer.unlink()
    os.mkfifo(layer)
    with open_archive(str(tmp_path / "d")) as source, pytest.raises(IntegrityError):
        source.open(IMAGE.layers[0])


def test_a_document_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x", tar_of({"manifest.json": b" " * (5 << 20)}))
    with pytest.raises((LimitExceeded, MalformedArchive), match="limit"):
        open_archive(str(path))


def test_an_index_without_images_and_without_manifest_json_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x", oci_archive({}))
    with pytest.raises(MalformedDocument, match="lists no image"):
        open_archive(str(path))


def test_an_unpacked_archive_whose_layers_are_links_is_read_as_the_archive_is(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder").mkdir()
    archive = FIXTURES / "docker20-multi.tar"
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path / "folder"], check=True)
    with (
        open_archive(str(FIXTURES / "docker20-multi.tar")) as packed,
        open_archive(str(tmp_path / "folder")) as folder,
    ):
        assert folder.roots() == packed.roots()
        for root in folder.roots():
            assert folder.has(root.descriptor)


def test_a_link_in_an_unpacked_archive_never_leads_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("[]")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "manifest.json").symlink_to("../outside.json")
    with pytest.raises(MalformedArchive, match="leads out"):
        open_archive(str(folder))
