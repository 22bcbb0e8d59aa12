"""container create, rm, commit and cp, killed before every change, and with an error at each."""

import errno
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.containers.records import Container, containers
from ocitool.containers.staging import clear_leftovers
from ocitool.places.layout import Layout
from tests.faults import figures
from tests.faults.scenes import Scene, Stage
from tests.faults.watched import Plan
from tests.faults.zygote import Zygote
from tests.support.layouts import temporaries
from tests.support.stores import checked

CREATE = ("container", "create", "--name", "k")
SCENES = {
    "create": Scene(arguments=(*CREATE, "old:1")),
    "create alone": Scene(arguments=(*CREATE, "--copy", "old:1")),
    "create outside": Scene(arguments=(*CREATE, "--bundle", "OUT/bundle", "old:1")),
    "rm": Scene(arguments=("container", "rm", "k")),
    "rm outside": Scene(arguments=("container", "rm", "k")),
    "commit": Scene(arguments=("container", "commit", "k", "kept:1")),
    "cp": Scene(arguments=("container", "cp", "OUT/given", "k:/new/")),
}
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
SAMPLE = 5
CHANGED = b"what a container wrote " * 1000


def samples(name: str) -> int:
    """Return how many of the changes of a command are struck outside of the soak tests."""
    return SAMPLE if name.startswith(("create", "rm")) else SAMPLE // 2


class Sweep:
    """One command, played again and again with a fault at another change each time."""

    def __init__(self, name: str, parent: Zygote, prepared: Path, folder: Path) -> None:
        self._name = name
        self._parent = parent
        self._prepared = prepared
        self._folder = folder
        self._turns = itertools.count()

    def stage(self) -> Stage:
        """Return a fresh store, with a container if it is to be removed."""
        stage = Stage(SCENES[self._name], self._prepared, self._folder / str(next(self._turns)))
        if not self._name.startswith("create"):
            bundle = ["--bundle", f"{stage.out}/bundle"] if "outside" in self._name else []
            command = ["--store", str(stage.store), *CREATE, *bundle, "old:1"]
            assert self._parent.run(command).code == 0
        if self._name == "commit":
            written_by(stage).joinpath("changed").write_bytes(CHANGED)
        if self._name == "cp":
            (stage.out / "given").mkdir()
            (stage.out / "given/file").write_bytes(CHANGED)
        return stage

    def step(self) -> int:
        """Return how many changes to go on for a sample of all of them."""
        stage = self.stage()
        ended = self._parent.run(stage.command, Plan(root=str(stage.folder), record=True))
        assert ended.code == 0, ended.err
        return max(1, len(ended.changes) // samples(self._name))

    def kills(self, step: int) -> Iterator[Stage]:
        """Yield what is there after the command was killed before every `step`th change."""
        for number in itertools.count(step, step):
            stage = self.stage()
            plan = Plan(root=str(stage.folder), kill_at=number)
            if self._parent.run(stage.command, plan).code is not None:
                return
            yield stage

    def errors(self, step: int) -> Iterator[Stage]:
        """Yield what is there after every `step`th change failed, the error being told."""
        for number in itertools.count(step, step):
            stage = self.stage()
            error = ERRORS[number // step % len(ERRORS)]
            ended = self._parent.run(
                stage.command, Plan(root=str(stage.folder), fail_at=number, error=error)
            )
            if not ended.failed:
                return
            assert ended.code in (0, 9), (ended.failed, ended.err)
            assert "Traceback" not in ended.err
            yield stage

    def assert_whole_or_absent(self, stage: Stage) -> None:
        """Fail unless there is one whole container or none, and the next command finds no trace."""
        assert checked(stage.store).sound
        with Layout.existing(str(stage.store)) as layout:
            found = containers(layout)
            clear_leftovers(layout)
            assert containers(layout) == found
            kept = [root for root in layout.roots() if "docker.io/library/kept:1" in root.names]
        # Of a commit nothing is there, or the whole image, which was checked above.
        assert len(kept) in ((0, 1) if self._name == "commit" else (0,))
        assert [one.name for one in found] in ([], ["k"])
        if self._name in ("commit", "cp"):
            assert [one.name for one in found] == ["k"]
            file = written_by(stage) / ("changed" if self._name == "commit" else "new/file")
            assert not file.exists() or file.read_bytes() == CHANGED
            assert file.exists() or self._name == "cp"
            assert self._parent.run(stage.command).code == 0
        # A bundle that is being removed may be half gone, but then its record is.
        for one in found:
            assert_startable(stage, one)
        assert remains(stage) == {one.id for one in found} | {one.tree for one in found if one.tree}
        if not found:
            assert list(stage.out.iterdir()) == []
        create = [*CREATE[:2], "--name", "again", "old:1"]
        assert self._parent.run(["--store", str(stage.store), *create]).code == 0
        assert temporaries(stage.store) == []


def written_by(stage: Stage) -> Path:
    """Return the folder in which the container writes."""
    with Layout.existing(str(stage.store)) as layout:
        (one,) = containers(layout)
    return Path(one.bundle, "upper" if one.tree is not None else "rootfs")


def assert_startable(stage: Stage, container: Container) -> None:
    bundle = Path(container.bundle)
    config = json.loads((bundle / "config.json").read_bytes())
    assert config["process"]["args"] == ["/bin/true"]
    shared = stage.store / ".ocitool/trees" / str(container.tree)
    assert (shared if container.tree else bundle / "rootfs").joinpath("old").read_bytes() == b"1"


def remains(stage: Stage) -> set[str]:
    """Return what lies in the folders of containers; a bundle outside counts by its ID."""
    found = set()
    for place in ("unpacking", "trees", "bundles"):
        folder = stage.store / ".ocitool" / place
        found |= set(os.listdir(folder)) if folder.exists() else set()
    if (stage.out / "bundle").exists():
        config = json.loads((stage.out / "bundle/config.json").read_bytes())
        found.add(config["annotations"]["io.ocitool.container.id"])
    return found


each_scene = pytest.mark.parametrize("name", SCENES)


@each_scene
@pytest.mark.parametrize("how", ["kills", "errors"])
def test_a_container_is_whole_or_not_there(
    name: str, how: str, parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    turns = 0
    for stage in getattr(sweep, how)(sweep.step()):
        sweep.assert_whole_or_absent(stage)
        figures.current.count("G2 G6", f"{how} of container {name} at a change")
        stage.remove()
        turns += 1
    assert turns >= samples(name) // 2


@pytest.mark.soak
@each_scene
@pytest.mark.parametrize("how", ["kills", "errors"])
def test_a_container_is_whole_or_not_there_whatever_fails(
    name: str, how: str, parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    for stage in getattr(sweep, how)(1):
        sweep.assert_whole_or_absent(stage)
        figures.current.count("G2 G6", f"{how} of container {name} at a change")
        stage.remove()
