"""The real command, killed before a system call or with an error from it, by strace."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.scenes import SCENES, Expected, Stage, assert_old_or_new
from tests.faults.sweep import ERRORS, Strike, calls_below, require_strace, strikes, struck
from tests.faults.test_every_change import Sweep
from tests.faults.watched import Plan
from tests.faults.zygote import Zygote

Expecting = Callable[[str], Expected]
COMMANDS = ("load", "first-load", "tag", "rm", "save")
SAMPLE = 2


@pytest.fixture(autouse=True)
def _strace() -> None:
    require_strace()


def sampled(found: Sequence[Strike], count: int) -> list[Strike]:
    """Return some of them, spread evenly, the calls that change names among them."""
    assert len(found) >= count
    return [found[(2 * n + 1) * len(found) // (2 * count)] for n in range(count)]


def sweep_all(sweep: Sweep, expected: Expected, chosen: Sequence[Strike]) -> Iterator[Strike]:
    """Strike the command at each of these calls; yield those that it got as far as."""
    for strike in figures.current.in_time(chosen):
        stage = sweep.stage()
        ended = struck(stage, strike)
        if not strike.error:
            assert ended.code != 0 or not ended.hit
        elif ended.hit:
            assert ended.code in (0, 9), f"{strike}: exit code {ended.code}: {ended.err}"
            assert "Traceback" not in ended.err
        assert_old_or_new(stage, expected)
        if ended.hit:
            sweep.assert_works_now(stage, expected)
            yield strike
        stage.remove()


Striking = Callable[[str], Sequence[Strike]]


@pytest.fixture(scope="module")
def all_strikes(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Striking:
    """Return what tells every call that a command makes."""

    @functools.cache
    def find(name: str) -> Sequence[Strike]:
        return tuple(strikes(Stage(SCENES[name], prepared, tmp_path_factory.mktemp(name) / "x")))

    return find


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_dies_at_a_system_call_leaves_the_old_or_the_new_state(
    name: str,
    parent: Zygote,
    prepared: Path,
    tmp_path: Path,
    expected: Expecting,
    all_strikes: Striking,
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    chosen = sampled(all_strikes(name), SAMPLE)
    hits = list(sweep_all(sweep, expected(name), chosen))
    figures.current.count("G1 G2 G11", f"kills of {name} at a system call", len(hits))
    assert len(hits) >= SAMPLE // 2


@pytest.mark.parametrize("name", COMMANDS)
def test_an_error_of_a_system_call_leaves_the_old_or_the_new_state(
    name: str,
    parent: Zygote,
    prepared: Path,
    tmp_path: Path,
    expected: Expecting,
    all_strikes: Striking,
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    chosen = [
        Strike(strike.call, strike.number, error)
        for strike, error in zip(
            sampled(all_strikes(name), SAMPLE),
            itertools.cycle(ERRORS),
            strict=False,
        )
    ]
    hits = list(sweep_all(sweep, expected(name), chosen))
    figures.current.count("G1 G6 G11", f"errors of system calls in {name}", len(hits))
    assert len(hits) >= SAMPLE // 2


@pytest.mark.soak
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_dies_at_each_system_call_leaves_the_old_or_the_new_state(
    name: str,
    parent: Zygote,
    prepared: Path,
    tmp_path: Path,
    expected: Expecting,
    all_strikes: Striking,
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    for _ in sweep_all(sweep, expected(name), all_strikes(name)):
        figures.current.count("G1 G2 G11", f"kills of {name} at a system call")


@pytest.mark.soak
@pytest.mark.parametrize("name", COMMANDS)
def test_each_error_of_each_system_call_leaves_the_old_or_the_new_state(
    name: str,
    parent: Zygote,
    prepared: Path,
    tmp_path: Path,
    expected: Expecting,
    all_strikes: Striking,
) -> None:
    sweep = Sweep(name, parent, prepared, tmp_path)
    chosen = [
        Strike(strike.call, strike.number, error)
        for error in ERRORS
        for strike in all_strikes(name)
    ]
    for _ in sweep_all(sweep, expected(name), chosen):
        figures.current.count("G1 G6 G11", f"errors of system calls in {name}")


@pytest.mark.parametrize("name", ["first-load", "rm", "save"])
def test_what_we_watch_is_all_that_changes_the_disk(
    name: str, parent: Zygote, prepared: Path, tmp_path: Path
) -> None:
    # The other tests fail, stop and record at our own calls; here strace counts the real ones.
    seen = calls_below(Stage(SCENES[name], prepared, tmp_path / "traced"))
    stage = Stage(SCENES[name], prepared, tmp_path / "watched")
    ended = parent.run(stage.command, Plan(root=str(stage.folder), record=True))
    kinds = {"create": "open", "tmpfile": "open"}
    watched = Counter(kinds.get(change.kind, change.kind) for change in ended.changes)
    assert watched == seen
