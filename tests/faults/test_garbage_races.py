"""gc while others load, pull, tag, save, remove and undo: nothing that is needed goes missing."""

import random
import threading
import time
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.faults import figures
from tests.faults.interleaving import Pair
from tests.faults.scenes import GC, HUB, SCENES, Stage, names_in
from tests.faults.watched import Plan
from tests.faults.zygote import Zygote
from tests.support.images import build_image, docker_archive
from tests.support.layouts import store
from tests.support.stores import checked

PAIRS = (
    ("gc", "load-gone"),
    ("load-gone", "gc"),
    ("gc", "tag-gone"),
    ("tag-gone", "gc"),
    ("gc", "load"),
    ("load", "gc"),
    ("gc", "pull"),
    ("pull", "gc"),
    ("gc", "rm"),
    ("gc", "gc"),
    ("undo", "load-gone"),
    ("save-gone", "gc"),
    ("gc", "save-gone"),
)
"""What is removed, and what brings it back, names it or reads it at the same time."""
IMAGES = 3


def collected(parent: Zygote, stage: Path) -> None:
    """Let another gc end what is left, and fail unless nothing is missing and nothing too much."""
    ended = parent.run(["--store", str(stage), *GC, "--grace", "0"])
    assert ended.code == 0, ended.err
    report = checked(stage)
    assert report.problems == ()
    assert report.unreferenced == ()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_wherever_one_is_stopped_and_the_other_runs_nothing_is_missing(
    first: str, second: str, parent: Zygote, prepared_more: Path, tmp_path: Path
) -> None:
    pair = Pair(first, second, parent, prepared_more)
    turns = 0
    for at in range(1, 1000, 12):
        # Damage raises Lost.
        found = pair.preempted(tmp_path / str(at), at)
        if found is None:
            break
        codes = dict(zip((first, second), found[:2], strict=True))
        names = {name for _, names in found[2] for name in names}
        assert set(codes.values()) <= {0, 4}
        if "tag-gone" in codes:
            assert (codes["tag-gone"] == 0) is (f"{HUB}kept:1" in names)
        turns += 1
    figures.current.count("G5", "gc and another command, one stopped at a change", turns)
    assert turns > 1


def race(parent: Zygote, prepared: Path, folder: Path, seed: int) -> bool:
    """Stop one command, then the other, at random changes; False when there was no such change."""
    chance = random.Random(seed)
    first, second = chance.choice(PAIRS)
    pair = Pair(first, second, parent, prepared)
    found = pair.preempted(folder, chance.randrange(1, 45), chance.randrange(30))
    return found is not None


def races(parent: Zygote, prepared: Path, folder: Path, count: int) -> int:
    """Play that many random interleavings; damage raises Lost."""
    done = 0
    for seed in range(count * 4):
        if race(parent, prepared, folder / str(seed), seed):
            done += 1
        if done == count:
            break
    return done


@pytest.mark.parametrize("count", [12, pytest.param(1000, marks=pytest.mark.soak)])
def test_random_interleavings_lose_no_blob(
    count: int, parent: Zygote, prepared_more: Path, tmp_path: Path
) -> None:
    done = races(parent, prepared_more, tmp_path, count)
    figures.current.count("G5", "random interleavings of gc with another command", done)
    assert done == count


class TestKilled:
    """gc or undo dies between two changes; the next gc ends the work."""

    @pytest.mark.parametrize("name", ["gc", "undo"])
    def test_the_next_collection_finishes_what_a_dead_one_left(
        self, name: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        killed = 0
        for number in range(1, 200, 6):
            stage = Stage(SCENES[name], prepared, tmp_path / str(number))
            plan = Plan(root=str(stage.folder), kill_at=number)
            if parent.run(stage.command, plan).code is not None:
                break
            collected(parent, stage.store)
            stage.remove()
            killed += 1
        assert killed > 2


KILLED = ("gc", "tag", "rm", "load", "pull")


def kills(parent: Zygote, prepared: Path, folder: Path, count: int, seed: int) -> int:
    """Kill commands at random moments, every other time two at once; return how many runs died."""
    chance = random.Random(seed)
    spans = {}
    for name in KILLED:
        stage = Stage(SCENES[name], prepared, folder / name)
        begun = time.monotonic()
        assert parent.run(stage.command).code == 0
        spans[name] = time.monotonic() - begun
    done = 0
    for turn in figures.current.in_time(range(count * 5)):
        names = (chance.choice(KILLED), chance.choice(KILLED))
        stages = Pair(*names, parent, prepared).stages(folder / str(turn))
        together = stages[: 1 + turn % 2]
        store = stages[0].store
        before = names_in(store)
        running = [parent.start(stage.command) for stage in together]
        time.sleep(chance.uniform(0, max(spans[name] for name in names[: len(together)])))
        for process in running:
            process.kill()
        died = [process.end().code is None for process in running]
        assert checked(store).problems == ()
        assert set(before) - set(names_in(store)) <= {f"{HUB}gone:1"}, "a name was lost"
        collected(parent, store)
        stages[0].remove()
        if any(died):
            done += 1
            figures.current.count("G1 G2 G5", "random kills of gc, tag, rm, load, pull, or of two")
        if done == count:
            break
    return done


@pytest.mark.parametrize("count", [8, pytest.param(500, marks=pytest.mark.soak)])
def test_kills_at_random_moments_are_mended_by_the_next_collection(
    count: int, parent: Zygote, prepared_more: Path, tmp_path: Path
) -> None:
    assert kills(parent, prepared_more, tmp_path, count, 5) == count


class Writer(threading.Thread):
    """Loads images, names them anew and takes names away."""

    def __init__(self, parent: Zygote, folder: Path, number: int, seconds: float) -> None:
        super().__init__()
        self.failures: list[str] = []
        self._parent = parent
        self._folder = folder
        self._number = number
        self._seconds = seconds

    def run(self) -> None:
        """Work until the time is over."""
        turn = 0
        until = time.monotonic() + self._seconds
        while time.monotonic() < until and not self.failures:
            name = f"w{self._number}-{turn % IMAGES}:1"
            self._do("load", str(self._folder / f"{self._number}-{turn % IMAGES}.tar"))
            self._do("tag", name, f"x{self._number}:{turn % 2}")
            if turn % 3 == 2:
                self._do("untag", name)
            turn += 1

    def _do(self, *words: str) -> None:
        ended = self._parent.run(["--store", str(self._folder / "store"), "-q", *words])
        if ended.code != 0:
            self.failures.append(f"{words}: {ended.code} {ended.err}")


def writers_and_a_collector(
    parent: Zygote, folder: Path, seconds: float, count: int
) -> tuple[int, float]:
    """Let writers work while gc runs in a loop; return its turns and the longest one."""
    shared = {"shared": b"a layer of all" * 100}
    for number in range(count):
        for turn in range(IMAGES):
            built = build_image([shared, {"own": f"{number} {turn}".encode()}])
            name = f"w{number}-{turn}:1"
            (folder / f"{number}-{turn}.tar").write_bytes(docker_archive({name: built}))
    with store(folder / "store"):
        pass
    assert parent.run(["version"]).code == 0, "it is ready before time is measured"
    writers = [Writer(parent, folder, number, seconds) for number in range(count)]
    for writer in writers:
        writer.start()
    turns, longest = 0, 0.0
    while any(writer.is_alive() for writer in writers):
        begun = time.monotonic()
        ended = parent.run(["--store", str(folder / "store"), *GC])
        assert ended.code == 0, ended.err
        longest = max(longest, time.monotonic() - begun)
        turns += 1
        assert checked(folder / "store").problems == ()
    for writer in writers:
        writer.join()
        assert writer.failures == []
    return turns, longest


def assert_everything_is_there(folder: Path, count: int) -> None:
    """Fail unless the names that every writer was told of lead to whole images."""
    report = checked(folder / "store")
    assert report.problems == ()
    with Layout.existing(str(folder / "store")) as layout:
        names = {name for root in layout.roots() for name in root.names}
    for number in range(count):
        assert any(name.startswith(f"{HUB}x{number}:") for name in names)


def test_four_writers_and_a_collector_in_a_loop_lose_nothing(
    parent: Zygote, tmp_path: Path
) -> None:
    # How long a turn takes is looked at in the soak: here other tests run beside it.
    turns, _ = writers_and_a_collector(parent, tmp_path, 4, 4)
    assert_everything_is_there(tmp_path, 4)
    assert turns > 2


@pytest.mark.soak
def test_eight_writers_and_a_collector_for_a_minute_lose_nothing(
    parent: Zygote, tmp_path: Path
) -> None:
    turns, longest = writers_and_a_collector(parent, tmp_path, 60, 8)
    assert_everything_is_there(tmp_path, 8)
    assert turns > 10
    assert longest < 5
