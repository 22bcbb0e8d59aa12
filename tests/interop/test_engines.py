"""Engines as places: images go straight into them and come straight out, by name and by ID."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.peers import Docker, Ocitool, Podman, fresh_files
from tests.support.images import build_image, oci_archive

pytestmark = pytest.mark.interop

_ONE = "engines/one:1"
_TWO = "registry.example:5000/team/two:prod"


@pytest.fixture
def to_docker(docker: Docker, tmp_path: Path) -> Ocitool:
    """ocitool that finds the docker engine."""
    return Ocitool(tmp_path / "store", {"DOCKER_HOST": docker.host})


@pytest.fixture
def to_podman(podman: Podman, tmp_path: Path) -> Iterator[Ocitool]:
    """ocitool that finds a podman service."""
    with podman.service() as address:
        yield Ocitool(tmp_path / "store", {"CONTAINER_HOST": address})


@pytest.fixture
def built(docker: Docker, tmp_path: Path) -> dict[str, str]:
    """Two images that docker built, and their IDs."""
    context = fresh_files(tmp_path / "context", "first", "second")
    one = docker.build(context, "FROM scratch\nCOPY first /\n", _ONE)
    two = docker.build(context, "FROM scratch\nCOPY first /\nCOPY second /\n", _TWO)
    return {_ONE: one, _TWO: two}


def short(ids: dict[str, str]) -> dict[str, str]:
    """Return names as docker shows them."""
    return {name.removeprefix("docker.io/"): digest for name, digest in ids.items()}


def test_images_come_out_of_docker_by_name(to_docker: Ocitool, built: dict[str, str]) -> None:
    for name in built:
        to_docker.run("load", f"docker-daemon:{name}")
    assert short(to_docker.ids()) == built


def test_an_image_that_is_named_by_its_id_keeps_its_names(
    to_docker: Ocitool, built: dict[str, str]
) -> None:
    to_docker.run("load", f"docker-daemon:{built[_TWO].removeprefix('sha256:')[:12]}")
    assert to_docker.ids() == {_TWO: built[_TWO]}


def test_images_go_into_docker_with_their_names_and_ids(
    to_docker: Ocitool, docker: Docker, built: dict[str, str]
) -> None:
    to_docker.run("load", data=docker.run("save", *built))
    docker.remove(*built)
    to_docker.run("save", *built, "-o", "docker-daemon:")
    assert {name: docker.image_id(name) for name in built} == built


def test_copy_names_an_image_anew_in_docker(
    to_docker: Ocitool, docker: Docker, built: dict[str, str]
) -> None:
    to_docker.run("copy", f"docker-daemon:{_ONE}", "docker-daemon:engines/renamed:2")
    assert docker.image_id("engines/renamed:2") == built[_ONE]


def test_save_writes_images_of_docker_into_one_file(
    to_docker: Ocitool, built: dict[str, str], tmp_path: Path
) -> None:
    names = [f"docker-daemon:{name}" for name in built]
    to_docker.run("save", *names, "-o", str(tmp_path / "x.tar"))
    other = Ocitool(tmp_path / "other")
    other.run("load", str(tmp_path / "x.tar"))
    assert short(other.ids()) == built


def test_docker_describes_an_image_as_its_export_does(
    to_docker: Ocitool, docker: Docker, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "first", "second")
    steps = "COPY first /\nENV A=b\nCOPY second /x/\nWORKDIR /y\nLABEL k=v\nCMD /x\n"
    image_id = docker.build(context, f"FROM scratch\n{steps}", "engines/steps:1")
    to_docker.run("load", "docker-daemon:engines/steps:1")
    asked, read = (
        json.loads(to_docker.run("inspect", f"{prefix}engines/steps:1", "--json"))
        for prefix in ("docker-daemon:", "")
    )
    assert (asked["image_id"], asked["engine"]) == (image_id, "docker")
    for field in ("image_id", "names", "platform", "config", "created"):
        assert asked[field] == read[field]
    for field in ("diff_id", "instruction", "file_bytes"):
        assert [x[field] for x in asked["layers"]] == [x[field] for x in read["layers"]]


def test_an_image_that_docker_does_not_have_is_not_found(to_docker: Ocitool) -> None:
    done = to_docker.attempt("load", "docker-daemon:engines/nosuch:1")
    assert done.returncode == 4
    assert b"has no image engines/nosuch:1" in done.stderr


def test_an_engine_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/none", "CONTAINER_HOST": f"unix://{tmp_path}/no"}
    for kind in ("docker-daemon", "podman"):
        done = Ocitool(tmp_path / "store", nowhere).attempt("load", f"{kind}:x")
        assert done.returncode == 8
        assert b"there is no " in done.stderr


def test_what_docker_refuses_is_told_in_one_line(
    to_docker: Ocitool, docker: Docker, tmp_path: Path
) -> None:
    image = build_image([{"fresh": str(tmp_path).encode()}], compression="zstd")
    archive = tmp_path / "zstd.tar"
    archive.write_bytes(oci_archive({"engines/zstd:1": image}))
    to_docker.run("load", str(archive))
    done = to_docker.attempt("save", "engines/zstd:1", "-o", "docker-daemon:")
    assert done.returncode == 1
    assert b"use --compression gzip" in done.stderr
    to_docker.run("save", "engines/zstd:1", "--compression", "gzip", "-o", "docker-daemon:")
    assert docker.has("engines/zstd:1")


def test_the_docker_type_is_loaded_with_fresh_layers(
    to_docker: Ocitool, docker: Docker, built: dict[str, str], tmp_path: Path
) -> None:
    to_docker.run("load", data=docker.run("save", *built))
    trees = {name: docker.tree(name) for name in built}
    docker.remove(*built)
    to_docker.run("save", *built, "--type", "docker", "-o", str(tmp_path / "x.tar"))
    docker.run("load", "--input", str(tmp_path / "x.tar"))
    assert {name: docker.image_id(name) for name in built} == built
    assert {name: docker.tree(name) for name in built} == trees


def test_images_go_into_podman_and_come_out_again(
    to_podman: Ocitool, podman: Podman, docker: Docker, built: dict[str, str]
) -> None:
    to_podman.run("load", data=docker.run("save", *built))
    to_podman.run("save", *built, "-o", "podman:")
    ids = {name: digest.removeprefix("sha256:") for name, digest in short(podman.ids()).items()}
    assert {name: f"sha256:{ids[name]}" for name in built} == built
    back = Ocitool(to_podman.store.parent / "back", to_podman.environment)
    for name in built:
        back.run("load", f"podman:{name}")
    assert short(back.ids()) == built
