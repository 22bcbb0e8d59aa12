"""A file that is no image archive: what it is, and what to do with it."""

import base64
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from ocitool.errors import MalformedArchive
from ocitool.places.archive import open_archive
from tests.support.images import Content, tar_of, whiteout, write_files
from tests.support.stores import written

Compress = Callable[[bytes], bytes]


def refusal(path: Path) -> MalformedArchive:
    with pytest.raises(MalformedArchive) as raised:
        open_archive(str(path)).close()
    assert str(path) in raised.value.message
    return raised.value


def refusal_of(tmp_path: Path, members: dict[str, Content]) -> MalformedArchive:
    return refusal(written(tmp_path / "x.tar", tar_of(members)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n  <html><body>Log in</body>", "a web page"),
        (b'<?xml version="1.0"?>', "a web page or XML"),
        (b'{"schemaVersion": 2}', "a JSON document"),
        (b'[{"Config": "x"}]', "a JSON document"),
        (b"PK\x03\x04rest", "a zip file"),
        (b"7z\xbc\xaf\x27\x1crest", "a 7-Zip file"),
        (b"Rar!\x1a\x07", "a RAR file"),
        (b"\x7fELF\x02\x01", "a program"),
        (b"%PDF-1.7", "a PDF document"),
        (b"hsqsrest", "a squashfs"),
        (b"QFI\xfb\x00", "a virtual machine disk"),
        (b"HAULRSF1" + bytes(600), "a chunk that hauler made"),
        (b"-----BEGIN CERTIFICATE-----", "a PEM file"),
        (b"some text\n", "does not begin like a tar file"),
        (b"\x01" * 4096, "does not begin like a tar file"),
        ("\ufeffabc".encode("utf-16-le"), "turned into text"),
        ("\ufeffabc".encode("utf-16-be"), "turned into text"),
        (b"\xef\xbb\xbfabc", "turned into text"),
        (gzip.compress(b"x", mtime=0).decode(errors="replace").encode(), "turned into text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (base64.encodebytes(gzip.compress(bytes(range(256)))), "in base64"),
        (base64.b64encode(tar_of({"a": b"1"})), "in base64"),
        (b"https://example.org/image.tar\n", "holds an address"),
    ],
)
def test_bytes_that_are_no_tar_are_called_what_they_are(
    tmp_path: Path, data: bytes, says: str
) -> None:
    assert says in refusal(written(tmp_path / "x.tar", data)).message


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"", "docker save"),
        (b"<html>", "download"),
        (b"{}", "manifest alone"),
        (b"PK\x03\x04rest", "unpack"),
        (b"some text", "docker save"),
    ],
)
def test_the_hint_says_what_to_do(tmp_path: Path, data: bytes, advice: str) -> None:
    assert advice in str(refusal(written(tmp_path / "x.tar", data)).hint)


@pytest.mark.parametrize("inner", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("outer", [gzip.compress, lzma.compress])
def test_what_is_compressed_twice_is_called_so(
    tmp_path: Path, inner: Compress, outer: Compress
) -> None:
    error = refusal(written(tmp_path / "x.tar.gz", outer(inner(tar_of({"a": b"1"})))))
    assert "compressed twice" in error.message
    assert "decompress it once" in str(error.hint)


def test_text_that_is_not_an_archive_in_base64_is_not_called_so(tmp_path: Path) -> None:
    assert "begin like" in refusal(written(tmp_path / "x.tar", b"word" * 100)).message


class TestAnImageFurtherInside:
    LAYOUT: ClassVar[dict[str, Content]] = {
        "my layout/oci-layout": b"{}",
        "my layout/index.json": b"{}",
        "my layout/blobs/sha256/ab": b"x",
    }
    DOCKER: ClassVar[dict[str, Content]] = {"x/manifest.json": b"[]", "x/ab/layer.tar": b""}

    def test_the_folder_of_a_layout_in_a_tar(self, tmp_path: Path) -> None:
        error = refusal_of(tmp_path, self.LAYOUT)
        assert "in the folder 'my layout'" in error.message
        assert "ocitool load ./'my layout'" in str(error.hint)

    def test_the_folder_of_a_docker_archive_in_a_tar(self, tmp_path: Path) -> None:
        assert "in the folder 'x'" in refusal_of(tmp_path, self.DOCKER).message

    def test_a_folder_in_a_folder(self, tmp_path: Path) -> None:
        write_files(tmp_path / "d", {key: bytes(1) for key in self.LAYOUT})
        error = refusal(tmp_path / "d")
        assert "in the folder 'my layout'" in error.message
        assert f"ocitool load '{tmp_path}/d/my layout'" in str(error.hint)

    def test_files_of_a_web_page_are_not_taken_for_one(self, tmp_path: Path) -> None:
        error = refusal_of(tmp_path, {"app/index.json": b"", "app/manifest.json": b""})
        assert "holds no image" in error.message
        assert "folder" not in error.message

    @pytest.mark.parametrize("name", ["image.tar", "images/a.tar.gz", "a.tgz", "./b.tar.zst"])
    def test_a_tar_in_a_tar(self, tmp_path: Path, name: str) -> None:
        error = refusal_of(tmp_path, {name: b"", "readme.txt": b""})
        assert "it holds another one" in error.message
        assert "unpack it" in str(error.hint)

    def test_a_folder_of_archives(self, tmp_path: Path) -> None:
        write_files(tmp_path / "d", {"a.tar": b"x"})
        assert f"ocitool load {tmp_path}/d/a.tar" in str(refusal(tmp_path / "d").hint)


@pytest.mark.parametrize("above", ["", "v2/", "registry/v2/", "docker/registry/v2/"])
def test_the_storage_of_a_registry_is_named(tmp_path: Path, above: str) -> None:
    files: dict[str, bytes] = {
        f"{above}blobs/sha256/ab/abc/data": b"x",
        f"{above}repositories/a/_layers/x": b"x",
    }
    for error in (
        refusal_of(tmp_path, dict(files)),
        refusal(write_files(tmp_path / "d", files)),
    ):
        assert "a registry keeps its images" in error.message
        assert "ocitool pull" in str(error.hint)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_pipe_that_ends_early_blames_the_command_before_it(
    tmp_path: Path, compress: Compress
) -> None:
    data = compress(tar_of({"a": bytes(range(256)) * 40}))
    for part in (data[: len(data) // 2], b""):
        path = written(tmp_path / "x", part)
        with path.open("rb") as stream, pytest.raises(MalformedArchive) as raised:
            open_archive("-", stdin=stream.fileno()).close()
        assert "pipefail" in str(raised.value.hint)
        if part:
            assert "copy it again" in str(refusal(path).hint)


def test_a_root_file_system_wants_docker_import(tmp_path: Path) -> None:
    error = refusal_of(tmp_path, {"bin/": b"", "etc/": b"", "usr/": b"", "usr/x": b""})
    assert "a root file system" in error.message
    assert "docker import" in str(error.hint)


def test_dockerenv_alone_tells_an_exported_container(tmp_path: Path) -> None:
    assert "docker export" in refusal_of(tmp_path, {".dockerenv": b"", "app": b""}).message


def test_whiteouts_tell_a_layer(tmp_path: Path) -> None:
    error = refusal_of(tmp_path, {"data/x": b"1", whiteout("data/y"): b""})
    assert "a single image layer" in error.message
    assert error.hint


def test_an_archive_of_old_docker_is_named(tmp_path: Path) -> None:
    error = refusal_of(
        tmp_path, {"repositories": b"{}", "abc/json": b"{}", "abc/layer.tar": b"", "etc/x": b""}
    )
    assert "before 1.10" in error.message
    assert "save it again" in str(error.hint)


def test_a_layout_without_its_index_is_named(tmp_path: Path) -> None:
    error = refusal_of(tmp_path, {"oci-layout": b"{}", "blobs/sha256/": b""})
    assert "index.json is missing" in error.message
    assert "whole layout" in str(error.hint)


def test_any_other_tar_is_told_by_an_example(tmp_path: Path) -> None:
    error = refusal_of(tmp_path, {"photos/cat.jpg": b"meow"})
    assert "neither manifest.json nor index.json" in error.message
    assert "photos/cat.jpg" in error.message
    assert "docker import" in str(error.hint)


def test_an_empty_tar_holds_no_image(tmp_path: Path) -> None:
    assert "holds no image" in refusal_of(tmp_path, {}).message


def test_a_folder_without_an_image_is_diagnosed_too(tmp_path: Path) -> None:
    write_files(tmp_path / "d", {"bin/sh": b"", "etc/passwd": b"", "usr/lib/x": b""})
    assert "a root file system" in refusal(tmp_path / "d").message


def test_an_empty_folder_holds_no_image(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert refusal(tmp_path / "d").hint


def test_escape_sequences_in_names_do_not_reach_the_message(tmp_path: Path) -> None:
    assert "\x1b" not in refusal_of(tmp_path, {"evil\x1b[31m": b""}).message
