"""Bundles on media as they are carried: full ones, and what cannot be written to."""

import os
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.disk import read_only, small_disk
from tests.support.images import build_image, oci_archive
from tests.support.stores import assert_whole, roots_of

NAME = "docker.io/t/app:1"


@pytest.fixture
def stocked(tmp_path: Path) -> Command:
    """Return the command with an image of two layers in its store."""
    layers = [{"noise": os.urandom(900_000)} for _ in range(2)]
    image = build_image(layers, compression="none")
    (tmp_path / "in.tar").write_bytes(oci_archive({NAME: image}))
    command = Command(tmp_path / "store", tmp_path)
    assert command("load", tmp_path / "in.tar").code == 0
    return command


def loaded(command: Command, folder: Path) -> None:
    """Fail unless the bundle in a folder verifies and is loaded whole."""
    verified = command("bundle", "verify", folder)
    assert verified.code == 0, verified.out
    other = Command(command.cwd / "other", command.cwd)
    assert other("load", folder).code == 0
    assert roots_of(other.store) == roots_of(command.store)
    assert_whole(other.store)


def test_a16_a_full_medium_keeps_the_finished_volumes(stocked: Command, tmp_path: Path) -> None:
    words = ("bundle", "create", NAME, "--volume-size", "1200k", "-o")
    with small_disk(tmp_path / "medium", "2m") as folder:
        (folder / "filler").write_bytes(bytes(300_000))
        done = stocked(*words, folder / "a.tar")
        assert done.code == 9
        assert [path.name for path in folder.glob("*.tar")] == ["a.v01of02.tar"]
        assert len([*folder.iterdir()]) == 2
        (folder / "filler").unlink()
        assert stocked("bundle", "create", NAME, "-o", folder / "b.tar").code == 9
        assert len([*folder.iterdir()]) == 1
        done = stocked(*words, folder / "a.tar", "--json")
        assert done.code == 0, done.err
        value: object = done.json
        assert isinstance(value, dict)
        assert [one["kept"] for one in value["files"]] == [True, False]
        loaded(stocked, folder)


def test_a15_a_medium_that_is_read_only(stocked: Command, tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    made = stocked("bundle", "create", NAME, "-o", folder / "a.tar", "--volume-size", "1200k")
    assert made.code == 0, made.err
    with read_only(folder):
        loaded(stocked, folder)
        done = stocked("bundle", "create", NAME, "-o", folder / "b.tar")
    assert done.code == 9
    assert len([*folder.iterdir()]) == 2
