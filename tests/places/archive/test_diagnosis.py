"""A file that is no image archive: what it is, and what to do with it."""

from pathlib import Path

import pytest

from ocitool.errors import MalformedArchive
from ocitool.places.archive import open_archive
from tests.support.images import Content, tar_of, whiteout, write_files
from tests.support.stores import written


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
        (b"-----BEGIN CERTIFICATE-----", "a PEM file"),
        (b"some text\n", "does not begin like a tar file"),
        (b"\x01" * 4096, "does not begin like a tar file"),
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
