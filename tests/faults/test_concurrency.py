"""Several commands at once: what each reports has happened, in some order, and nothing is lost."""

import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.interleaving import PAIRS, Pair, explore
from tests.faults.scenes import HUB, names_in
from tests.faults.zygote import Zygote
from tests.support.images import build_image, docker_archive
from tests.support.layouts import temporaries
from tests.support.stores import checked

PROCESSES = 8
ANYTHING = "anything"


class TestTwoCommands:
    """The second command runs while the first one is stopped in the middle of its work."""

    @pytest.mark.parametrize(("first", "second"), PAIRS)
    def test_what_two_commands_do_at_once_some_order_of_them_does_too(
        self, first: str, second: str, parent: Zygote, prepared_more: Path, tmp_path: Path
    ) -> None:
        pair = Pair(first, second, parent, prepared_more)
        turns = len(list(explore(pair, tmp_path, 14)))
        figures.current.count("G1 G4", "pairs of commands, one stopped at a change", turns)
        assert turns > 1

    @pytest.mark.soak
    @pytest.mark.parametrize(("first", "second"), PAIRS)
    def test_wherever_the_first_is_stopped_some_order_of_them_explains_it(
        self, first: str, second: str, parent: Zygote, prepared_more: Path, tmp_path: Path
    ) -> None:
        pair = Pair(first, second, parent, prepared_more)
        for _ in figures.current.in_time(explore(pair, tmp_path, 1)):
            figures.current.count("G1 G4", "pairs of commands, one stopped at a change")


@dataclass(frozen=True, slots=True)
class Step:
    """What a command said that it did to one name."""

    name: str
    old: str | None
    new: str | None


def assert_serial(steps: Sequence[Step], final: dict[str, str]) -> None:
    """Fail unless the steps can be put into an order that leads from nothing to `final`.

    The steps of one name are edges from what it meant to what it means. An order is a path along
    every edge once; there is one if each meaning but the two ends is reached as often as left,
    and all edges hang together. What `rm` took away it does not say: ANYTHING, that is, whatever
    was reached once more than left.
    """
    assert set(final) <= {step.name for step in steps}
    for name in {step.name for step in steps}:
        own = [step for step in steps if step.name == name]
        surplus = Counter(step.new for step in own)
        surplus.subtract(step.old for step in own if step.old != ANYTHING)
        surplus[None] += 1
        surplus[final.get(name)] -= 1
        removed = sum(step.old == ANYTHING for step in own)
        lost = [m for m, count in surplus.items() if not 0 <= count <= (removed if m else 0)]
        assert not lost, f"a change of {name} from or to {lost} was lost"
        reached: set[str | None] = {None}
        while fresh := {step.new for step in own if step.old in reached} - reached:
            reached |= fresh
        assert {step.old for step in own} <= reached | {ANYTHING}


def test_the_judge_sees_a_lost_change() -> None:
    one, two = Step("a", None, "1"), Step("a", None, "2")
    with pytest.raises(AssertionError, match="lost"):
        assert_serial([one, two], {"a": "2"})
    with pytest.raises(AssertionError, match="lost"):
        assert_serial([one], {})
    assert_serial([one, Step("a", "1", "2"), Step("a", "2", None)], {})
    assert_serial([one, Step("a", "1", "2"), Step("a", ANYTHING, None)], {})
    with pytest.raises(AssertionError, match="lost"):
        assert_serial([one, two, Step("a", ANYTHING, None)], {})
    with pytest.raises(AssertionError, match="lost"):
        assert_serial([one, Step("a", ANYTHING, None)], {"a": "1"})


class Worker(threading.Thread):
    """Runs commands, each in a process of its own, and notes what they said that they did."""

    def __init__(self, parent: Zygote, store: Path, scripts: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.failures: list[str] = []
        self._parent = parent
        self._store = store
        self._scripts = scripts

    def run(self) -> None:
        """Run all commands, one after the other."""
        for words in self._scripts:
            verb = words[0]
            ended = self._parent.run(["--store", str(self._store), "-q", *words, "--json"])
            if ended.code == 4 and verb != "load":
                continue
            if ended.code != 0:
                self.failures.append(f"{words}: {ended.code} {ended.err}")
                continue
            self.steps += steps_of(verb, json.loads(ended.out))


def steps_of(verb: str, said: dict[str, object]) -> list[Step]:
    """Return the changes of names in what a command printed."""
    changes = said.get("moved", said.get("changed", said.get("dropped")))
    assert isinstance(changes, list), said
    if verb == "rm":
        return [Step(name, ANYTHING, None) for name in changes]
    return [Step(change["name"], change["from"], change["to"]) for change in changes]


def storm(parent: Zygote, folder: Path, operations: int, seed: int) -> int:
    """Let eight processes work on one store; fail unless an order explains what they did."""
    chance = random.Random(seed)
    shared = {"shared": b"a layer of all" * 300}
    for number in range(4):
        image = build_image([shared, {"own": str(number).encode() * 500}])
        (folder / f"{number}.tar").write_bytes(docker_archive({f"app:{number}": image}))
    names = ["a:1", "b:1", "c:1", *(f"app:{n}" for n in range(4))]

    def words() -> list[str]:
        verb = chance.choice(["load", "load", "tag", "tag", "tag", "untag", "rm"])
        if verb == "load":
            return ["load", str(folder / f"{chance.randrange(4)}.tar")]
        if verb == "tag":
            return ["tag", chance.choice(names), chance.choice(names)]
        return [verb, chance.choice(names)]

    scripts = [[words() for _ in range(operations)] for _ in range(PROCESSES)]
    for process, script in enumerate(scripts):
        # One name that nobody else touches, so that every process's last word is seen.
        script.append(["load", str(folder / f"{process % 4}.tar"), "--tag", f"own:{process}"])
    workers = [Worker(parent, folder / "store", script) for script in scripts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [failure for worker in workers for failure in worker.failures] == []
    final = dict(names_in(folder / "store"))
    assert {f"{HUB}own:{process}" for process in range(PROCESSES)} <= set(final)
    steps = list(itertools.chain(*(worker.steps for worker in workers)))
    assert_serial(steps, final)
    assert checked(folder / "store").problems == ()
    assert temporaries(folder / "store") == []
    return sum(map(len, scripts))


class TestEightProcesses:
    def test_eight_processes_lose_no_change(self, parent: Zygote, tmp_path: Path) -> None:
        count = storm(parent, tmp_path, 8, 1)
        figures.current.count("G1 G4", "operations of 8 processes at once", count)

    @pytest.mark.soak
    def test_eight_processes_lose_no_change_in_1600_operations(
        self, parent: Zygote, tmp_path: Path
    ) -> None:
        count = storm(parent, tmp_path, 200, 2)
        figures.current.count("G1 G4", "operations of 8 processes at once", count)
