"""Every sync and every lock is needed: without any one of them a test of this folder fails."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.interleaving import Lost, Pair, assert_whole_store, explore
from tests.faults.power_checks import Played, Violation, check_all, durable_after_a_kill
from tests.faults.scenes import COPIES, SCENES, Expected
from tests.faults.sites import sites, syncs
from tests.faults.watched import Plan, Site
from tests.faults.zygote import Running, Zygote

Expecting = Callable[[str], Expected]
SYNCS = syncs(for_requests=False)
_OFTEN = ("first-load", "save", "tag", "copy", "pull", "gc", "undo")
LOCKS = [site for site in sites() if site.kind == "flock"]
SITUATIONS = (
    ("tag", "tag-two"),
    ("first-solo", "first-gone"),
    ("load-solo", "rm-solo"),
    ("pull", "pull"),
)


def test_there_are_syncs_and_locks_to_remove() -> None:
    assert {site.file for site in SYNCS} >= {
        "ocitool/fsops/directory.py",
        "ocitool/places/layout/writing.py",
    }
    assert {site.file for site in LOCKS} >= {
        "ocitool/places/layout/lock.py",
        "ocitool/places/layout/lease.py",
    }


@pytest.mark.parametrize("site", SYNCS, ids=str)
def test_without_this_sync_something_is_lost_when_the_power_fails(
    site: Site, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
) -> None:
    def play() -> None:
        names = COPIES if site.file.endswith("inside/taking.py") else _OFTEN
        scenes = {
            name: Played(name, parent, prepared, tmp_path / name, skipped=(site,)) for name in names
        }
        for name, played in scenes.items():
            # Without it in a scene, there is nothing to miss.
            if played.skipped:
                check_all(played, expected(name), sampled=0, step=10**6)
                check_all(played, expected(name), sampled=0)
        # Some are there for the work that a dead command left half done.
        for name in ("tag", "first-load"):
            folder = tmp_path / f"killed-{name}"
            durable_after_a_kill(name, parent, prepared, folder, expected(name), 1, (site,))

    with pytest.raises(Violation):
        play()
    figures.current.count("G3", "syncs that a test misses when removed")


def numbered(pair: Pair, folder: Path, kind: str, where: str) -> list[int]:
    """Return the numbers of the changes of that kind and place in the first command."""
    stage, _ = pair.stages(folder)
    plan = Plan(
        root=str(folder),
        record=True,
        pause_at_locks=True,
        report_locks=True,
        skipped=pair.skipped,
    )
    changes = pair.parent.run(stage.command, plan).changes
    stage.remove()
    return [
        number
        for number, change in enumerate(changes, 1)
        if change.kind == kind and where in change.path
    ]


def removed_between_claim_and_look(pair: Pair, folder: Path) -> None:
    """Claim a blob while `rm`, which looked at the claims before, is about to delete it."""
    claim = numbered(pair, folder / "one", "write", "/leases/")[1]
    # Before it asks for the lock, of which the file is opened first.
    claim = max(n for n in numbered(pair, folder / "one", "open", "/lock") if n < claim)
    other = Pair(pair.second, pair.first, pair.parent, pair.prepared, pair.skipped)
    for turn in numbered(other, folder / "two", "rename", "/blobs/"):
        pair.preempted(folder / f"both-{turn}", claim, turn)


def cleared_before_it_is_locked(pair: Pair, folder: Path) -> None:
    """Let a third command clear a lease that is there but not locked yet; then remove."""
    locks = numbered(pair, folder / "one", "flock", "/leases/")
    uses = numbered(pair, folder / "one", "utime", "/blobs/")
    one, two = pair.stages(folder / "both")
    plan = Plan(
        root=str(folder),
        pause_at=(*locks, uses[2]),
        pause_at_locks=True,
        skipped=pair.skipped,
    )
    beside = Plan(root=str(folder), skipped=pair.skipped)
    first = pair.parent.start(one.command, plan)
    first.until("paused")
    if locks:
        tag = ["--store", str(one.store), "tag", "old:1", "third:1"]
        _run_beside(first, pair.parent.start(tag, beside))
        first.until("paused")
    _run_beside(first, pair.parent.start(two.command, beside))
    ended = first.end()
    assert_whole_store(one.store, ended.err)


def _run_beside(first: Running, other: Running) -> None:
    """Run a command while another one is stopped; whichever must wait does."""
    if other.until("blocked") is None:
        first.go_on()
        return
    first.go_on()
    other.end()


def situations(site: Site, parent: Zygote, prepared: Path, folder: Path) -> Iterator[None]:
    """Put a lock to every test that might miss it."""
    reuse = Pair("load-solo", "rm-solo", parent, prepared, (site,))
    cleared_before_it_is_locked(reuse, folder / "clear")
    yield
    removed_between_claim_and_look(reuse, folder / "claim")
    yield
    for pair in likeliest_first(site, parent, prepared, folder):
        for _ in explore(pair, folder / f"{pair.first}-{pair.second}", 1):
            yield


def likeliest_first(site: Site, parent: Zygote, prepared: Path, folder: Path) -> list[Pair]:
    """Return pairs of commands; those come first of which one needs the lock by itself."""
    pairs = [Pair(*names, parent, prepared, (site,)) for names in SITUATIONS]
    needed = dict.fromkeys((name for pair in pairs for name in (pair.first, pair.second)), False)
    for name in needed:
        stage, _ = Pair(name, name, parent, prepared).stages(folder / f"alone-{name}")
        plan = Plan(root=str(stage.folder), skipped=(site,))
        needed[name] = parent.run(stage.command, plan).skipped > 0
        stage.remove()
    return sorted(pairs, key=lambda pair: not (needed[pair.first] or needed[pair.second]))


@pytest.mark.parametrize("site", LOCKS, ids=str)
def test_without_this_lock_two_commands_at_once_lose_something(
    site: Site, parent: Zygote, prepared_more: Path, tmp_path: Path
) -> None:
    with pytest.raises(Lost):
        for _ in situations(site, parent, prepared_more, tmp_path):
            pass
    figures.current.count("G4", "locks that a test misses when removed")


def test_with_all_locks_the_same_situations_lose_nothing(
    parent: Zygote, prepared_more: Path, tmp_path: Path
) -> None:
    reuse = Pair("load-solo", "rm-solo", parent, prepared_more)
    removed_between_claim_and_look(reuse, tmp_path / "claim")
    cleared_before_it_is_locked(reuse, tmp_path / "clear")


def test_with_all_syncs_nothing_is_lost(
    parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
) -> None:
    for name in SCENES:
        played = Played(name, parent, prepared, tmp_path / name)
        check_all(played, expected(name), sampled=0, step=10**6)
