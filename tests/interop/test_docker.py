"""A real docker engine: what it saves we load, what we save it loads, and nothing is lost.

The engine never opens a layer that it already has, so every image here has layers of its own, and
images are removed before they are loaded again.
"""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Docker, Ocitool, fresh_files
from tests.support.images import BuiltImage, build_image, oci_archive, tar_of

pytestmark = pytest.mark.interop

_ONE = "interop/one:1"
_TWO = "registry.example:5000/team/two:prod"
_THREE = "interop/three:latest"


@pytest.fixture
def built(docker: Docker, tmp_path: Path) -> dict[str, str]:
    """Two images with three names and a layer in common, and their IDs."""
    context = fresh_files(tmp_path / "context", "first", "second", "third")
    base = "FROM scratch\nCOPY first /etc/first\nENV A=b\nLABEL x=y\n"
    one = docker.build(context, base + 'COPY second /\nCMD ["/first"]\n', _ONE, _TWO)
    # Docker keeps fields that the OCI specification does not have; the ID covers them.
    more = 'COPY third /\nHEALTHCHECK CMD x\nONBUILD USER 1\nSHELL ["/sh"]\n'
    three = docker.build(context, base + more, _THREE)
    return {_ONE: one, _TWO: one, _THREE: three}


def familiar(names: dict[str, str]) -> dict[str, str]:
    """Return names as docker shows them."""
    return {name.removeprefix("docker.io/"): digest for name, digest in names.items()}


def only(ids: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """Return what `ids` has under the wanted names."""
    return {name: ids[name] for name in names if name in ids}


def test_docker_save_of_two_images_is_loaded_with_all_names_and_image_ids(
    docker: Docker, ocitool: Ocitool, built: dict[str, str]
) -> None:
    ocitool.run("load", data=docker.run("save", *built))
    assert familiar(ocitool.ids()) == built


def test_docker_loads_our_save_with_all_names_and_image_ids_and_reads_every_layer(
    docker: Docker, ocitool: Ocitool, built: dict[str, str]
) -> None:
    ocitool.run("load", data=docker.run("save", *built))
    docker.remove(*built)
    assert not any(docker.has(image) for image in built.values())
    docker.run("load", data=ocitool.run("save", *built, "-o", "-"))
    assert only(docker.ids(), built) == built


def test_what_docker_loaded_from_us_and_saved_again_is_the_same_image_to_us(
    docker: Docker, ocitool: Ocitool, built: dict[str, str]
) -> None:
    ocitool.run("load", data=docker.run("save", *built))
    before = ocitool.images()
    docker.remove(*built)
    docker.run("load", data=ocitool.run("save", *built, "-o", "-"))
    assert b"Loaded" in ocitool.run("load", data=docker.run("save", *built))
    assert sorted(ocitool.images(), key=str) == sorted(before, key=str)


def test_inspect_reads_our_save_from_a_pipe(
    docker: Docker, ocitool: Ocitool, built: dict[str, str]
) -> None:
    ocitool.run("load", data=docker.run("save", _THREE))
    archive = ocitool.run("save", _THREE, "-o", "-")
    shown = ocitool.run("inspect", "--json", "-", data=archive).decode()
    assert built[_THREE] in shown
    assert _THREE in shown
    assert ocitool.run("inspect", "-", data=archive)


def test_docker_shows_the_same_configuration_after_the_journey(
    docker: Docker, ocitool: Ocitool, built: dict[str, str]
) -> None:
    before = _described(docker, _THREE)
    ocitool.run("load", data=docker.run("save", _THREE))
    docker.remove(_THREE)
    docker.run("load", data=ocitool.run("save", _THREE, "-o", "-"))
    assert _described(docker, _THREE) == before
    assert before["Config"]["Healthcheck"]
    assert before["Config"]["OnBuild"]
    assert before["Id"] == built[_THREE]


def _described(docker: Docker, name: str) -> dict[str, Any]:
    (found,) = json.loads(docker.run("image", "inspect", name))
    described: dict[str, Any] = found
    # Where the engine keeps layers, what it was built from and when it was named is not the image.
    for key in ("GraphDriver", "Metadata", "Parent"):
        described.pop(key)
    return described


def test_a_container_has_the_same_files_after_the_journey(docker: Docker, ocitool: Ocitool) -> None:
    name = "interop/files:1"
    docker.run("import", "-", name, data=_unusual_tar())
    before = docker.tree(name)
    ocitool.run("load", data=docker.run("save", name))
    docker.remove(name)
    docker.run("load", data=ocitool.run("save", name, "-o", "-"))
    assert docker.tree(name) == before
    assert {"etc/link", "etc/hard", "bin/tool", "fifo", "f" * 150} <= before.keys()


def _unusual_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, mode, owner in (("etc/real", 0o640, 12), ("bin/tool", 0o4755, 3_000_000)):
            data = os.urandom(2000)
            member = tarfile.TarInfo(path)
            member.mode, member.uid, member.gid = mode, owner, 34
            member.size, member.mtime = len(data), 1_700_000_000
            tar.addfile(member, io.BytesIO(data))
        for path, kind, target in (
            ("etc/link", tarfile.SYMTYPE, "../bin/tool"),
            ("etc/hard", tarfile.LNKTYPE, "etc/real"),
            ("fifo", tarfile.FIFOTYPE, ""),
            ("f" * 150, tarfile.REGTYPE, ""),
            ("ümlaut", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(path)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return out.getvalue()


def test_a_deleted_file_stays_deleted(docker: Docker, ocitool: Ocitool) -> None:
    name = "interop/deleted:1"
    layers = [{"a": os.urandom(100), "b": os.urandom(100)}, {".wh.a": b"", "c": os.urandom(100)}]
    _load_built(ocitool, {name: build_image(layers)})
    docker.run("load", data=ocitool.run("save", name, "-o", "-"))
    tree = docker.tree(name)
    assert "a" not in tree
    assert {"b", "c"} <= tree.keys()


def test_images_that_docker_has_never_seen_are_loaded_with_names_and_ids(
    docker: Docker, ocitool: Ocitool
) -> None:
    images = {f"interop/fresh-{number}:1": _fresh() for number in range(3)}
    _load_built(ocitool, images)
    docker.run("load", data=ocitool.run("save", *images, "-o", "-"))
    wanted = {name: str(image.config.digest) for name, image in images.items()}
    assert only(docker.ids(), wanted) == wanted


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_recompressed_layers_keep_the_image_id(
    docker: Docker, ocitool: Ocitool, built: dict[str, str], compression: str
) -> None:
    archive = docker.run("save", *built)
    ocitool.run("load", "--compression", compression, data=archive)
    docker.remove(*built)
    docker.run("load", data=ocitool.run("save", *built, "-o", "-"))
    assert only(docker.ids(), built) == built


def test_an_image_saved_by_its_id_has_no_name_on_either_side(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "only")
    name = "interop/by-id:1"
    image_id = docker.build(context, "FROM scratch\nCOPY only /\n", name)
    ocitool.run("load", data=docker.run("save", image_id))
    (image,) = ocitool.images()
    assert (image.names, image.image_id) == (frozenset(), image_id)
    docker.remove(name)
    assert not docker.has(image_id)
    archive = ocitool.run("save", image_id.removeprefix("sha256:")[:12], "-o", "-")
    docker.run("load", data=archive)
    assert docker.has(image_id)
    assert name not in docker.ids()


def test_a_repository_without_a_tag_brings_all_its_tags(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "first", "second")
    ids = {
        f"interop/tags:{file}": docker.build(
            context, f"FROM scratch\nCOPY {file} /\n", f"interop/tags:{file}"
        )
        for file in ("first", "second")
    }
    ocitool.run("load", data=docker.run("save", "interop/tags"))
    assert familiar(ocitool.ids()) == ids


def test_a_committed_container_is_an_image_like_any_other(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "first", "second")
    docker.build(context, "FROM scratch\nCOPY first /\n", "interop/base:1")
    container = docker.run("create", "interop/base:1", "/nothing").decode().strip()
    docker.run("cp", str(context / "second"), f"{container}:/second")
    docker.run("commit", "--message", "by hand", container, "interop/committed:1")
    docker.run("rm", container)
    wanted = {"interop/committed:1": docker.image_id("interop/committed:1")}
    ocitool.run("load", data=docker.run("save", *wanted))
    docker.remove(*wanted, "interop/base:1")
    docker.run("load", data=ocitool.run("save", *wanted, "-o", "-"))
    assert only(docker.ids(), wanted) == wanted


def test_a_layer_that_occurs_twice_and_an_empty_one_survive_both_ways(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    name = "interop/twice:1"
    image = _repeating()
    _load_built(ocitool, {name: image})
    docker.run("load", data=ocitool.run("save", name, "-o", "-"))
    assert docker.image_id(name) == str(image.config.digest)
    # Docker writes the second occurrence of a layer as a symbolic link.
    other = Ocitool(tmp_path / "other")
    other.run("load", data=docker.run("save", name))
    assert familiar(other.ids()) == {name: str(image.config.digest)}
    docker.remove(name)
    docker.run("load", data=other.run("save", name, "-o", "-"))
    assert docker.image_id(name) == str(image.config.digest)


def test_a_compressed_save_is_read_on_both_sides(
    docker: Docker, ocitool: Ocitool, built: dict[str, str], tmp_path: Path
) -> None:
    ocitool.run("load", "-", data=gzip.compress(docker.run("save", *built), 1))
    docker.remove(*built)
    archive = tmp_path / "images.tar.gz"
    ocitool.run("save", *built, "-o", str(archive))
    assert archive.read_bytes()[:2] == b"\x1f\x8b"
    docker.run("load", "--input", str(archive))
    assert only(docker.ids(), built) == built


def test_a_name_that_moved_in_docker_moves_in_our_store(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "old", "new")
    name = "interop/moving:1"
    docker.build(context, "FROM scratch\nCOPY old /\n", name)
    ocitool.run("load", data=docker.run("save", name))
    newer = docker.build(context, "FROM scratch\nCOPY new /\n", name)
    ocitool.run("load", data=docker.run("save", name))
    assert familiar(ocitool.ids()) == {name: newer}


def _fresh() -> BuiltImage:
    return build_image([{"first": os.urandom(5000)}, {"second": os.urandom(5000)}])


def _repeating() -> BuiltImage:
    first, second = tar_of({"a": os.urandom(500)}), tar_of({"b": os.urandom(500)})
    return build_image([first, second, first, tar_of({}), tar_of({})])


def _load_built(ocitool: Ocitool, images: dict[str, BuiltImage]) -> None:
    ocitool.run("load", data=oci_archive(images))
