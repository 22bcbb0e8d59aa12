"""Whether a recorded command keeps its promises whenever the power fails."""

import itertools
import random
from pathlib import Path

from tests.faults import figures
from tests.faults.power import Disk, Tree, moments, replayed
from tests.faults.scenes import (
    COPIES,
    SCENES,
    Expected,
    Stage,
    names_in_tree,
    reflog_in_tree,
    undoable_in_tree,
)
from tests.faults.watched import Change, Plan, Site
from tests.faults.zygote import Zygote


class Violation(AssertionError):
    """A state after the power failed breaks a promise."""


class Played:
    """A scene that was recorded, and the disk before it."""

    def __init__(
        self,
        name: str,
        parent: Zygote,
        prepared: Path,
        folder: Path,
        *,
        skipped: tuple[Site, ...] = (),
        kill_at: int = 0,
    ) -> None:
        self.scene = {**SCENES, **COPIES}[name]
        self.before = Stage(self.scene, prepared, folder / "before")
        self._stage = Stage(self.scene, prepared, folder / "played")
        self.root = self.before.folder
        self.changes: list[Change] = []
        self.killed = False
        self.skipped = 0
        for moment in (kill_at, 0) if kill_at else (0,):
            plan = Plan(root=str(self._stage.folder), record=True, skipped=skipped, kill_at=moment)
            ended = parent.run(self._stage.command, plan)
            self.skipped += ended.skipped
            # Files are numbered in each process from 1.
            self.changes += [self._elsewhere(c, 1000 if moment else 0) for c in ended.changes]
            if moment and ended.code is not None:
                break
            self.killed = bool(moment) or self.killed
            self.code = ended.code

    def _elsewhere(self, change: Change, serial: int) -> Change:
        old, new = str(self._stage.folder), str(self.root)
        return Change(
            kind=change.kind,
            path=change.path.replace(old, new, 1),
            target=change.target.replace(old, new, 1),
            file=change.file + serial if change.file >= 0 else -1,
            data=change.data,
            offset=change.offset,
        )


def layout_of(played: Played) -> str:
    """Return the path of the layout that the scene changes, below the root."""
    return str(played.before.changed.relative_to(played.root))


def check(tree: Tree, played: Played, expected: Expected, *, done: bool) -> None:
    """Raise Violation unless this is the old or the new state; the new one when `done`."""
    try:
        names = {path: names_in_tree(tree, path) for path in {"store", layout_of(played)}}
    except (AssertionError, KeyError, ValueError, TypeError) as error:
        raise Violation(f"a layout cannot be read: {error}") from error
    if not played.scene.fresh and names["store"] is None:
        raise Violation("the store is gone")
    now = names[layout_of(played)]
    if now is None and (expected.before or done):
        raise Violation("the layout is gone")
    if (now or {}) not in ([expected.after] if done else [expected.before, expected.after]):
        raise Violation(f"the names are {now}")
    _check_reflog(tree, played, expected, dict(now or {}))
    if done:
        _check_undo(tree, played, expected)
    file = tree.get("out/file.tar")
    if file != expected.file and (done or file is not None):
        raise Violation("the file is not whole")
    if done and played.scene.fresh and "store/.ocitool/store.json" not in tree:
        raise Violation("the store does not know that it is one")


def _check_undo(tree: Tree, played: Played, expected: Expected) -> None:
    for name in played.scene.undoable:
        if not undoable_in_tree(tree, layout_of(played), expected.before[name]):
            raise Violation(f"what {name} meant cannot come back")


def _check_reflog(tree: Tree, played: Played, expected: Expected, now: dict[str, str]) -> None:
    if now != expected.after or now == expected.before:
        return
    moved = {
        (name, expected.before.get(name), now.get(name))
        for name in {*expected.before, *now}
        if name != "both"
        and not name.startswith("pin ")
        and expected.before.get(name) != now.get(name)
    }
    if not moved <= reflog_in_tree(tree, layout_of(played)):
        raise Violation("the reflog does not know of a change that was made")


def states(disk: Disk, sampled: int) -> list[Tree]:
    """Return the trees that the disk may hold."""
    return list(disk.after_power_loss(random.Random(1), sampled))


def check_all(played: Played, expected: Expected, *, sampled: int, step: int = 1) -> int:
    """Check every state at every `step`th moment and at the end; return how many."""
    count = 0
    last = len(played.changes)
    for number, disk in moments(played.root, played.changes):
        if number % step and number != last:
            continue
        for tree in states(disk, sampled):
            check(tree, played, expected, done=number == last and played.code == 0)
            count += 1
    return count


def durable_after_a_kill(
    name: str,
    parent: Zygote,
    prepared: Path,
    folder: Path,
    expected: Expected,
    step: int,
    skipped: tuple[Site, ...] = (),
) -> int:
    """Kill the command at every `step`th change and repeat it; what it reports done must be."""
    count = 0
    for number in figures.current.in_time(itertools.count(1, step)):
        played = Played(
            name, parent, prepared, folder / str(number), skipped=skipped, kill_at=number
        )
        if not played.killed:
            return count
        if played.code == 0:
            for tree in states(replayed(played.root, played.changes), 0):
                check(tree, played, expected, done=True)
                count += 1
    return count
