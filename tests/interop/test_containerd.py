"""A real containerd as the place that images are copied to."""

import os
from pathlib import Path

import pytest

from tests.interop.peers import Containerd, Ocitool
from tests.support.images import build_image, oci_archive

pytestmark = pytest.mark.interop

NAME = "registry.example/team/app:1"


@pytest.fixture
def to_containerd(containerd: Containerd, tmp_path: Path) -> Ocitool:
    """ocitool that finds the containerd, in a namespace of the test's own."""
    variables = {
        "CONTAINERD_ADDRESS": containerd.socket,
        "CONTAINERD_NAMESPACE": tmp_path.name,
        "CONTAINERD_SNAPSHOTTER": "native",
    }
    return Ocitool(tmp_path / "store", variables)


@pytest.fixture
def archive(tmp_path: Path, machine: str) -> Path:
    """An archive with an image that nobody has seen before."""
    image = build_image([{"fresh": os.urandom(3000)}], platform=machine)
    path = tmp_path / "app.tar"
    path.write_bytes(oci_archive({NAME: image}))
    return path


def test_copy_and_save_bring_images_with_their_digests(
    to_containerd: Ocitool, containerd: Containerd, archive: Path, tmp_path: Path
) -> None:
    to_containerd.run("load", str(archive))
    (stored,) = to_containerd.images()
    to_containerd.run("save", NAME, "-o", "containerd:")
    to_containerd.run("copy", str(archive), "containerd:team/renamed:2")
    assert containerd.digests(tmp_path.name) == {
        NAME: stored.digest,
        "docker.io/team/renamed:2": stored.digest,
    }


def test_an_image_for_another_machine_is_told(to_containerd: Ocitool, tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    path.write_bytes(oci_archive({NAME: build_image([{"a": b"b"}], platform="linux/riscv64")}))
    done = to_containerd.attempt("copy", str(path), "containerd:")
    assert done.returncode == 1
    assert b"refused the archive" in done.stderr
    assert b"no variant for this machine" in done.stderr


def test_a_containerd_that_is_gone_is_unavailable(archive: Path, tmp_path: Path) -> None:
    nowhere = Ocitool(tmp_path / "store", {"CONTAINERD_ADDRESS": str(tmp_path / "none")})
    done = nowhere.attempt("copy", str(archive), "containerd:")
    assert done.returncode == 8
    assert b"there is no containerd at" in done.stderr


def test_a_bundle_is_loaded(
    to_containerd: Ocitool, containerd: Containerd, archive: Path, tmp_path: Path
) -> None:
    to_containerd.run("bundle", "create", str(archive), "-o", str(tmp_path / "b.tar"))
    to_containerd.run("bundle", "load", str(tmp_path / "b.tar"), "--to", "containerd")
    assert list(containerd.digests(tmp_path.name)) == [NAME]
