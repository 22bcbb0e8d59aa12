"""Disks that are small, full, out of inodes or read-only, and too few open files."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.scenes import (
    SCENES,
    Expected,
    Scene,
    Stage,
    assert_done,
    assert_old_or_new,
    names_in,
)
from tests.faults.sweep import calls_below, require_strace
from tests.faults.test_every_change import assert_nothing_left, assert_one_error
from tests.faults.watched import Plan
from tests.faults.zygote import Zygote
from tests.support.commands import ROOT
from tests.support.disk import read_only, small_disk
from tests.support.images import blob_path, build_image, describe
from tests.support.layouts import store

Expecting = Callable[[str], Expected]
KIB = 1024
WRITERS = ("load", "load-oci", "first-load", "copy", "save", "tag")
READERS = {
    "images": ("images",),
    "inspect": ("inspect", "old:1"),
    "history": ("history", "old:1"),
    "verify": ("verify",),
    "save": ("save", "old:1", "-o", "OUT/elsewhere.tar"),
}


def free_bytes(folder: Path) -> int:
    """Return how much space a disk has."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def left_full(
    name: str, parent: Zygote, prepared: Path, disk: Path, expected: Expected, sizes: range
) -> Iterator[int]:
    """Play a scene on a disk with little space, more each time, until that is enough."""
    for size in sizes:
        stage = Stage(SCENES[name], prepared, disk / "stage")
        filler = disk / "filler"
        with filler.open("wb") as file:
            file.write(bytes(max(0, free_bytes(disk) - size)))
        free = free_bytes(disk)
        ended = parent.run(stage.command)
        assert_one_error(ended)
        assert_old_or_new(stage, expected)
        if ended.code == 0:
            assert_done(stage, expected)
        else:
            assert "no space left" in ended.err
            assert_nothing_left(stage, expected)
            if stage.scene.fresh or name == "copy":
                # The empty layout itself stays; it takes a page per file and folder.
                assert free_bytes(disk) >= free - 64 * KIB
            else:
                # What stays is the names of folders that were made, and a line in a log.
                assert free_bytes(disk) >= free - 16 * KIB
        filler.unlink()
        again = parent.run(stage.command)
        assert again.code == 0, again.err
        assert_done(stage, expected)
        stage.remove()
        yield size
        if ended.code == 0:
            return


class TestFullDisk:
    @pytest.mark.parametrize("name", WRITERS)
    def test_a_full_disk_is_one_error_and_gives_back_what_was_taken(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        with small_disk(tmp_path / "disk", "1m") as disk:
            sizes = range(0, 200 * KIB, 12 * KIB)
            turns = len(list(left_full(name, parent, prepared, disk, expected(name), sizes)))
        figures.current.count("G1 G6 G11", "full disks", turns)
        assert turns > 1

    @pytest.mark.soak
    @pytest.mark.parametrize("name", WRITERS)
    def test_a_disk_that_is_full_after_any_page_is_one_error(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        with small_disk(tmp_path / "disk", "1m") as disk:
            sizes = range(0, 400 * KIB, 4 * KIB)
            for _ in left_full(name, parent, prepared, disk, expected(name), sizes):
                figures.current.count("G1 G6 G11", "full disks")

    @pytest.mark.parametrize("name", ["load", "first-load", "copy", "save", "tag"])
    def test_a_disk_without_inodes_is_one_error(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        turns = 0
        with small_disk(tmp_path / "disk", "2m,nr_inodes=100") as disk:
            for spare in range(30):
                stage = Stage(SCENES[name], prepared, disk / "stage")
                fillers = disk / "fillers"
                fillers.mkdir()
                for number in range(os.statvfs(disk).f_favail - spare):
                    (fillers / str(number)).touch()
                ended = parent.run(stage.command)
                assert_one_error(ended)
                assert_old_or_new(stage, expected(name))
                shutil.rmtree(fillers)
                again = parent.run(stage.command)
                assert again.code == 0, again.err
                assert_done(stage, expected(name))
                stage.remove()
                turns += 1
                if ended.code == 0:
                    break
        figures.current.count("G1 G6 G11", "disks without inodes", turns)
        assert turns > 1

    def test_a_disk_that_was_full_is_emptied_by_rm_after_a_kill(
        self, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "disk", "1m") as disk:
            stage = Stage(SCENES["load"], prepared, disk / "stage")
            running = parent.start(stage.command, Plan(root=str(disk), pause_at=(12,)))
            assert running.until("paused") is not None
            running.kill()
            running.end()
            temporary = stage.store / ".ocitool" / "tmp"
            assert list(temporary.iterdir()), "nothing was on its way yet"
            with (disk / "filler").open("wb") as file:
                file.write(bytes(free_bytes(disk)))
            ended = parent.run(["--store", str(stage.store), "rm", "gone:1"])
            assert ended.code in (0, 9), ended.err
            assert list(temporary.iterdir()) == []


def filled(disk: Path, name: str = "filler") -> None:
    """Write to a disk until not a page of it is left."""
    with (disk / name).open("wb") as file:
        file.write(bytes(free_bytes(disk)))
    assert free_bytes(disk) == 0


class TestMakingRoom:
    @pytest.mark.parametrize("spare", [True, False], ids=["reserve", "nothing to give up"])
    @pytest.mark.parametrize("name", ["rm", "gc"])
    def test_images_are_removed_from_a_full_disk_with_what_was_set_aside(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, *, spare: bool
    ) -> None:
        with small_disk(tmp_path / "disk", "32m") as disk:
            stage = Stage(SCENES[name], prepared, disk / "stage")
            reserve = stage.store / ".ocitool" / "reserve"
            reserve.unlink(missing_ok=True)
            shutil.rmtree(stage.store / ".ocitool" / "cache", ignore_errors=True)
            if spare:
                assert parent.run(["--store", str(stage.store), "untag", "old:1"]).code == 0
                assert reserve.stat().st_blocks * 512 >= 100 * KIB
            filled(disk)
            before = stage.names()
            ended = parent.run(stage.command)
            assert reserve.exists() == spare
            if not spare:
                assert ended.code == 9
                assert "no space left" in ended.err
                assert stage.names() == before
                return
            assert ended.code == 0, ended.err
            assert set(before) - set(stage.names()) == {"docker.io/library/gone:1"}
            purged = parent.run(["--store", str(stage.store), "gc", "--purge", "-f"])
            assert purged.code == 0, purged.err
            assert free_bytes(disk) > 0

    def test_the_caches_are_given_up_when_the_reserve_is_too_small(
        self, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "disk", "32m") as disk:
            stage = Stage(SCENES["rm"], prepared, disk / "stage")
            (stage.store / ".ocitool" / "reserve").unlink(missing_ok=True)
            cache = stage.store / ".ocitool" / "cache"
            cache.mkdir(exist_ok=True)
            (cache / "layers.jsonl").write_bytes(b"\n" * 64 * KIB)
            filled(disk)
            ended = parent.run(stage.command)
            assert ended.code == 0, ended.err
            assert not cache.exists()

    def test_what_was_given_up_is_set_aside_again_when_there_is_room(
        self, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["tag"], prepared, tmp_path / "stage")
        reserve = stage.store / ".ocitool" / "reserve"
        reserve.unlink(missing_ok=True)
        assert parent.run(stage.command).code == 0
        assert reserve.stat().st_size > 0

    def test_a_small_disk_is_not_made_smaller(
        self, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "disk", "2m") as disk:
            stage = Stage(SCENES["first-load"], prepared, disk / "stage")
            assert parent.run(stage.command).code == 0
            assert not (stage.store / ".ocitool" / "reserve").exists()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 3,000 images, which share what they are made of."""
    path = tmp_path_factory.mktemp("many") / "store"
    with store(path, a=build_image([{"a": b"1"}])) as layout:
        first = layout.roots()[0].descriptor
    document = json.loads((path / blob_path(first)).read_bytes())
    listed = json.loads((path / "index.json").read_bytes())
    for number in range(3000):
        data = json.dumps(document | {"annotations": {"number": str(number)}}).encode()
        made = describe(data, first.media_type)
        (path / blob_path(made)).write_bytes(data)
        name = f"docker.io/team/app-{number % 10}:{number}"
        both = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
        listed["manifests"].append(made.to_json() | {"annotations": dict.fromkeys(both, name)})
    (path / "index.json").write_text(json.dumps(listed))
    return path


class TestLargeStore:
    def test_a_full_disk_can_be_emptied_again_and_again(
        self, parent: Zygote, many: Path, tmp_path: Path
    ) -> None:
        collect = ("gc", "-a", "-f", "--containers", "none")
        with small_disk(tmp_path / "disk", "96m") as disk:
            shutil.copytree(many, disk / "store")
            words = ["--store", str(disk / "store")]
            assert parent.run([*words, "untag", "a:1"]).code == 0
            reserve = disk / "store" / ".ocitool" / "reserve"
            index = disk / "store" / "index.json"
            assert reserve.stat().st_blocks * 512 >= 4 * index.stat().st_size
            for turn in range(2):
                for remove in (
                    ("rm", f"team/app-{turn}:{turn + 10}"),
                    (*collect, "--filter", f"reference=team/app-{turn}"),
                ):
                    shutil.rmtree(disk / "store" / ".ocitool" / "cache", ignore_errors=True)
                    filled(disk, f"filler{turn}{remove[0]}")
                    ended = parent.run([*words, *remove])
                    assert ended.code == 0, ended.err
                    assert reserve.stat().st_size > index.stat().st_size
            filled(disk, "last")
            assert parent.run([*words, "untag", "team/app-5:5"]).code == 0
            assert parent.run([*words, "gc", "--purge", "-f"]).code == 0
            assert parent.run([*words, "verify"]).code == 0

    @pytest.mark.parametrize("name", ["tag", "load", "pull", "pin", "container create"])
    def test_what_a_full_store_has_no_room_for_points_to_what_makes_room(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        scene = SCENES.get(name, Scene(arguments=("container", "create", "old:1", "--", "sh")))
        with small_disk(tmp_path / "disk", "8m") as disk:
            stage = Stage(scene, prepared, disk / "stage")
            filled(disk)
            ended = parent.run(stage.command)
            assert ended.code == 9, ended.err
            assert_one_error(ended)
            assert "no space left" in ended.err
            assert "`ocitool gc`" in ended.err
            assert "`ocitool rm NAME`" in ended.err


class TestReadOnly:
    @pytest.mark.parametrize("name", READERS)
    def test_reading_works_and_changes_nothing(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(Scene(arguments=READERS[name]), prepared, tmp_path / "stage")
        plan = Plan(root=str(stage.store), record=True)
        with read_only(stage.store):
            ended = parent.run(stage.command, plan)
        assert ended.code == 0, ended.err
        assert ended.changes == []
        figures.current.count("G7", "reading commands on a read-only store")

    @pytest.mark.parametrize("name", READERS)
    def test_strace_sees_no_change_either(self, name: str, prepared: Path, tmp_path: Path) -> None:
        require_strace()
        stage = Stage(Scene(arguments=READERS[name]), prepared, tmp_path / "stage")
        with read_only(stage.store):
            calls = calls_below(stage)
        elsewhere = {"open", "write", "fsync", "link", "rename"} if name == "save" else set()
        assert set(calls) == elsewhere
        figures.current.count("G7", "reading commands on a read-only store, by strace")

    @pytest.mark.parametrize("name", ["load", "load-oci", "tag", "untag", "rm"])
    def test_writing_is_one_error(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        stage = Stage(SCENES[name], prepared, tmp_path / "stage")
        with read_only(stage.store):
            ended = parent.run(stage.command, Plan(root=str(stage.store), record=True))
            assert ended.code == 9
            assert_one_error(ended)
            assert "read-only" in ended.err
            assert ended.changes == []
            assert stage.names() == expected(name).before
        figures.current.count("G6 G7", "writing commands on a read-only store")

    @pytest.mark.parametrize("name", ["first-load", "copy", "save"])
    def test_what_cannot_be_made_is_one_error(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES[name], prepared, tmp_path / "stage")
        with read_only(stage.folder):
            ended = parent.run(stage.command)
            assert ended.code == 9
            assert_one_error(ended)
        figures.current.count("G6", "writing commands on a read-only disk")


class TestFewOpenFiles:
    @pytest.mark.parametrize("name", ["load", "tag", "save"])
    def test_too_few_open_files_are_one_error(
        self, name: str, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        codes = []
        for limit in range(5, 40, 3):
            stage = Stage(SCENES[name], prepared, tmp_path / str(limit))

            def restrict(count: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

            done = subprocess.run(
                [sys.executable, "-m", "ocitool", *stage.command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                preexec_fn=restrict,
            )
            assert done.returncode in (0, 9), done.stderr
            assert "Traceback" not in done.stderr
            if done.returncode:
                assert "too many open files" in done.stderr.lower()
            assert_old_or_new(stage, expected(name))
            codes.append(done.returncode)
            if done.returncode == 0:
                break
        assert codes[0] == 9
        assert codes[-1] == 0
        figures.current.count("G6", "runs with too few open files", len(codes))


def test_an_image_is_still_there_after_all_that_failed(
    parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
    before = names_in(stage.store)
    with small_disk(tmp_path / "disk", "64k") as disk:
        (stage.store / ".ocitool" / "reserve").unlink()
        shutil.copytree(stage.store, disk / "store", dirs_exist_ok=True)
        for _ in range(3):
            words = ["--store", str(disk / "store"), *stage.command[2:]]
            parent.run(words)
            assert names_in(disk / "store").items() >= before.items()
