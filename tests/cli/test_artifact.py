"""The artifact commands as a user runs them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifacts.site import REPOSITORY, add
from tests.support.command import Command
from tests.support.images import build_image
from tests.support.registry import Access, EmulatedRegistry, Quirks


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as running:
        yield running


@pytest.fixture
def name(registry: EmulatedRegistry) -> str:
    return f"{registry.host}/{REPOSITORY}:1"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder in which the commands run, with something to push."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("x")
    (tmp_path / "a.txt").write_text("hello")
    return tmp_path


def test_push_ends_with_the_name_and_digest(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    done = ocitool("artifact", "push", name, "a.txt:text/plain", "data/")
    assert done.code == 0, done.err
    digest = registry.tags[REPOSITORY]["1"]
    assert done.out.splitlines()[-1] == f"{registry.host}/{REPOSITORY}@{digest}"


def test_push_tells_scripts_all_about_it(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    done = ocitool(
        "artifact", "push", name, "a.txt", "data", "--artifact-type", "a/b", "--json",
        "--digestfile", "digest", "--annotation", "k=v=w",
    )  # fmt: skip
    assert done.code == 0, done.err
    report = done.json
    assert isinstance(report, dict)
    digest = str(registry.tags[REPOSITORY]["1"])
    assert (report["digest"], report["artifact_type"]) == (digest, "a/b")
    assert [file["title"] for file in report["files"]] == ["a.txt", "data"]
    assert (work / "digest").read_text() == f"{digest}\n"
    (manifest,) = registry.manifests[REPOSITORY].values()
    assert json.loads(manifest.raw)["annotations"] == {"k": "v=w"}


def test_quiet_prints_the_digest_alone(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    done = ocitool("artifact", "push", name, "a.txt", "-q")
    assert done.out == f"{registry.tags[REPOSITORY]['1']}\n"
    assert done.err == ""


def test_pull_prints_the_files(ocitool: Command, name: str, work: Path) -> None:
    assert ocitool("artifact", "push", name, "a.txt", "data").code == 0
    done = ocitool("artifact", "pull", name, "-o", "out")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["out/a.txt", "out/data/"]
    assert (work / "out" / "data" / "x").read_text() == "x"


def test_pull_tells_scripts_where_the_files_are(ocitool: Command, name: str, work: Path) -> None:
    ocitool("artifact", "push", name, "a.txt", "data", "--artifact-type", "a/b")
    report = ocitool("artifact", "pull", name, "-o", "out", "--json").json
    assert isinstance(report, dict)
    assert report["artifact_type"] == "a/b"
    assert [(file["path"], file["kind"]) for file in report["files"]] == [
        ("out/a.txt", "file"),
        ("out/data", "folder"),
    ]


def test_pull_leaves_what_exists_unless_told_otherwise(
    ocitool: Command, name: str, work: Path
) -> None:
    ocitool("artifact", "push", name, "a.txt")
    (work / "a.txt").write_text("mine")
    done = ocitool("artifact", "pull", name)
    assert done.code == 6
    assert "--overwrite" in done.err
    assert (work / "a.txt").read_text() == "mine"
    assert ocitool("artifact", "pull", name, "--overwrite").code == 0
    assert (work / "a.txt").read_text() == "hello"


def test_a_hostile_title_ends_with_the_code_of_integrity(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    add(registry, ("../\x1b[31mevil", b"x", {}))
    done = ocitool("artifact", "pull", name, "-o", "out")
    assert done.code == 7
    assert "\x1b" not in done.err
    assert not (work / "out").exists()


def test_a_title_never_controls_the_terminal(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    add(registry, ("a\x1b[31m\nb", b"x", {}))
    done = ocitool("artifact", "pull", name, "-o", "out")
    assert done.code == 0, done.err
    assert done.out == "out/a\\x1b[31m\\x0ab\n"


def test_attach_and_ls_show_a_tree(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    image = registry.add_image(REPOSITORY, build_image(), "1")
    bill = ocitool(
        "artifact", "attach", name, "a.txt", "--artifact-type", "application/spdx+json",
        "--annotation", "org.opencontainers.image.created=2024-05-06T07:08:09Z",
    )  # fmt: skip
    assert bill.code == 0, bill.err
    pinned = bill.out.strip()
    ocitool("artifact", "attach", pinned, "data", "--artifact-type", "a/signature")
    done = ocitool("artifact", "ls", name, variables={"PYTHONIOENCODING": "utf-8"})
    first, second, third = done.out.splitlines()
    assert first == f"{registry.host}/{REPOSITORY}@{image.digest}"
    assert second.startswith(f"└─ application/spdx+json  {pinned.partition('@')[2]}")
    assert second.endswith("2024-05-06 07:08:09 UTC")
    assert third.startswith("   └─ a/signature  sha256:")


def test_an_artifact_without_a_type_is_told_with_how_to_remove_it(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    registry.add_image(REPOSITORY, build_image(), "1")
    done = ocitool("artifact", "attach", name, "a.txt")
    pinned = done.out.strip()
    assert "its type is application/vnd.unknown.artifact.v1" in done.err
    remove = f"registry rm {pinned} --by-digest"
    assert f"ocitool {remove}\n" in done.err
    assert ocitool(*remove.split()).code == 0
    assert "unknown" not in ocitool("artifact", "ls", name).out
    typed = ocitool("artifact", "attach", name, "a.txt", "--artifact-type", "a/b")
    assert "without --artifact-type" not in typed.err


def test_ls_tells_scripts_the_same_tree(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path
) -> None:
    registry.add_image(REPOSITORY, build_image(), "1")
    pinned = ocitool("artifact", "attach", name, "a.txt", "--artifact-type", "a/b").out.strip()
    report = ocitool("artifact", "ls", name, "--json").json
    assert isinstance(report, dict)
    (one,) = report["attached"]
    assert one["digest"] == pinned.partition("@")[2]
    assert (one["artifact_type"], one["attached"]) == ("a/b", [])
    assert one["size"] > 0


def test_ls_of_nothing_says_so_on_stderr(
    ocitool: Command, registry: EmulatedRegistry, name: str
) -> None:
    image = registry.add_image(REPOSITORY, build_image(), "1")
    done = ocitool("artifact", "ls", name)
    assert done.out == f"{registry.host}/{REPOSITORY}@{image.digest}\n"
    assert "nothing is attached" in done.err


@pytest.mark.parametrize("annotation", ["k", "=v", ""])
def test_an_annotation_is_a_key_and_a_value(
    ocitool: Command, registry: EmulatedRegistry, name: str, work: Path, annotation: str
) -> None:
    done = ocitool("artifact", "push", name, "a.txt", "--annotation", annotation)
    assert done.code == 2
    assert len(registry.log) == 0


def test_what_is_missing_has_the_code_of_not_found(ocitool: Command, name: str, work: Path) -> None:
    assert ocitool("artifact", "push", name, "missing").code == 4
    assert ocitool("artifact", "pull", name).code == 4
    assert ocitool("artifact", "ls", name).code == 4


def test_a_push_without_credentials_has_the_code_of_authentication(
    ocitool: Command, work: Path
) -> None:
    with EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry:
        done = ocitool(
            "artifact", "push", f"{registry.host}/a/b:1", "a.txt",
            variables={"HOME": str(work), "DOCKER_CONFIG": str(work)},
        )  # fmt: skip
    assert done.code == 5


def test_credentials_of_the_authfile_are_used(ocitool: Command, work: Path) -> None:
    with EmulatedRegistry(Quirks(access=Access(scheme="bearer"))) as registry:
        entry = {"auths": {registry.host: {"auth": "dXNlcjpwYXNz"}}}
        (work / "auth.json").write_text(json.dumps(entry))
        authfile = ("--authfile", "auth.json")
        name = f"{registry.host}/a/b:1"
        assert ocitool("artifact", "push", name, "a.txt", *authfile).code == 0
        done = ocitool("artifact", "pull", name, "-o", "out", *authfile)
    assert done.code == 0, done.err
    assert os.listdir(work / "out") == ["a.txt"]
