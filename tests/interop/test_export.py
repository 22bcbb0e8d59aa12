"""Exported trees and single files against the peers: umoci, docker, podman and crane."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.inside.tarring import merged_tar, sorted_tar
from tests.interop.peers import Docker, Ocitool, Podman, fresh_files, run, tree_of
from tests.interop.test_inside import (
    each_archive,
    insides,
    known,
    tars,
    unpacked_by_umoci,
)
from tests.support.chunked_layers import chunked_image, estargz
from tests.support.docker_registry import DockerRegistry, running_registry
from tests.support.fault_proxy import FaultProxy
from tests.support.file_systems import agree, things_inside, things_on_disk
from tests.support.images import oci_archive
from tests.support.root_files import Node, folder, hard_link, link, program
from tests.support.small_images import CODECS, file, gone, opaque, small_image, write_image
from tests.test_corpus import Case

pytestmark = pytest.mark.interop
__all__ = ["known"]


def untarred(data: bytes, target: Path) -> Path:
    """Unpack a tar with GNU tar, as root, and return the folder."""
    target.mkdir()
    options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", str(target)]
    run(["tar", "-x", *options], data=data)
    return target


class TestUmoci:
    """GNU tar makes of what we export the tree that umoci unpacks."""

    @each_archive
    def test_every_archive(
        self, case: Case, known: set[object], tmp_path: Path, require: Callable[..., None]
    ) -> None:
        require("umoci", "tar")
        for number, inside in enumerate(insides(case, known)):
            place = tmp_path / str(number)
            place.mkdir()
            root = inside.tree.find("")
            ours = untarred(b"".join(merged_tar(inside, root, "")), place / "ours")
            in_order = untarred(b"".join(sorted_tar(inside, root, "")), place / "sorted")
            found = things_on_disk(ours)
            assert found == things_on_disk(in_order)
            theirs = unpacked_by_umoci(place, tars(inside), case.path.name)
            expected = agree(things_inside(inside), theirs or found)
            assert agree(expected, found) == expected

    @pytest.mark.parametrize("codec", CODECS[:2])
    def test_corner_cases(
        self, require: Callable[..., None], ocitool: Ocitool, tmp_path: Path, codec: str
    ) -> None:
        require("umoci", "tar")
        image = small_image(
            [
                folder("usr"),
                folder("usr/lib", 0o2775, owner=(3_000_000, 70_000)),
                file("usr/lib/a", 4000),
                link("lib", "usr/lib"),
                hard_link("b", "usr/lib/a"),
                hard_link("c", "b"),
                program("bin/tool", b"x" * 700),
                Node(path="dev/null", type=b"3", device=(1, 3), mode=0o666),
                Node(path="run/pipe", type=b"6"),
                file("set", 5, mode=0o6755, attributes={"user.a": "b"}),
                folder("gone"),
                file("gone/x", 1),
                folder("opaque"),
                file("opaque/x", 2),
            ],
            [
                file("lib/a", 5, "upper"),
                gone("gone"),
                opaque("opaque"),
                file("opaque/y", 3),
                folder("gone"),
                file("gone/z", 6),
            ],
            codec=codec,  # type: ignore[arg-type]
        )
        layout = write_image(tmp_path, image)
        ours = untarred(ocitool.run("export", f"oci:{layout}"), tmp_path / "ours")
        theirs = unpacked_by_umoci(tmp_path, image.tars, "corner")
        assert things_on_disk(ours) == theirs
        assert os.getxattr(ours / "set", "user.a") == b"b"


class TestEngines:
    """An engine's image has the files of its layers, and none that the engine adds."""

    def test_docker(self, docker: Docker, tmp_path: Path) -> None:
        ocitool = Ocitool(tmp_path / "store", {"DOCKER_HOST": docker.host})
        context = fresh_files(tmp_path / "context", "first", "second")
        docker.build(context, "FROM scratch\nCOPY first /etc/\nCOPY second /\n", "inside/a:1")
        found = tree_of(ocitool.run("export", "docker-daemon:inside/a:1"))
        container = docker.tree("inside/a:1")
        assert found == {path: container[path] for path in ("etc", "etc/first", "second")}
        listed = ocitool.run("files", "ls", "-R", "docker-daemon:inside/a:1").decode().split()
        assert listed == ["/etc/", "/etc/first", "/second"]

    def test_podman(self, podman: Podman, tmp_path: Path) -> None:
        context = fresh_files(tmp_path / "context", "first")
        podman.build(context, "FROM scratch\nCOPY first /etc/\n", "localhost/inside/b:1")
        with podman.service() as address:
            ocitool = Ocitool(tmp_path / "store", {"CONTAINER_HOST": address})
            content = ocitool.run("files", "cat", "podman:localhost/inside/b:1", "/etc/first")
        assert content == (context / "first").read_bytes()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class TestRanges:
    """One file of an image whose layers carry a table of contents, made by others."""

    SMALL = "etc/small"

    def _nodes(self) -> list[Node]:
        big = [program(f"big/{number}", os.urandom(1_500_000)) for number in range(4)]
        return [folder("etc"), file(self.SMALL, 300), *big]

    def _fetched(self, registry: DockerRegistry, ocitool: Ocitool, name: str) -> int:
        """Return how many bytes came while the small file was read."""
        with FaultProxy(registry.host) as proxy:
            done = run(ocitool.command("files", "cat", f"docker://{proxy.host}/{name}", self.SMALL))
        assert done == file(self.SMALL, 300).data
        return proxy.passed["down"]

    def test_estargz(self, registry: DockerRegistry, ocitool: Ocitool, tmp_path: Path) -> None:
        image = chunked_image(estargz(self._nodes(), chunk=1 << 20))
        (tmp_path / "a.tar").write_bytes(oci_archive({"1": image}))
        ocitool.run("push", str(tmp_path / "a.tar"), f"{registry.host}/ranges/estargz:1")
        assert self._fetched(registry, ocitool, "ranges/estargz:1") < 6_000_000 / 20

    def test_a_layer_without_a_table(
        self, registry: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        image = small_image(self._nodes(), codec="gzip")
        (tmp_path / "a.tar").write_bytes(oci_archive({"1": image}))
        ocitool.run("push", str(tmp_path / "a.tar"), f"{registry.host}/ranges/plain:1")
        assert self._fetched(registry, ocitool, "ranges/plain:1") > 6_000_000

    def test_zstd_chunked_of_podman(
        self, registry: DockerRegistry, ocitool: Ocitool, podman: Podman, tmp_path: Path
    ) -> None:
        archive = tmp_path / "a.tar"
        archive.write_bytes(oci_archive({"1": small_image(self._nodes(), codec="gzip")}))
        image = podman.run("load", "-q", "-i", str(archive)).decode().split()[-1]
        target = f"docker://{registry.host}/ranges/podman:1"
        options = ["--tls-verify=false", "--compression-format", "zstd:chunked", "--format", "oci"]
        podman.run("push", *options, image, target)
        assert self._fetched(registry, ocitool, "ranges/podman:1") < 6_000_000 / 20
