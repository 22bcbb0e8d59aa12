"""Each command, killed before every change that it makes, and with an error at every change.

The same by strace, slower and without any help of ours, is in test_syscall_sweep.
"""

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.scenes import (
    SCENES,
    Expected,
    Stage,
    assert_done,
    assert_old_or_new,
)
from tests.faults.watched import Change, Plan
from tests.faults.zygote import Ended, Zygote
from tests.support.layouts import temporaries
from tests.support.stores import checked

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE)
CLEANING_UP = ("unlink", "rmdir")
SAMPLE = 5

Expecting = Callable[[str], Expected]
each_scene = pytest.mark.parametrize("name", SCENES)


class Sweep:
    """One scene, played again and again with a fault at another change each time."""

    def __init__(self, name: str, parent: Zygote, prepared: Path, folder: Path) -> None:
        self.scene = SCENES[name]
        self.parent = parent
        self._prepared = prepared
        self._folder = folder
        self._turns = itertools.count()

    def stage(self) -> Stage:
        """Return a fresh copy of the store."""
        return Stage(self.scene, self._prepared, self._folder / str(next(self._turns)))

    def plan(self, stage: Stage, **faults: int) -> Plan:
        """Return a plan for the stage's folder."""
        return Plan(root=str(stage.folder), **faults)  # type: ignore[arg-type]

    def changes(self) -> list[Change]:
        """Return what the scene changes when nothing disturbs it."""
        stage = self.stage()
        ended = self.parent.run(stage.command, Plan(root=str(stage.folder), record=True))
        assert ended.code == 0, ended.err
        stage.remove()
        return ended.changes

    def step(self) -> int:
        """Return how many changes to go on for a sample that is spread over all of them."""
        return max(1, len(self.changes()) // SAMPLE)

    def assert_works_now(self, stage: Stage, expected: Expected) -> None:
        """Fail unless the same command now succeeds, and clears what was left."""
        done = stage.names() == expected.after and not self.scene.writes_a_file
        ended = self.parent.run(stage.command)
        assert ended.code in ((0, self.scene.again) if done else (0,)), ended.err
        if ended.code != 0:
            # That command had nothing to write; the next one that has clears up.
            again = self.parent.run(["--store", str(stage.store), "tag", "old:1", "old:1"])
            assert again.code == 0, again.err
        assert_done(stage, expected)


def sweep_kills(sweep: Sweep, expected: Expected, step: int) -> Iterator[int]:
    """Kill the scene before every `step`th change; yield the number of each."""
    for number in itertools.count(step, step):
        stage = sweep.stage()
        ended = sweep.parent.run(stage.command, sweep.plan(stage, kill_at=number))
        if ended.code is not None:
            assert ended.code == 0, ended.err
            return
        assert_old_or_new(stage, expected)
        sweep.assert_works_now(stage, expected)
        stage.remove()
        yield number


def sweep_errors(
    sweep: Sweep, expected: Expected, numbers: Iterator[int] | range, errors: tuple[int, ...]
) -> Iterator[int]:
    """Let changes fail, each with some errors; yield the number of each."""
    for number in numbers:
        for error in errors:
            stage = sweep.stage()
            plan = sweep.plan(stage, fail_at=number, error=error)
            ended = sweep.parent.run(stage.command, plan)
            if not ended.failed:
                return
            (change,) = ended.failed
            assert_one_error(ended)
            assert_old_or_new(stage, expected)
            if ended.code == 0:
                assert stage.names() == expected.after, "success, yet nothing happened"
                assert stage.file() == expected.file
            elif change.kind not in CLEANING_UP:
                assert_nothing_left(stage, expected)
            sweep.assert_works_now(stage, expected)
            stage.remove()
            yield number


def assert_one_error(ended: Ended) -> None:
    """Fail unless there was no error, or one message of a storage error and perhaps a hint.

    A warning, such as that of a lost volume, is about something else.
    """
    assert ended.code in (0, 9), f"exit code {ended.code}: {ended.err}"
    if ended.code == 9:
        lines = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
        assert [line.startswith("ocitool: ") for line in lines] in ([True], [True, False]), lines
        assert all(line.startswith("  ") for line in lines[1:])


def assert_nothing_left(stage: Stage, expected: Expected) -> None:
    """Fail unless what was stored before the error is gone again, the error being reported."""
    assert temporaries(stage.store) == []
    assert set(stage.out.iterdir()) <= {stage.out / "file.tar", stage.out / "layout"}
    if stage.changed.exists() and (stage.changed / "oci-layout").exists():
        assert temporaries(stage.changed) == []
        if stage.names() == expected.before:
            assert checked(stage.changed).unreferenced == ()


class TestKilled:
    @each_scene
    def test_a_command_that_dies_before_any_change_leaves_the_old_or_the_new_state(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        sweep = Sweep(name, parent, prepared, tmp_path)
        turns = 0
        for _ in sweep_kills(sweep, expected(name), sweep.step()):
            figures.current.count("G1 G2 G11", f"kills of {name} before a change")
            turns += 1
        assert turns >= SAMPLE // 2

    @pytest.mark.soak
    @each_scene
    def test_a_command_that_dies_before_each_change_leaves_the_old_or_the_new_state(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        sweep = Sweep(name, parent, prepared, tmp_path)
        for _ in figures.current.in_time(sweep_kills(sweep, expected(name), 1)):
            figures.current.count("G1 G2 G11", f"kills of {name} before a change")


class TestFailing:
    @each_scene
    def test_an_error_at_any_change_is_reported_once_and_the_old_state_is_intact(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        sweep = Sweep(name, parent, prepared, tmp_path)
        turns = 0
        for _ in sweep_errors_in_turn(sweep, expected(name), sweep.step()):
            figures.current.count("G1 G6 G11", f"errors in {name}")
            turns += 1
        assert turns >= SAMPLE // 2

    @pytest.mark.soak
    @each_scene
    def test_each_error_at_each_change_is_reported_once_and_the_old_state_is_intact(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
    ) -> None:
        sweep = Sweep(name, parent, prepared, tmp_path)
        turns = sweep_errors(sweep, expected(name), itertools.count(1), ERRORS)
        for _ in figures.current.in_time(turns):
            figures.current.count("G1 G6 G11", f"errors in {name}")


def sweep_errors_in_turn(sweep: Sweep, expected: Expected, step: int) -> Iterator[int]:
    """Let every `step`th change fail, each with the next error of the list."""
    errors = itertools.cycle(ERRORS)
    for number in itertools.count(1, step):
        turns = list(sweep_errors(sweep, expected, range(number, number + 1), (next(errors),)))
        if not turns:
            return
        yield number
