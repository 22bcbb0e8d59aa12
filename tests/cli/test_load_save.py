"""load, save and copy as a user sees them."""

import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.command import FIXTURES, Command, environment
from tests.support.commands import wait_until_it_reads

APP = FIXTURES / "docker20-app-single.tar"
IMAGE_ID = "sha256:90886f9e406149e36949394a3ff5b9c179b322f2d581c97cd27700d18b323b35"


def test_load_names_each_image_on_stdout(ocitool: Command) -> None:
    done = ocitool("load", FIXTURES / "docker20-multi.tar")
    assert (done.code, done.out) == (0, "Loaded image: fmt/app:1.0\nLoaded image: fmt/base:1\n")


def test_load_says_that_it_made_a_manifest_and_its_digest(ocitool: Command) -> None:
    done = ocitool("load", APP)
    assert "had no manifest: one was made, 5 layers compressed with gzip" in done.err
    assert "its digest is sha256:" in done.err


def test_load_reads_a_pipe(ocitool: Command) -> None:
    assert ocitool("load", stdin=APP.read_bytes()).out == "Loaded image: fmt/app:1.0\n"


def test_load_takes_dockers_option_for_the_file(ocitool: Command) -> None:
    assert ocitool("load", "-i", APP).code == 0


def test_load_quietly_prints_the_digest_only(ocitool: Command) -> None:
    done = ocitool("load", "-q", APP)
    assert done.out.startswith("sha256:")
    assert done.out.count("\n") == 1
    assert done.err == ""


def test_load_as_json_tells_names_digests_and_conversions(ocitool: Command) -> None:
    report = ocitool("load", "--json", APP).json
    assert isinstance(report, dict)
    (image,) = report["images"]
    assert image["names"] == ["docker.io/fmt/app:1.0"]
    assert image["image_id"] == IMAGE_ID
    assert image["platforms"] == ["linux/amd64"]
    (conversion,) = report["conversions"]
    assert conversion["from"] is None
    assert conversion["to"] == image["digest"]
    assert (conversion["layers"], conversion["compression"]) == (5, "gzip")


def test_loading_again_stores_no_blob_twice(ocitool: Command) -> None:
    ocitool("load", APP)
    before = {path: path.stat().st_ino for path in (ocitool.store / "blobs").rglob("*")}
    report = ocitool("load", "--json", APP).json
    assert isinstance(report, dict)
    assert report["blobs_stored"] == 0
    assert {path: path.stat().st_ino for path in (ocitool.store / "blobs").rglob("*")} == before


def test_a_tag_without_a_repository_is_no_name_and_load_says_what_to_do(ocitool: Command) -> None:
    done = ocitool("load", FIXTURES / "umoci047-layout")
    assert "Loaded image ID: sha256:" in done.out
    assert "the source calls it 'v1', a tag without a repository" in done.err
    # One identifier: that of the line above, with which the command works as it stands.
    identifier = done.out.split("Loaded image ID: sha256:")[1][:12]
    assert f"ocitool tag {identifier} NAME" in done.err
    assert ocitool("tag", identifier, "x:1").code == 0


def test_load_under_another_name(ocitool: Command) -> None:
    assert ocitool("load", "--tag", "mine:2", APP).out == "Loaded image: mine:2\n"
    assert ocitool("inspect", "fmt/app:1.0").code == 4


def test_one_name_for_two_images_is_a_usage_error(ocitool: Command) -> None:
    assert ocitool("load", "--tag", "mine:2", FIXTURES / "docker20-multi.tar").code == 2


def test_load_says_when_a_name_moves(loaded: Command) -> None:
    done = loaded("load", "--tag", "fmt/base:1", APP)
    assert done.code == 0
    assert "fmt/base:1 moved from sha256:" in done.err


def test_no_clobber_refuses_to_move_a_name_and_changes_nothing(loaded: Command) -> None:
    before = (loaded.store / "index.json").read_bytes()
    done = loaded("load", "--no-clobber", "--tag", "fmt/base:1", APP)
    assert done.code == 6
    assert "names another image" in done.err
    assert (loaded.store / "index.json").read_bytes() == before


def test_no_clobber_accepts_the_same_image_again(loaded: Command) -> None:
    assert loaded("load", "--no-clobber", FIXTURES / "docker20-multi.tar").code == 0


def test_one_platform_of_an_index_keeps_its_digest(ocitool: Command) -> None:
    source = FIXTURES / "docker29-containerd-multiplat.tar"
    report = ocitool("load", "--json", "--platform", "linux/arm64", source).json
    assert isinstance(report, dict)
    (image,) = report["images"]
    assert image["digest"].startswith("sha256:6b3534e7e191")
    assert image["platforms"] == ["linux/arm64"]


def test_a_platform_that_is_not_there_is_not_found_and_the_others_are_listed(
    ocitool: Command,
) -> None:
    source = FIXTURES / "docker29-containerd-multiplat.tar"
    done = ocitool("load", "--platform", "linux/riscv64", source)
    assert done.code == 4
    assert "available: linux/amd64, linux/arm64, linux/s390x" in done.err


def test_an_index_that_lacks_a_platform_loads_and_says_so(ocitool: Command) -> None:
    done = ocitool("load", FIXTURES / "built/multiplat-missing.tar")
    assert done.code == 0
    assert "is incomplete: the source lacks linux/arm64" in done.err
    assert ocitool("verify").code == 0


def test_strict_refuses_an_index_that_lacks_a_platform(ocitool: Command) -> None:
    done = ocitool("load", "--strict", FIXTURES / "built/multiplat-missing.tar")
    assert done.code == 4
    assert "linux/arm64" in done.err


def test_saving_an_index_that_lacks_a_platform_warns(ocitool: Command, tmp_path: Path) -> None:
    ocitool("load", FIXTURES / "built/multiplat-missing.tar")
    done = ocitool("save", "example/app:1", "-o", tmp_path / "x.tar")
    assert done.code == 0
    assert "warning:" in done.err
    assert "linux/arm64" in done.err


def test_save_writes_both_forms_into_one_tar(loaded: Command, tmp_path: Path) -> None:
    assert loaded("save", "fmt/app:1.0", "fmt/base:1", "-o", "x.tar").code == 0
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = archive.getnames()
    assert names[:5] == ["oci-layout", "index.json", "manifest.json", "blobs", "blobs/sha256"]


def test_save_gives_the_same_bytes_in_another_folder_umask_and_time_zone(
    loaded: Command, tmp_path: Path
) -> None:
    images = ("fmt/app:1.0", "fmt/base:1", "hyb/multiplat-full:1")
    loaded("save", *images, "-o", tmp_path / "first.tar")
    other = tmp_path / "other" / "folder"
    other.mkdir(parents=True)
    second = Command(other / "store", other)
    masked = os.umask(0o077)
    try:
        variables = {"TZ": "Asia/Kathmandu"}
        assert second("load", tmp_path / "first.tar", variables=variables).code == 0
        assert second("save", *images, "-o", "second.tar", variables=variables).code == 0
    finally:
        os.umask(masked)
    assert (other / "second.tar").read_bytes() == (tmp_path / "first.tar").read_bytes()


def test_save_streams_to_stdout_what_it_writes_to_a_file(loaded: Command, tmp_path: Path) -> None:
    loaded("save", "fmt/app:1.0", "-o", tmp_path / "x.tar")
    streamed = loaded.run_bytes("save", "fmt/app:1.0").stdout
    assert streamed == (tmp_path / "x.tar").read_bytes()


def test_save_of_all_tags_of_a_repository(loaded: Command) -> None:
    loaded("tag", "fmt/app:1.0", "fmt/app:2.0", "elsewhere/app:1")
    loaded("save", "--all-tags", "fmt/app", "-o", "x.tar")
    images = loaded("inspect", "--json", "./x.tar").json
    assert isinstance(images, dict)
    assert images["names"] == ["docker.io/fmt/app:1.0", "docker.io/fmt/app:2.0"]


def test_a_damaged_blob_fails_save_and_leaves_no_file(loaded: Command, tmp_path: Path) -> None:
    blob = max((loaded.store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    target = tmp_path / "out"
    target.mkdir()
    done = loaded("save", "fmt/app:1.0", "-o", target / "x.tar")
    assert done.code == 7
    assert list(target.iterdir()) == []


def test_a_tar_is_not_written_to_a_terminal(loaded: Command) -> None:
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ocitool", "save", "fmt/app:1.0"],
            env=environment(loaded.store),
            stdout=follower,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(follower)
        os.close(leader)
    assert done.returncode == 2
    assert b"not written to a terminal" in done.stderr


def test_load_waits_for_no_terminal(ocitool: Command) -> None:
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ocitool", "load"],
            env=environment(ocitool.store),
            stdin=follower,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    finally:
        os.close(follower)
        os.close(leader)
    assert done.returncode == 2


def test_a_pipe_that_closes_ends_save_quietly(loaded: Command) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ocitool", "save", "fmt/app:1.0"],
        env=environment(loaded.store),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert error == b""


def test_a_full_disk_under_stdout_is_exit_code_9(loaded: Command) -> None:
    with open("/dev/full", "wb") as full:
        for arguments in (
            ["save", "fmt/app:1.0"],
            ["images"],
            ["inspect", "--json", "fmt/app:1.0"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "ocitool", *arguments],
                env=environment(loaded.store),
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
            assert done.returncode == 9, arguments
            assert b"Traceback" not in done.stderr


def test_an_interrupted_load_exits_130_and_stores_nothing(ocitool: Command) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ocitool", "load"],
        env=environment(ocitool.store),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until_it_reads(process, APP.read_bytes()[:100_000])
    process.send_signal(2)
    assert process.wait(timeout=10) == 130
    _, error = process.communicate()
    assert b"Traceback" not in error
    assert ocitool("images", "-q").out == ""


def test_copy_from_a_layout_to_another_keeps_its_bare_tags(ocitool: Command) -> None:
    done = ocitool("copy", f"oci:{FIXTURES / 'umoci047-layout'}", "oci:copy")
    assert done.code == 0, done.err
    for tag in ("base", "v1", "v2"):
        assert ocitool("inspect", "-q", f"oci:copy:{tag}").code == 0


def test_copy_to_an_archive_and_back_keeps_the_digest(loaded: Command) -> None:
    digest = loaded("inspect", "-q", "fmt/app:1.0").out
    assert loaded("copy", "fmt/app:1.0", "oci-archive:x.tar:renamed").code == 0
    assert loaded("copy", "oci-archive:x.tar:renamed", "oci:y:other").code == 0
    assert loaded("inspect", "-q", "oci:y:other").out == digest


def test_the_dir_form_is_read_only(loaded: Command) -> None:
    assert loaded("copy", "fmt/app:1.0", "dir:x").code == 2


@pytest.mark.parametrize("target", ["oci:x", "oci-archive:x.tar", "docker-daemon:other:1", ""])
def test_save_refuses_a_destination_that_is_copys(loaded: Command, target: str) -> None:
    done = loaded("save", "fmt/app:1.0", "-o", target)
    assert done.code == 2
    assert not list(loaded.cwd.glob("oci*"))


def test_copy_to_a_bare_word_that_looks_like_a_file_is_refused_with_both_ways(
    loaded: Command,
) -> None:
    done = loaded("copy", "fmt/app:1.0", "app.tar")
    assert done.code == 2
    assert "./app.tar" in done.err
    assert "store:app.tar" in done.err


def test_save_leaves_a_private_file_private(loaded: Command, tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    target.touch(0o600)
    assert loaded("save", "fmt/app:1.0", "-o", target).code == 0
    assert target.stat().st_mode & 0o777 == 0o600


def test_copying_an_archive_without_a_manifest_says_that_one_was_made(
    ocitool: Command,
) -> None:
    done = ocitool("copy", APP, "oci-archive:x.tar")
    assert done.code == 0
    assert "had no manifest: one was made" in done.err
