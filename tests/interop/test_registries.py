"""Registries in between: what others pushed we pull, and the other way round, digest by digest.

The registry is Debian's docker-registry. Every image has layers that nobody has seen before.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.interop.peers import Docker, Ocitool, Podman, fresh_files, run, skopeo
from tests.support.docker_registry import DockerRegistry, Kind, running_registry
from tests.support.images import (
    BuiltImage,
    build_artifact,
    build_image,
    build_index,
    oci_archive,
)
from tests.support.registry import EmulatedRegistry, Quirks

pytestmark = pytest.mark.interop

_PUSHED = "pushed by, then pulled by ocitool"
_PULLED = "pushed by ocitool, then pulled by"
Require = Callable[..., None]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry without passwords, over plain http."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(ocitool: Ocitool, tmp_path: Path, machine: str) -> tuple[str, str, str]:
    """A fresh image in our store: its name there, its manifest digest and its image ID."""
    files = fresh_files(tmp_path / "files", "first", "second")
    layers = [{name: (files / name).read_bytes()} for name in ("first", "second")]
    built = build_image(layers, platform=machine, config={"config": {"Cmd": ["/first"]}})
    return _in_store(ocitool, built, "local/fresh:1", tmp_path)


def _in_store(ocitool: Ocitool, built: BuiltImage, name: str, folder: Path) -> tuple[str, str, str]:
    archive = folder / "fresh.tar"
    archive.write_bytes(oci_archive({f"docker.io/{name}": built}))
    ocitool.run("load", str(archive))
    return name, str(built.descriptor.digest), str(built.config.digest)


def _digest_at(host: str, name: str) -> str:
    options = ["--tls-verify=false", "--format", "{{.Digest}}"]
    return skopeo("inspect", *options, f"docker://{host}/{name}").decode().strip()


def _cell(table: str, row: str) -> pytest.MarkDecorator:
    return pytest.mark.cell(table, row, "digest and image ID", "equal")


class TestTheyPush:
    """What another tool pushed, we pull with the digest that the registry has for it."""

    @_cell(_PUSHED, "docker push 20.10")
    def test_what_docker_pushed(
        self, docker: Docker, registry: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        name = f"{registry.host}/theirs/docker:1"
        context = fresh_files(tmp_path / "context", "first", "second")
        dockerfile = "FROM scratch\nCOPY first /\nCOPY second /\n"
        image_id = docker.build(context, dockerfile, name)
        docker.run("push", name)
        self._pull(registry, ocitool, "theirs/docker:1", image_id)

    @_cell(_PUSHED, "podman push 4.3")
    @pytest.mark.parametrize("form", ["oci", "docker"])
    def test_what_podman_pushed(
        self,
        podman: Podman,
        registry: DockerRegistry,
        ocitool: Ocitool,
        tmp_path: Path,
        form: str,
    ) -> None:
        name = f"{registry.host}/theirs/podman-{form}:1"
        context = fresh_files(tmp_path / "context", "first")
        image_id = podman.build(context, "FROM scratch\nCOPY first /\n", name, form=form)
        podman.run("push", "--quiet", "--tls-verify=false", name)
        self._pull(registry, ocitool, f"theirs/podman-{form}:1", image_id)

    @_cell(_PUSHED, "buildah push 1.28")
    def test_what_buildah_pushed(
        self, podman: Podman, registry: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        name = f"{registry.host}/theirs/buildah:1"
        context = fresh_files(tmp_path / "context", "first")
        image_id = podman.build(context, "FROM scratch\nCOPY first /\n", name)
        podman.buildah("push", "--quiet", "--tls-verify=false", name)
        self._pull(registry, ocitool, "theirs/buildah:1", image_id)

    @_cell(_PUSHED, "skopeo copy 1.9")
    def test_what_skopeo_pushed(
        self,
        require: Require,
        registry: DockerRegistry,
        ocitool: Ocitool,
        image: tuple[str, str, str],
        tmp_path: Path,
    ) -> None:
        require("skopeo")
        layout = tmp_path / "layout"
        ocitool.run("copy", image[0], f"oci:{layout}:1")
        target = f"docker://{registry.host}/theirs/skopeo:1"
        skopeo("copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:1", target)
        other = Ocitool(tmp_path / "other")
        self._pull(registry, other, "theirs/skopeo:1", image[2])

    @_cell(_PUSHED, "crane push 0.22")
    def test_what_crane_pushed(
        self,
        require: Require,
        registry: DockerRegistry,
        ocitool: Ocitool,
        image: tuple[str, str, str],
        tmp_path: Path,
    ) -> None:
        require("crane", "skopeo")
        archive = tmp_path / "image.tar"
        ocitool.run("save", image[0], "--type", "docker", "-o", str(archive))
        run(["crane", "push", str(archive), f"{registry.host}/theirs/crane:1"])
        self._pull(registry, Ocitool(tmp_path / "other"), "theirs/crane:1", image[2])

    def _pull(self, registry: DockerRegistry, ocitool: Ocitool, name: str, image_id: str) -> None:
        printed = ocitool.run("pull", f"{registry.host}/{name}").decode().split()
        wanted = _digest_at(registry.host, name)
        assert printed == [f"{registry.host}/{name.removesuffix(':1')}@{wanted}"]
        (found,) = [i for i in ocitool.images() if f"{registry.host}/{name}" in i.names]
        assert (found.digest, found.image_id) == (wanted, image_id)


class TestWePush:
    """What we pushed, another tool pulls as the same image."""

    @pytest.fixture
    def pushed(
        self, registry: DockerRegistry, ocitool: Ocitool, image: tuple[str, str, str]
    ) -> tuple[str, str, str]:
        """The image in the registry: its name, digest and image ID."""
        name = f"{registry.host}/ours/{image[1][7:19]}:1"
        printed = ocitool.run("push", image[0], name).decode().split()
        assert printed[-1] == f"{name.removesuffix(':1')}@{image[1]}"
        return name, image[1], image[2]

    @_cell(_PULLED, "docker pull 20.10")
    def test_docker_pulls_it(self, docker: Docker, pushed: tuple[str, str, str]) -> None:
        name, digest, image_id = pushed
        assert digest.encode() in docker.run("pull", name)
        assert docker.image_id(name) == image_id

    @_cell(_PULLED, "podman pull 4.3")
    def test_podman_pulls_it(self, podman: Podman, pushed: tuple[str, str, str]) -> None:
        name, digest, image_id = pushed
        podman.run("pull", "--quiet", "--tls-verify=false", name)
        assert podman.image_id(name) == image_id
        shown = podman.run("image", "inspect", "--format", "{{.Digest}}", name)
        assert shown.decode().strip() == digest

    @_cell(_PULLED, "buildah pull 1.28")
    def test_buildah_pulls_it(self, podman: Podman, pushed: tuple[str, str, str]) -> None:
        name, _, image_id = pushed
        found = podman.buildah("pull", "--quiet", "--tls-verify=false", name)
        assert found.decode().strip() == image_id.removeprefix("sha256:")

    @_cell(_PULLED, "skopeo copy 1.9")
    def test_skopeo_copies_it(
        self, require: Require, pushed: tuple[str, str, str], tmp_path: Path
    ) -> None:
        require("skopeo")
        name, digest, _ = pushed
        layout = tmp_path / "copied"
        source = f"docker://{name}"
        skopeo("copy", "--quiet", "--src-tls-verify=false", source, f"oci:{layout}:1")
        with Layout.existing(str(layout)) as copied:
            assert [str(root.descriptor.digest) for root in copied.roots()] == [digest]

    @_cell(_PULLED, "crane digest, validate 0.22")
    def test_crane_finds_it_whole(self, require: Require, pushed: tuple[str, str, str]) -> None:
        require("crane")
        name, digest, _ = pushed
        assert run(["crane", "digest", name]).decode().strip() == digest
        assert b"PASS" in run(["crane", "validate", "--remote", name])

    def test_a_container_of_what_docker_pulled_runs(
        self, docker: Docker, registry: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        ocitool.run("load", "fixtures/docker20-app-single.tar")
        name = f"{registry.host}/ours/app:1"
        ocitool.run("push", "fmt/app:1.0", name)
        docker.run("pull", name)
        said = docker.run("run", "--rm", "--network", "none", name, "/bin/sh", "-c", "echo ran")
        assert said == b"ran\n"


@pytest.mark.parametrize("kind", ["plain", "htpasswd", "token", "tls"])
def test_an_image_goes_through_a_registry_of_each_kind(
    kind: Kind, ocitool: Ocitool, image: tuple[str, str, str], tmp_path: Path
) -> None:
    with running_registry(tmp_path / "registry", kind) as registry:
        authfile = tmp_path / "auth.json"
        options = ["--authfile", str(authfile)]
        if registry.ca is not None:
            options = ["--ca-cert", str(registry.ca), "--client-cert", str(registry.client_cert)]
            options += ["--client-key", str(registry.client_key)]
        elif kind != "plain":
            words = ["login", registry.host, "-u", registry.user, "--password-stdin", *options]
            ocitool.run(*words, data=registry.password.encode())
        name = f"{registry.host}/team/image:1"
        ocitool.run("push", image[0], name, *options)
        other = Ocitool(tmp_path / "other")
        assert image[1].encode() in other.run("pull", name, *options)
        assert other.ids() == {name: image[2]}
        if kind in ("htpasswd", "token"):
            denied = other.attempt("pull", name, "--authfile", str(tmp_path / "none.json"))
            assert denied.returncode == 5, denied.stderr


@pytest.fixture(params=["docker-registry", "with the referrers API"])
def any_registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """The host of a registry without the referrers API, and of one with it."""
    if request.param == "docker-registry":
        yield request.getfixturevalue("registry").host
        return
    with EmulatedRegistry(Quirks(referrers="api", subject_header=True)) as emulated:
        yield emulated.host


def test_an_index_and_what_is_attached_survive_every_way(
    any_registry: str, require: Require, tmp_path: Path
) -> None:
    # Registry, store, archive, another store, registry: nothing is lost and nothing nameless.
    require("skopeo")
    children = [build_image([_noise(p)], platform=f"linux/{p}") for p in ("amd64", "arm64")]
    index = build_index(children, attested=True)
    signature = build_artifact(index.descriptor)
    archive = tmp_path / "first.tar"
    archive.write_bytes(oci_archive({"docker.io/local/index:1": index}, [signature]))
    start, first, second = (Ocitool(tmp_path / name) for name in ("start", "one", "two"))
    start.run("load", str(archive))
    one, two = f"{any_registry}/way/index:1", f"{any_registry}/back/index:1"
    start.run("push", "--referrers", "local/index:1", one)
    first.run("pull", "--referrers", one)
    first.run("save", one, "-o", str(tmp_path / "carry.tar"))
    second.run("load", str(tmp_path / "carry.tar"))
    for store in (first, second):
        assert "<none>" not in store.run("images").decode()
        assert _blobs(store) >= {str(digest) for digest in (*index.blobs, *signature.blobs)}
    second.run("push", "--referrers", one, two)
    last = Ocitool(tmp_path / "last")
    last.run("pull", "--referrers", two)
    assert _blobs(last) == _blobs(second)
    for name in (one, two):
        found = _digest_at(any_registry, name.partition("/")[2])
        assert found == str(index.descriptor.digest)


def _noise(name: str) -> dict[str, bytes]:
    return {name: os.urandom(3000)}


def _blobs(store: Ocitool) -> set[str]:
    with Layout.existing(str(store.store)) as layout:
        return {str(digest) for digest in layout.blob_digests()}
