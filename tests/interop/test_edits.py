"""What edits make is taken by the peers, and says there what was asked for."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers import (
    Containerd,
    Docker,
    Ocitool,
    Podman,
    fresh_files,
    run,
    skopeo,
)
from tests.support.docker_registry import DockerRegistry, running_registry
from tests.support.images import build_image, build_index, write_layout

pytestmark = pytest.mark.interop

Require = Callable[..., None]
SOURCE = "fmt/app:1.0"
EDITS = ("set", "append", "flatten", "rebase", "oci", "docker", "zstd", "unwrap")
OF_ZSTD = "zstd"
"""docker 20.10 and umoci 0.4.7 do not know it."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry without passwords, over plain http."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Ocitool:
    """A store with an image that docker built, and one of each edit of it: edited/set:1 and so on.

    Each has the label `edit`, so that a peer shows which one it took.
    """
    folder = tmp_path_factory.mktemp("edits")
    ocitool = Ocitool(folder / "store")
    ocitool.run("load", "fixtures/docker20-app-single.tar")
    site = fresh_files(folder / "site" / "srv", "one", "two").parent

    def make(edit: str, *words: str) -> None:
        ocitool.run(*words, "-t", f"edited/{edit}:0")
        label = ("--label", f"edit={edit}", "--label", 'odd=\u00e9 & "x"')
        ocitool.run("set", f"edited/{edit}:0", *label, "-t", f"edited/{edit}:1")

    make("set", "set", SOURCE, "--env", "EDITED=1", "--stop-signal", "SIGINT")
    make("append", "append", SOURCE, str(site), "--message", "a site")
    make("flatten", "flatten", "edited/append:1")
    make("rebase", "rebase", "edited/append:1", "--old-base", SOURCE, "--new-base", "edited/set:1")
    make("oci", "convert", SOURCE, "--oci")
    make("docker", "convert", "edited/oci:1", "--docker")
    make(OF_ZSTD, "convert", SOURCE, "--compression", "zstd")
    ocitool.run("index", "create", "edited/index:1", "edited/append:1")
    make("unwrap", "unwrap", "edited/index:1")
    return ocitool


def label_of(config: bytes) -> str:
    return str(json.loads(config)["config"]["Labels"]["edit"])


def saved(ocitool: Ocitool, edit: str, folder: Path) -> Path:
    """Save the image of an edit as one tar."""
    archive = folder / f"{edit}.tar"
    ocitool.run("save", f"edited/{edit}:1", "-o", str(archive))
    return archive


class TestM15:
    def test_crane_finds_each_whole(
        self, require: Require, registry: DockerRegistry, edited: Ocitool
    ) -> None:
        require("crane")
        for edit in EDITS:
            name = f"{registry.host}/crane/{edit}:1"
            edited.run("push", f"edited/{edit}:1", name)
            # crane 0.22 reads layers of zstd as if they were gzip.
            fast = ["--fast"] if edit == OF_ZSTD else []
            assert b"PASS" in run(["crane", "validate", "--remote", name, *fast]), edit
            assert label_of(run(["crane", "config", name])) == edit

    def test_docker_loads_and_runs_each(
        self, docker: Docker, edited: Ocitool, tmp_path: Path
    ) -> None:
        edited.run("save", SOURCE, "-o", str(tmp_path / "source.tar"))
        docker.run("load", "-i", str(tmp_path / "source.tar"))
        before = docker.run("run", "--rm", "--network=none", SOURCE)
        trees = {}
        for edit in EDITS:
            if edit == OF_ZSTD:
                continue
            docker.run("load", "-i", str(saved(edited, edit, tmp_path)))
            name = f"edited/{edit}:1"
            assert docker.run("run", "--rm", "--network=none", name) == before, edit
            shown = docker.run("image", "inspect", "--format", "{{.Config.Labels.edit}}", name)
            assert shown.decode().strip() == edit
            trees[edit] = docker.tree(name)
        assert trees["set"] == trees["oci"] == trees["docker"]
        assert "srv/one" in trees["append"]
        # A folder that a layer only repeats has the time of that layer in the flattened tree, too.
        assert trees["flatten"] == trees["append"] == trees["rebase"] == trees["unwrap"]

    def test_podman_loads_each(self, podman: Podman, edited: Ocitool, tmp_path: Path) -> None:
        for edit in EDITS:
            podman.run("load", "--quiet", "-i", str(saved(edited, edit, tmp_path)))
            name = f"docker.io/edited/{edit}:1"
            shown = podman.run("image", "inspect", "--format", "{{.Labels.edit}}", name)
            assert shown.decode().strip() == edit

    def test_skopeo_inspects_each(
        self, require: Require, registry: DockerRegistry, edited: Ocitool
    ) -> None:
        require("skopeo")
        for edit in EDITS:
            name = f"{registry.host}/skopeo/{edit}:1"
            pinned = edited.run("push", f"edited/{edit}:1", name).decode().strip()
            shown = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
            assert shown["Labels"]["edit"] == edit
            assert pinned.endswith(shown["Digest"])

    def test_umoci_unpacks_each(self, require: Require, edited: Ocitool, tmp_path: Path) -> None:
        require("umoci")
        for edit in EDITS:
            if edit == OF_ZSTD:
                continue
            layout = tmp_path / edit
            # umoci knows OCI's media types alone.
            words = ("convert", f"edited/{edit}:1", "--oci", "-t", f"oci:{layout}:1")
            edited.run(*words)
            bundle = tmp_path / f"{edit}-bundle"
            run(["umoci", "unpack", "--image", f"{layout}:1", str(bundle)])
            assert any((bundle / "rootfs").iterdir())

    def test_containerd_imports_each(
        self, containerd: Containerd, edited: Ocitool, tmp_path: Path
    ) -> None:
        for edit in EDITS:
            containerd.load(f"edit-{edit}", saved(edited, edit, tmp_path))
            digests = containerd.digests(f"edit-{edit}")
            printed = edited.run("inspect", f"edited/{edit}:1", "--json")
            assert digests[f"docker.io/edited/{edit}:1"] == json.loads(printed)["digest"]


class TestTheShowOfTwoRunners:
    """Two runners push by digest, a third merges: docker and crane see one index."""

    def test_it(
        self,
        require: Require,
        registry: DockerRegistry,
        docker: Docker,
        tmp_path: Path,
        machine: str,
    ) -> None:
        require("crane")
        name = f"{registry.host}/ci/app"
        files = fresh_files(tmp_path / "files", "one")
        layers = [{"one": (files / "one").read_bytes()}]
        other = "linux/arm64" if machine == "linux/amd64" else "linux/amd64"
        digests = tmp_path / "digests"
        digests.mkdir()
        built = {}
        for platform in (machine, other):
            built[platform] = build_image(layers, platform=platform)
            runner = Ocitool(tmp_path / platform.replace("/", "-"))
            index = build_index([built[platform]], attested=True)
            layout = write_layout(tmp_path / f"l-{platform[6:]}", {"1": index})
            digest = str(index.descriptor.digest)
            out = digests / platform.replace("/", "-")
            options = ("--by-digest", "--digestfile", str(out))
            runner.run("push", f"oci:{layout}:1", name, *options)
            assert out.read_text() == f"{digest}\n"
        third = Ocitool(tmp_path / "third")
        expected = f"{machine},{other}"
        words = ("--from-digestfiles", str(digests), "--expect", expected)
        merged = third.run("index", "create", f"docker://{name}:1", *words).decode().strip()
        assert merged == f"{name}@{run(['crane', 'digest', f'{name}:1']).decode().strip()}"
        listed = json.loads(run(["crane", "manifest", f"{name}:1"]))["manifests"]
        assert [one["digest"] for one in listed[:2]] == [
            str(image.descriptor.digest) for _, image in sorted(built.items())
        ]
        assert b"PASS" in run(["crane", "validate", "--remote", f"{name}:1", "--fast"])
        docker.run("pull", f"{name}:1")
        assert docker.image_id(f"{name}:1") == str(built[machine].config.digest)
        third.run("index", "remove", f"docker://{name}:1", other)
        one = third.run("unwrap", f"docker://{name}:1", "-t", f"docker://{name}:one", "-q")
        assert one.decode().strip() == str(built[machine].descriptor.digest)
        assert "manifests" not in json.loads(run(["crane", "manifest", f"{name}:one"]))
