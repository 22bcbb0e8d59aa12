"""The power fails at any moment: old images are whole, and what was reported done is done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.faults import figures
from tests.faults.power import Disk, Tree, moments, replayed, write_tree
from tests.faults.power_checks import Played, check_all, durable_after_a_kill, states
from tests.faults.scenes import SCENES, Expected, Stage, names_in, names_in_tree
from tests.faults.watched import Change, Plan
from tests.faults.zygote import Zygote
from tests.support.stores import checked

Expecting = Callable[[str], Expected]
each_scene = pytest.mark.parametrize("name", SCENES)


class TestTheModel:
    """The disk in memory: what it forgets, and that it agrees with a real one."""

    def play(self, folder: Path, *changes: Change) -> list[Tree]:
        return states(replayed(folder, changes), 0)

    def test_a_file_that_was_not_synced_may_be_empty_cut_or_zeros(self, tmp_path: Path) -> None:
        path = f"{tmp_path}/a"
        made = Change(kind="create", path=path, file=1)
        wrote = Change(kind="write", path=path, file=1, data=b"abcd", offset=0)
        named = Change(kind="fsync", path=str(tmp_path))
        assert self.play(tmp_path, made, wrote, named) == [
            {"a": b"abcd"},
            {"a": b"\0\0\0\0"},
            {"a": b""},
            {"a": b"ab"},
        ]
        synced = Change(kind="fsync", path=path, file=1)
        assert self.play(tmp_path, made, wrote, named, synced) == [{"a": b"abcd"}]
        assert self.play(tmp_path, made, wrote, synced) == [{"a": b"abcd"}, {}]

    def test_a_rename_may_be_half_done_until_the_folder_is_synced(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"new")
        (tmp_path / "b").write_bytes(b"old")
        renamed = Change(kind="rename", path=f"{tmp_path}/a", target=f"{tmp_path}/b")
        found = self.play(tmp_path, renamed)
        assert {"b": b"new"} in found
        assert {"a": b"new", "b": b"old"} in found
        assert {"a": b"new", "b": b"new"} in found
        assert {"b": b"old"} in found
        assert len(found) == 4
        synced = Change(kind="fsync", path=str(tmp_path))
        assert self.play(tmp_path, renamed, synced) == [{"b": b"new"}]

    def test_a_folder_that_may_be_lost_is_lost_with_all_that_is_in_it(self, tmp_path: Path) -> None:
        made = Change(kind="mkdir", path=f"{tmp_path}/d")
        file = Change(kind="create", path=f"{tmp_path}/d/a", file=1)
        inner = Change(kind="fsync", path=f"{tmp_path}/d")
        assert {} in self.play(tmp_path, made, file, inner)
        assert self.play(tmp_path, made, Change(kind="fsync", path=str(tmp_path)), file, inner) == [
            {"d": None, "d/a": b""}
        ]

    def test_a_file_that_was_removed_may_come_back(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"a")
        gone = Change(kind="unlink", path=f"{tmp_path}/a")
        assert self.play(tmp_path, gone) == [{}, {"a": b"a"}]

    @each_scene
    def test_the_model_holds_what_the_disk_holds_after_a_command(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES[name], prepared, tmp_path / "stage")
        ended = parent.run(stage.command, Plan(root=str(tmp_path / "none"), record=True))
        assert ended.changes == [], "what is outside is not watched"
        stage.remove()
        stage = Stage(SCENES[name], prepared, tmp_path / "stage")
        disk = Disk(stage.folder)
        ended = parent.run(stage.command, Plan(root=str(stage.folder), record=True))
        assert ended.changes
        for change in ended.changes:
            disk.apply(change)
        real = {
            str(path.relative_to(stage.folder)): None if path.is_dir() else path.read_bytes()
            for path in stage.folder.rglob("*")
        }
        assert disk.now() == real


class TestAtAnyMoment:
    @each_scene
    def test_every_name_leads_to_its_old_or_its_new_image_and_what_is_done_stays_done(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        played = Played(name, parent, prepared, tmp_path)
        count = check_all(played, expected(name), sampled=4, step=2)
        figures.current.count("G1 G2 G3 G11", "states after a power loss", count)
        assert count > 10

    @pytest.mark.soak
    @each_scene
    def test_every_state_of_a_larger_sample_is_old_or_new(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        played = Played(name, parent, prepared, tmp_path)
        count = check_all(played, expected(name), sampled=400)
        figures.current.count("G1 G2 G3 G11", "states after a power loss", count)


def survives(
    name: str, parent: Zygote, prepared: Path, folder: Path, expected: Expected, step: int = 1
) -> None:
    """Check that the command works in every `step`th of the states that a power loss leaves."""
    played = Played(name, parent, prepared, folder / "recorded")
    seen: list[Tree] = []
    for number, disk in moments(played.root, played.changes):
        found = states(disk, 0)
        for tree in (found[0], found[min(1, len(found) - 1)], found[number % len(found)]):
            if tree not in seen:
                seen.append(tree)
    for number, tree in enumerate(figures.current.in_time(seen[::step])):
        stage = Stage(SCENES[name], prepared, folder / str(number))
        stage.remove()
        write_tree(tree, stage.folder)
        (stage.folder / "out").mkdir(exist_ok=True)
        ended = parent.run(stage.command)
        if ended.code != SCENES[name].again or stage.names() != expected.after:
            assert ended.code == 0, ended.err
        for path in {stage.store, stage.changed}:
            assert checked(path).problems == ()
        assert stage.names() == expected.after
        stage.remove()
        figures.current.count("G2", "commands after a power loss")


class TestAfterwards:
    @pytest.mark.parametrize("name", ["load", "first-load"])
    def test_the_same_command_works_in_whatever_state_it_finds(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        survives(name, parent, prepared, tmp_path, expected(name), step=8)

    @pytest.mark.soak
    @each_scene
    def test_every_command_works_in_whatever_state_it_finds(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        survives(name, parent, prepared, tmp_path, expected(name))


class TestAfterAKill:
    """Exit code 0 means durable even when somebody else left the work half synced."""

    @pytest.mark.parametrize("name", ["first-load", "tag"])
    def test_a_command_that_finds_work_done_by_a_dead_one_makes_that_durable_too(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        count = durable_after_a_kill(name, parent, prepared, tmp_path, expected(name), 2)
        figures.current.count("G3", "states after a kill, a repetition and a power loss", count)
        assert count > 10

    @pytest.mark.soak
    @pytest.mark.parametrize("name", ["first-load", "load", "load-oci", "tag", "copy", "save"])
    def test_every_command_makes_durable_what_it_finds_done(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        count = durable_after_a_kill(name, parent, prepared, tmp_path, expected(name), 1)
        figures.current.count("G3", "states after a kill, a repetition and a power loss", count)


def test_a_store_is_found_by_its_names_alone(prepared: Path) -> None:
    # The reader of trees is the test's own; here it is compared with the one under test.
    tree: Tree = {
        str(path.relative_to(prepared)): None if path.is_dir() else path.read_bytes()
        for path in prepared.rglob("*")
    }
    assert names_in_tree(tree, "store") == names_in(prepared / "store")
    with Layout.existing(str(prepared / "store")) as layout:
        assert len(layout.roots()) == 3
