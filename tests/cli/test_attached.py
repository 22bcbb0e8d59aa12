"""Signatures, attestations and SBOMs go with their image, through every command."""

from pathlib import Path
from typing import Any

import pytest

from tests.places.registry.pushes import NAME
from tests.support.command import FIXTURES, Command
from tests.support.images import BuiltArtifact, build_artifact, build_image
from tests.support.registry import EmulatedRegistry

IMAGE = build_image([{"a": b"1"}])
DIGEST = IMAGE.descriptor.digest
TAG = f"sha256-{DIGEST.hex}"
COSIGN_FOLDER = FIXTURES / "cases/cosign26-save-layout.tar"
SIGNED = "1dcf2dd7c397345b827e17a2bf386c19934fbad1d7ce11f9e666d74cec15c3e5"
HAULER = FIXTURES / "cases/11-hauler-store.tar"


def artifact(text: str) -> BuiltArtifact:
    return build_artifact(None, text.encode())


def ok(command: Command, *arguments: str | Path) -> Any:
    """Run a command that has to succeed, and return its JSON."""
    done = command(*arguments, "--json")
    assert done.code == 0, done.err
    return done.json


@pytest.fixture
def other(tmp_path: Path) -> Command:
    """Return the command with another store."""
    return Command(tmp_path / "other", tmp_path)


class TestTagsOfCosign:
    def test_they_survive_pull_save_load_and_push(
        self, ocitool: Command, other: Command, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as one, EmulatedRegistry() as two:
            one.add_image(NAME, IMAGE, "1")
            for ending in (".sig", ".att", ".sbom"):
                one.add_image(NAME, artifact(ending), TAG + ending)
            ok(ocitool, "pull", "--referrers", f"{one.host}/{NAME}:1")
            saved = ok(ocitool, "save", "-o", tmp_path / "x.tar", f"{one.host}/{NAME}:1")
            assert saved["attached"] == 3
            ok(other, "load", tmp_path / "x.tar")
            target = f"{two.host}/{NAME}:1"
            ok(other, "push", "--referrers", f"{one.host}/{NAME}:1", target)
            assert set(two.tags[NAME]) == {"1", TAG + ".sig", TAG + ".att", TAG + ".sbom"}

    def test_rm_takes_them_along(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, IMAGE, "1")
            registry.add_image(NAME, artifact("s"), TAG + ".sig")
            name = f"{registry.host}/{NAME}:1"
            ok(ocitool, "pull", "--referrers", name)
        ok(ocitool, "rm", name)
        assert not any((ocitool.store / "blobs/sha256").iterdir())


class TestFolderOfCosign:
    def test_gc_leaves_what_is_attached_to_an_image(self, ocitool: Command) -> None:
        loaded = ok(ocitool, "load", COSIGN_FOLDER)
        assert (len(loaded["images"]), loaded["attached"]) == (1, 2)
        ok(ocitool, "tag", SIGNED, "a:1")
        assert ok(ocitool, "gc", "--dry-run")["images"] == []

    def test_rm_takes_it_along(self, ocitool: Command) -> None:
        ok(ocitool, "load", "--tag", "a:1", COSIGN_FOLDER)
        ok(ocitool, "rm", "a:1")
        assert not any((ocitool.store / "blobs/sha256").iterdir())

    def test_signatures_are_pushed_under_the_tags_of_cosign(
        self, ocitool: Command, other: Command, tmp_path: Path
    ) -> None:
        ok(ocitool, "load", "--tag", "a:1", COSIGN_FOLDER)
        assert ok(ocitool, "save", "-o", tmp_path / "x.tar", "a:1")["attached"] == 2
        ok(other, "load", tmp_path / "x.tar")
        with EmulatedRegistry() as registry:
            ok(other, "push", "--referrers", "a:1", f"{registry.host}/{NAME}:1")
            tags = set(registry.tags[NAME])
        assert tags == {"1", f"sha256-{SIGNED}.sig", f"sha256-{SIGNED}.att"}


class TestStoreOfHauler:
    def test_the_name_is_that_of_the_image(self, ocitool: Command) -> None:
        loaded = ok(ocitool, "load", HAULER)
        (image,) = loaded["images"]
        assert (image["names"], loaded["attached"]) == (["docker.io/library/busybox:latest"], 2)
        assert ok(ocitool, "gc", "--dry-run")["images"] == []
        with EmulatedRegistry() as registry:
            ok(ocitool, "push", "--referrers", "busybox", f"{registry.host}/{NAME}:1")
            assert len(registry.tags[NAME]) == 3
        ok(ocitool, "rm", "busybox")
        assert not any((ocitool.store / "blobs/sha256").iterdir())


class TestAPlaceOfOneImage:
    @pytest.mark.parametrize("command", ["inspect", "history", "size", "dockerfile", "facts"])
    def test_what_is_attached_is_not_meant_where_nothing_is_named(
        self, ocitool: Command, command: str
    ) -> None:
        done = ocitool(command, COSIGN_FOLDER)
        assert done.code == 0, done.err
