"""Killed while volumes are written: finished ones are kept, the rest is made, nothing is left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocitool.bundles.files import open_bundles
from ocitool.operations.bundle.load import load_into_layout
from ocitool.operations.bundle.rejoin import join_bundle
from tests.support.command import ROOT, Command, environment
from tests.support.images import build_image, oci_archive
from tests.support.stores import assert_whole, roots_of

PROGRAM = """
import os, sys
import ocitool.operations.bundle.write as write
kept = int(sys.argv.pop(1))
publish = write.OutputFile.publish
def counted(self):
    global kept
    if kept == 0:
        os.kill(os.getpid(), 9)
    kept -= 1
    publish(self)
write.OutputFile.publish = counted
from ocitool.__main__ import main
main()
"""
NAME = "docker.io/t/app:1"
LAYERS = [{"noise": os.urandom(900_000)} for _ in range(4)]
IMAGE = build_image(LAYERS, compression="none")


@pytest.fixture
def stocked(tmp_path: Path) -> Command:
    """Return the command with an image of four layers in its store."""
    (tmp_path / "in.tar").write_bytes(oci_archive({NAME: IMAGE}))
    command = Command(tmp_path / "store", tmp_path)
    assert command("load", tmp_path / "in.tar").code == 0
    return command


def test_a16_finished_volumes_are_kept_and_not_made_again(stocked: Command) -> None:
    folder = stocked.cwd / "out"
    folder.mkdir()
    words = ["bundle", "create", NAME, "-o", str(folder / "a.tar"), "--volume-size", "1200k"]
    env = environment(stocked.store)
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, "2", *words], cwd=ROOT, env=env, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = sorted(folder.iterdir())
    assert [path.name for path in left] == ["a.v01of04.tar", "a.v02of04.tar"]
    before = [path.stat() for path in left]
    done = stocked(*words, "--json")
    assert done.code == 0, done.err
    value: object = done.json
    assert isinstance(value, dict)
    assert [one["kept"] for one in value["files"]] == [True, True, False, False]
    for path, was in zip(left, before, strict=True):
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    assert len([*folder.iterdir()]) == 4
    whole = stocked.cwd / "whole.tar"
    assert stocked("bundle", "create", NAME, "-o", whole).code == 0
    with open_bundles([str(folder)]) as (bundle,):
        join_bundle(bundle, str(stocked.cwd / "joined.tar"))
    assert (stocked.cwd / "joined.tar").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("words", [["create", NAME], ["join", "VOLUMES"]])
def test_a16_a_killed_create_or_join_leaves_no_file(stocked: Command, words: list[str]) -> None:
    folder = stocked.cwd / "volumes"
    folder.mkdir()
    made = stocked("bundle", "create", NAME, "-o", folder / "a.tar", "--volume-size", "1200k")
    assert made.code == 0, made.err
    out = stocked.cwd / "out"
    out.mkdir()
    given = ["bundle", *words, "-o", str(out / "a.tar")]
    given = [str(folder) if word == "VOLUMES" else word for word in given]
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0", *given],
        cwd=ROOT,
        env=environment(stocked.store),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert [*out.iterdir()] == []
    assert stocked(*given).code == 0


def test_a16_a_load_killed_at_any_time_is_taken_up_again(stocked: Command, tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    made = stocked("bundle", "create", NAME, "-o", folder / "a.tar", "--volume-size", "1200k")
    assert made.code == 0, made.err
    store = tmp_path / "other"
    blobs = store / "blobs" / "sha256"
    with subprocess.Popen(
        [sys.executable, "-m", "ocitool", "bundle", "load", str(folder), "--jobs", "1"],
        env=environment(store),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            if blobs.is_dir() and any(blobs.iterdir()):
                break
            time.sleep(0.001)
        process.kill()
    assert roots_of(store) in ({}, {NAME: IMAGE.descriptor.digest})
    with open_bundles([str(folder)]) as (bundle,):
        load_into_layout(bundle, str(store), is_store=True)
    assert roots_of(store) == {NAME: IMAGE.descriptor.digest}
    assert_whole(store)
    shutil.rmtree(store)
