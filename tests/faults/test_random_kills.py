"""kill -9 at a random moment of a run, one command or two at once."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.interleaving import Pair, assert_whole_store
from tests.faults.scenes import Expected, assert_old_or_new, names_in
from tests.faults.test_every_change import Sweep
from tests.faults.zygote import Zygote

Expecting = Callable[[str], Expected]
COMMANDS = ("load", "tag", "rm", "save")


def kill_at_random(sweep: Sweep, expected: Expected, kills: int, seed: int) -> Iterator[None]:
    """Kill the command at moments spread evenly over its median run time; yield each kill."""
    chance = random.Random(seed)
    durations = []
    for _ in range(5):
        stage = sweep.stage()
        running = sweep.parent.start(stage.command)
        begun = time.monotonic()
        assert running.end().code == 0
        durations.append(time.monotonic() - begun)
        stage.remove()
    median = statistics.median(durations)
    done = 0
    for _ in figures.current.in_time(range(kills * 20)):
        stage = sweep.stage()
        running = sweep.parent.start(stage.command)
        time.sleep(chance.uniform(0, median))
        running.kill()
        killed = running.end().code is None
        assert_old_or_new(stage, expected)
        if killed:
            sweep.assert_works_now(stage, expected)
            done += 1
            yield
        stage.remove()
        if done == kills:
            return


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_a_random_moment_leaves_the_old_or_the_new_state(
    name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    kills = len(list(kill_at_random(sweep, expected(name), 5, 1)))
    figures.current.count("G1 G2 G11", f"random kills of {name}", kills)
    assert kills == 5


@pytest.mark.soak
@pytest.mark.parametrize("name", COMMANDS)
def test_200_kills_at_random_moments_leave_the_old_or_the_new_state(
    name: str, parent: Zygote, prepared: Path, tmp_path: Path, expected: Expecting
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    for _ in kill_at_random(sweep, expected(name), 200, 2):
        figures.current.count("G1 G2 G11", f"random kills of {name}")


def kill_one_of_two(pair: Pair, folder: Path, kills: int, seed: int) -> None:
    """Kill the first command at random moments while the second one works beside it."""
    chance = random.Random(seed)
    possible = {names for _, _, names in pair.in_order(folder)}
    alone, _ = pair.stages(folder / "alone")
    before = names_in(alone.store)
    begun = time.monotonic()
    assert pair.parent.run(alone.command).code == 0
    span = 2 * (time.monotonic() - begun)
    for turn in figures.current.in_time(range(kills)):
        one, two = pair.stages(folder / str(turn))
        first, second = pair.parent.start(one.command), pair.parent.start(two.command)
        time.sleep(chance.uniform(0, span))
        first.kill()
        first.end()
        ended = second.end()
        assert ended.code == 0, ended.err
        again = pair.parent.run(one.command)
        assert again.code == 0, again.err
        assert_whole_store(one.store)
        now = names_in(one.store)
        assert set(before) <= set(now), "a name was lost"
        found = tuple(sorted(now.items()))
        assert found in {_flat(names) for names in possible}
        figures.current.count("G1 G2", "random kills of one of two commands")
        one.remove()


def _flat(images: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, digest) for digest, names in images for name in names))


PAIRS = (("load", "tag-two"), ("load", "load-oci"), ("tag", "load"))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_who_works_beside_a_command_that_is_killed_loses_nothing(
    first: str, second: str, parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    kill_one_of_two(Pair(first, second, parent, prepared), tmp_path, 3, 3)


@pytest.mark.soak
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_who_works_beside_any_of_70_commands_that_are_killed_loses_nothing(
    first: str, second: str, parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    kill_one_of_two(Pair(first, second, parent, prepared), tmp_path, 70, 4)
