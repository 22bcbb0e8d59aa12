"""Artifacts of the oras CLI (Go) and of the oras package (Python), both ways."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers import Ocitool, run
from tests.support.docker_registry import running_registry
from tests.support.registry import EmulatedRegistry

pytestmark = pytest.mark.interop

_PUSHED = "artifacts pushed by, then pulled by ocitool"
_PULLED = "artifacts pushed by ocitool, then pulled by"
_CLI, _PACKAGE = "oras CLI 1.3", "oras-py 0.2"
Tree = dict[str, tuple[str, int]]


@pytest.fixture(params=["emulated", "docker-registry"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry with the referrers API, and one without it, over plain http."""
    if request.param == "emulated":
        with EmulatedRegistry() as emulated:
            yield emulated.host
        return
    with running_registry(tmp_path / "registry") as running:
        yield running.host


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a file, an empty file and a folder of some depth in it."""
    work = tmp_path / "work"
    (work / "data" / "deep" / "er").mkdir(parents=True)
    (work / "data" / "deep" / "er" / "x").write_bytes(os.urandom(200_000))
    (work / "data" / "deep" / "link").symlink_to("er/x")
    (work / "data" / "run.sh").write_text("#!/bin/sh\n")
    (work / "data" / "run.sh").chmod(0o755)
    (work / "data" / ("long-" * 30)).write_text("a name that no ustar header holds")
    (work / "a.txt").write_text("hello")
    (work / "nothing").touch()
    return work


@pytest.fixture
def oras(require: Callable[..., None], tmp_path: Path) -> Callable[..., bytes]:
    """Return a function that runs the oras CLI."""
    require("oras")

    def oras(folder: Path, command: str, *arguments: str) -> bytes:
        home = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
        options = ["--plain-http"]
        return run(["oras", command, *options, *arguments], folder=folder, environment=home)

    return oras


def client(host: str) -> object:
    """Return the package's own client, as it is."""
    provider = pytest.importorskip("oras.provider")
    return provider.Registry(hostname=host, insecure=True)


def tree(folder: Path) -> Tree:
    """Return what is below a folder: content or target, and whether it can be run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = (f"-> {path.readlink()}", 0)
        elif path.is_file():
            found[name] = (path.read_bytes().hex(), path.stat().st_mode & 0o100)
        else:
            found[name] = ("/", 0)
    return found


def pulled(ocitool: Ocitool, name: str, folder: Path) -> Tree:
    ocitool.run("artifact", "pull", name, "-o", str(folder))
    return tree(folder)


class TestTheyPush:
    @pytest.mark.cell(_PUSHED, _CLI, "files and folders", "equal")
    def test_what_the_cli_pushed(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path, tmp_path: Path
    ) -> None:
        name = f"{host}/theirs/cli:1"
        oras(work, "push", name, "a.txt:text/plain", "data", "nothing")
        assert pulled(ocitool, name, tmp_path / "out") == tree(work)

    def test_what_the_cli_pushed_from_below(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path, tmp_path: Path
    ) -> None:
        name = f"{host}/theirs/below:1"
        oras(work, "push", name, "data/deep", "data/run.sh")
        found = pulled(ocitool, name, tmp_path / "out")
        theirs = tree(work)
        assert found["data/deep/er/x"] == theirs["data/deep/er/x"]
        assert found["data/run.sh"][0] == theirs["data/run.sh"][0]

    def test_what_the_cli_pushed_from_the_folder_itself(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path, tmp_path: Path
    ) -> None:
        name = f"{host}/theirs/dot:1"
        oras(work, "push", name, ".")
        assert pulled(ocitool, name, tmp_path / "out") == tree(work)

    @pytest.mark.cell(_PUSHED, _PACKAGE, "files and folders", "equal")
    def test_what_the_package_pushed(
        self,
        host: str,
        ocitool: Ocitool,
        work: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(work)
        monkeypatch.setenv("HOME", str(tmp_path))
        name = f"{host}/theirs/package:1"
        client(host).push(name, files=["a.txt", "data", "nothing"])  # type: ignore[attr-defined]
        assert pulled(ocitool, name, tmp_path / "out") == tree(work)


class TestTheyPull:
    @pytest.mark.cell(_PULLED, _CLI, "files and folders", "equal")
    def test_the_cli_pulls_what_we_pushed(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path, tmp_path: Path
    ) -> None:
        name = f"{host}/ours/cli:1"
        self._push(ocitool, name, work)
        (tmp_path / "out").mkdir()
        oras(tmp_path / "out", "pull", name)
        assert tree(tmp_path / "out") == tree(work)

    @pytest.mark.cell(_PULLED, _PACKAGE, "files and folders", "equal")
    def test_the_package_pulls_what_we_pushed(
        self,
        host: str,
        ocitool: Ocitool,
        work: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        name = f"{host}/ours/package:1"
        self._push(ocitool, name, work)
        outdir = str(tmp_path / "out")
        client(host).pull(name, outdir=outdir)  # type: ignore[attr-defined]
        assert tree(tmp_path / "out") == tree(work)

    def _push(self, ocitool: Ocitool, name: str, work: Path) -> None:
        files = [str(work / entry) for entry in ("a.txt", "data", "nothing")]
        ocitool.run("artifact", "push", name, *files, "--artifact-type", "application/vnd.x")


class TestAttaching:
    @pytest.mark.cell(_PULLED, _CLI, "attached", "listed")
    def test_the_cli_finds_what_we_attached(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path
    ) -> None:
        name = f"{host}/ours/attached:1"
        ocitool.run("artifact", "push", name, str(work / "a.txt"))
        attach = ("artifact", "attach", name, str(work / "nothing"), "--artifact-type", "a/bill")
        digest = ocitool.run(*attach).decode().strip().partition("@")[2]
        listed = json.loads(oras(work, "discover", "--format", "json", name))
        assert [(one["digest"], one["artifactType"]) for one in listed["referrers"]] == [
            (digest, "a/bill")
        ]

    @pytest.mark.cell(_PUSHED, _CLI, "attached", "listed")
    def test_we_find_what_the_cli_attached(
        self, oras: Callable[..., bytes], host: str, ocitool: Ocitool, work: Path
    ) -> None:
        name = f"{host}/theirs/attached:1"
        oras(work, "push", name, "a.txt")
        oras(work, "attach", name, "nothing", "--artifact-type", "a/bill")
        listed = json.loads(ocitool.run("artifact", "ls", name, "--json"))
        assert [one["artifact_type"] for one in listed["attached"]] == ["a/bill"]
        assert listed["attached"][0]["created"]
