"""`registry serve` and its clients: what they push is served to them, digest by digest."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ocitool.oci import Digest
from tests.interop.peers import Containerd, Docker, Ocitool, Podman, fresh_files, run, skopeo
from tests.support.images import BuiltImage, build_image, build_index, oci_archive
from tests.support.registry import EmulatedRegistry

pytestmark = pytest.mark.interop

Require = Callable[..., None]
_TABLE = "registry serve"


class Site:
    """A running `registry serve`: its address, and how to end it."""

    def __init__(self, host: str, process: "subprocess.Popen[bytes]") -> None:
        self.host = host
        self.process = process


@contextlib.contextmanager
def serving(ocitool: Ocitool, folder: Path, *options: str, port: int = 0) -> Iterator[Site]:
    """Serve the store of `ocitool` until the block ends; the end must be graceful."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    address = ("--addr", f"127.0.0.1:{port}", "--ready-file", str(ready))
    command = ocitool.command("registry", "serve", *address, *options)
    with (folder / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            url = ready.read_text().split()[0]
            yield Site(url.removeprefix("http://"), process)
        finally:
            process.terminate()
            code = process.wait(60)
    assert code == 0, (folder / "log").read_text()


@pytest.fixture
def store(tmp_path: Path) -> Ocitool:
    """A store that is served, apart from that of the test."""
    return Ocitool(tmp_path / "served")


@pytest.fixture
def site(store: Ocitool, tmp_path: Path) -> Iterator[Site]:
    with serving(store, tmp_path, "--writable", "--deletable") as running:
        yield running


@pytest.fixture
def built(machine: str, tmp_path: Path) -> BuiltImage:
    """An image with layers that nobody has seen before."""
    files = fresh_files(tmp_path / "files", "first", "second")
    layers = [{name: (files / name).read_bytes()} for name in ("first", "second")]
    return build_image(layers, platform=machine, config={"config": {"Cmd": ["/first"]}})


def into(store: Ocitool, built: BuiltImage, name: str, folder: Path) -> None:
    archive = folder / "in.tar"
    archive.write_bytes(oci_archive({name: built}))
    store.run("load", str(archive))


def only_image(store: Ocitool, name: str) -> tuple[str, str]:
    """Return digest and image ID of a name in the store, which is verified whole."""
    (image,) = [image for image in store.images() if name in image.names]
    return image.digest, image.image_id


def _cell(row: str, column: str) -> pytest.MarkDecorator:
    return pytest.mark.cell(_TABLE, row, column, "yes")


class TestClientsPushAndPull:
    @_cell("docker 20.10", "push, pull")
    def test_docker(self, docker: Docker, site: Site, store: Ocitool, tmp_path: Path) -> None:
        name = f"{site.host}/team/docker:1"
        context = fresh_files(tmp_path / "context", "first", "second")
        image_id = docker.build(context, "FROM scratch\nCOPY first /\nCOPY second /\n", name)
        docker.run("push", name)
        assert only_image(store, "localhost/team/docker:1")[1] == image_id
        docker.remove(name)
        docker.run("pull", name)
        assert docker.image_id(name) == image_id

    @_cell("podman 4.3", "push, pull")
    @pytest.mark.parametrize("form", ["oci", "docker"])
    def test_podman(
        self, podman: Podman, site: Site, store: Ocitool, tmp_path: Path, form: str
    ) -> None:
        name = f"{site.host}/team/podman-{form}:1"
        context = fresh_files(tmp_path / "context", "first")
        image_id = podman.build(context, "FROM scratch\nCOPY first /\n", name, form=form)
        podman.run("push", "--quiet", "--tls-verify=false", name)
        assert only_image(store, f"localhost/team/podman-{form}:1")[1] == image_id
        podman.run("rmi", "--force", name)
        podman.run("pull", "--quiet", "--tls-verify=false", name)
        assert podman.image_id(name) == image_id

    @_cell("skopeo 1.9", "push, pull")
    def test_skopeo(
        self, require: Require, site: Site, store: Ocitool, built: BuiltImage, tmp_path: Path
    ) -> None:
        require("skopeo")
        archive = tmp_path / "image.tar"
        archive.write_bytes(oci_archive({"docker.io/library/x:1": built}))
        target = f"docker://{site.host}/team/skopeo:1"
        skopeo("copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}", target)
        assert only_image(store, "localhost/team/skopeo:1")[0] == str(built.descriptor.digest)
        skopeo("copy", "-q", "--src-tls-verify=false", target, f"dir:{tmp_path}/out")
        assert (tmp_path / "out/manifest.json").read_bytes() == built.manifest
        listed = skopeo("list-tags", "--tls-verify=false", target.rpartition(":")[0])
        assert json.loads(listed)["Tags"] == ["1"]
        skopeo("delete", "--tls-verify=false", target)
        assert store.images() == []

    @_cell("crane 0.22", "push, pull")
    def test_crane(
        self, require: Require, site: Site, store: Ocitool, built: BuiltImage, tmp_path: Path
    ) -> None:
        require("crane")
        into(Ocitool(tmp_path / "own"), built, "docker.io/library/x:1", tmp_path)
        layout = tmp_path / "layout"
        Ocitool(tmp_path / "own").run("copy", "x:1", f"oci:{layout}")
        name = f"{site.host}/team/crane:1"
        run(["crane", "push", str(layout), name])
        digest = str(built.descriptor.digest)
        assert only_image(store, "localhost/team/crane:1")[0] == digest
        assert run(["crane", "digest", name]).decode().strip() == digest
        assert b"PASS" in run(["crane", "validate", "--remote", name])
        run(["crane", "copy", name, f"{site.host}/other/crane:2"])
        assert run(["crane", "catalog", site.host]).split() == [b"other/crane", b"team/crane"]

    @_cell("oras 1.3", "push, pull")
    def test_oras(self, require: Require, site: Site, store: Ocitool, tmp_path: Path) -> None:
        require("oras")
        work = tmp_path / "work"
        work.mkdir()
        (work / "notes.txt").write_text("notes")
        (work / "sbom.json").write_text("{}")
        name = f"{site.host}/team/artifact:1"

        def oras(command: str, *arguments: str, folder: Path = work) -> bytes:
            return run(["oras", command, "--plain-http", *arguments], folder=folder)

        oras("push", "--artifact-type", "text/x.notes", name, "notes.txt:text/plain")
        oras("attach", "--artifact-type", "text/x.sbom", name, "sbom.json")
        found = json.loads(oras("discover", "--format", "json", name))
        attached = found.get("referrers", found.get("manifests"))
        assert [one["artifactType"] for one in attached] == ["text/x.sbom"]
        out = tmp_path / "out"
        out.mkdir()
        oras("pull", name, folder=out)
        assert (out / "notes.txt").read_text() == "notes"
        store.run("verify")

    @_cell("containerd 1.6", "hosts.toml")
    def test_containerd_with_a_mirror(
        self,
        containerd: Containerd,
        site: Site,
        store: Ocitool,
        built: BuiltImage,
        tmp_path: Path,
    ) -> None:
        into(store, built, "docker.io/library/mirrored:1", tmp_path)
        into(store, built, "ghcr.io/team/mirrored:1", tmp_path)
        for registry in ("docker.io", "ghcr.io"):
            hosts = tmp_path / "certs.d" / registry
            hosts.mkdir(parents=True)
            (hosts / "hosts.toml").write_text(
                f'server = "https://unreachable.invalid"\n[host."http://{site.host}"]\n'
                '  capabilities = ["pull", "resolve"]\n'
            )
        for name in ("docker.io/library/mirrored:1", "ghcr.io/team/mirrored:1"):
            options = ("--hosts-dir", str(tmp_path / "certs.d"), "--snapshotter", "native")
            containerd.run("serving", "images", "pull", *options, name)
            assert containerd.digests("serving")[name] == str(built.descriptor.digest)

    @_cell("containerd 1.6", "push")
    def test_containerd_pushes(
        self,
        containerd: Containerd,
        site: Site,
        store: Ocitool,
        built: BuiltImage,
        tmp_path: Path,
    ) -> None:
        name = f"{site.host}/team/ctr:1"
        archive = tmp_path / "in.tar"
        archive.write_bytes(oci_archive({name: built}))
        containerd.load("pushing", archive)
        containerd.run("pushing", "images", "push", "--plain-http", name)
        assert only_image(store, "localhost/team/ctr:1")[0] == str(built.descriptor.digest)

    @_cell("docker 20.10", "a bundle, read-only")
    def test_docker_pulls_from_a_bundle(
        self, docker: Docker, ocitool: Ocitool, built: BuiltImage, tmp_path: Path
    ) -> None:
        into(ocitool, built, "docker.io/team/carried:1", tmp_path)
        bundle = tmp_path / "carry.tar"
        ocitool.run("bundle", "create", "team/carried:1", "-o", str(bundle))
        with serving(Ocitool(tmp_path / "none"), tmp_path, str(bundle)) as site:
            name = f"{site.host}/team/carried:1"
            docker.run("pull", name)
            assert docker.image_id(name) == str(built.config.digest)


class TestACache:
    @_cell("docker 20.10", "a cache")
    def test_docker_pulls_through(
        self, docker: Docker, ocitool: Ocitool, built: BuiltImage, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as behind:
            behind.add_image("team/app", built, "1")
            with serving(ocitool, tmp_path, "--upstream", f"{behind.host}/team") as site:
                name = f"{site.host}/team/app:1"
                docker.run("pull", name)
                assert docker.image_id(name) == str(built.config.digest)
                assert only_image(ocitool, f"{behind.host}/team/app:1")[0] == str(
                    built.descriptor.digest
                )
                docker.remove(name)
                asked = len([one for one in behind.log if "/blobs/" in one.target])
                docker.run("pull", name)
                assert len([one for one in behind.log if "/blobs/" in one.target]) == asked


class TestTwoRunnersAndAnIndex:
    def test_platforms_by_digest_and_an_index_of_them(
        self, require: Require, site: Site, store: Ocitool, tmp_path: Path
    ) -> None:
        require("crane")
        platforms = [
            build_image([fresh(tmp_path, arch)], platform=f"linux/{arch}")
            for arch in ("amd64", "arm64")
        ]
        own = Ocitool(tmp_path / "own")
        archive = tmp_path / "index.tar"
        built = build_index(platforms)
        archive.write_bytes(oci_archive({"docker.io/library/multi:1": built}))
        own.run("load", str(archive))
        own.run("push", "multi:1", f"{site.host}/team/multi:1", "--plain-http")
        name = f"{site.host}/team/multi:1"
        assert run(["crane", "digest", name]).decode().strip() == str(built.descriptor.digest)
        for child in platforms:
            asked = ["crane", "manifest", f"{site.host}/team/multi@{child.descriptor.digest}"]
            assert run(asked) == child.manifest
        store.run("verify")


def fresh(folder: Path, name: str) -> dict[str, bytes]:
    (made,) = fresh_files(folder / name, "file").iterdir()
    return {"file": made.read_bytes()}


class TestAKilledServer:
    def test_an_upload_goes_on_after_kill_9(
        self, require: Require, store: Ocitool, tmp_path: Path
    ) -> None:
        require("curl")
        data = os.urandom(6 << 20)
        digest = Digest.of(data)
        with contextlib.suppress(AssertionError), serving(store, tmp_path, "--writable") as site:
            where = started(site.host)
            client = subprocess.Popen(
                curl("PATCH", f"http://{site.host}{where}", "--limit-rate", "4M", "-T", "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert client.stdin is not None
            client.stdin.write(data[: 4 << 20])
            client.stdin.flush()
            time.sleep(0.5)
            site.process.send_signal(signal.SIGKILL)
            site.process.wait()
            client.kill()
            client.communicate()
        with serving(store, tmp_path, "--writable") as site:
            address = f"http://{site.host}{where}"
            status = run(curl("GET", address, "-D", "-")).decode().lower()
            arrived = int(status.partition("range: 0-")[2].split()[0]) + 1
            assert 0 < arrived <= 4 << 20
            rest = tmp_path / "rest"
            rest.write_bytes(data[arrived:])
            span = f"Content-Range: {arrived}-{len(data) - 1}"
            done = run(
                curl(
                    "PUT",
                    f"{address}?digest={digest}",
                    *("-H", span, "-D", "-", "--data-binary", f"@{rest}"),
                )
            )
            assert b" 201 " in done
            blob = run(curl("GET", f"http://{site.host}/v2/app/blobs/{digest}"))
            assert blob == data


def curl(method: str, url: str, *options: str) -> list[str]:
    return ["curl", "-sS", "-X", method, *options, url]


def started(host: str) -> str:
    head = run(curl("POST", f"http://{host}/v2/app/blobs/uploads/", "-D", "-")).decode()
    return next(
        line.partition(": ")[2].strip()
        for line in head.splitlines()
        if line.lower().startswith("location")
    )


class TestS1Conformance:
    """The program of the specification: nothing fails, nothing is skipped."""

    @pytest.mark.parametrize("version", ["1.1", "dev"])
    def test_all_that_can_be_pushed_and_deleted(
        self, require: Require, site: Site, tmp_path: Path, version: str
    ) -> None:
        require("conformance")
        printed = conformance(
            site.host, tmp_path, OCI_VERSION=version, OCI_REPO1="a/one", OCI_REPO2="b/two"
        )
        assert counted(printed, "FAIL") == 0
        assert counted(printed, "Skip") == 0
        assert counted(printed, "Pass") > 100

    def test_what_is_only_read(
        self, require: Require, store: Ocitool, built: BuiltImage, tmp_path: Path
    ) -> None:
        require("conformance")
        into(store, built, "localhost/app:1", tmp_path)
        with serving(store, tmp_path) as site:
            printed = conformance(
                site.host,
                tmp_path,
                OCI_VERSION="1.1",
                OCI_REPO1="app",
                OCI_API_PUSH="false",
                OCI_API_BLOBS_DELETE="false",
                OCI_API_MANIFESTS_DELETE="false",
                OCI_API_TAGS_DELETE="false",
                OCI_RO_DATA_TAGS="1",
                OCI_RO_DATA_MANIFESTS=str(built.descriptor.digest),
                OCI_RO_DATA_BLOBS=str(built.layers[0].digest),
                OCI_RO_DATA_REFERRERS=str(built.descriptor.digest),
            )
        # The program panics while it writes its results, also when all passes.
        assert " FAIL" not in printed.partition("FAIL..")[0]


def conformance(host: str, folder: Path, **options: str) -> str:
    results = folder / "results"
    environment = {
        **os.environ,
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_RESULTS_DIR": str(results),
        **options,
    }
    done = subprocess.run(
        ["conformance"], env=environment, cwd=folder, capture_output=True, check=False, timeout=300
    )
    return (done.stdout + done.stderr).decode()


def counted(printed: str, word: str) -> int:
    """Return the number in the summary of the program: `FAIL....: 0`."""
    lines: Sequence[str] = [
        line for line in printed.splitlines() if line.strip().startswith(f"{word}..")
    ]
    assert lines, printed[-2000:]
    return int(lines[-1].rpartition(":")[2])
