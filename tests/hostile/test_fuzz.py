"""Archives and documents changed at random: a result or an error of ours, and a sound store.

The soak variants run for `OCITOOL_FUZZ_SECONDS` each, ten minutes unless it says otherwise.
"""

import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.forks import ROOT
from tests.hostile.fuzzing import SEEDS, TARGETS, changed, mutated, survives, tried
from tests.support.examples import part_of

FEW = settings(
    deadline=None,
    max_examples=part_of(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MANY = settings(deadline=None, max_examples=part_of(150))
SECONDS = float(os.environ.get("OCITOOL_FUZZ_SECONDS", "600"))

any_target = pytest.mark.parametrize("target", sorted(TARGETS))


@FEW
@given(st.sampled_from(SEEDS), st.integers(0, 2**32), st.integers(0, 4))
def test_a_changed_archive_is_refused_or_loads_soundly(
    seed: bytes, number: int, steps: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        survives(mutated(seed, random.Random(number), steps), Path(folder))


@any_target
@MANY
@given(number=st.integers(0, 2**32))
def test_a_parser_returns_or_raises_an_error_of_ours(target: str, number: int) -> None:
    tried(target, changed(target, random.Random(number)))


@any_target
@MANY
@given(data=st.binary(max_size=200))
def test_a_parser_takes_any_bytes(target: str, data: bytes) -> None:
    tried(target, data)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_an_archive_without_a_change_loads(seed: int, tmp_path: Path) -> None:
    assert survives(mutated(SEEDS[seed], random.Random(0), 0), tmp_path)


def test_changes_do_both_break_and_spare_archives(tmp_path: Path) -> None:
    """Else nothing is tried that gets past the first check, or nothing that is refused."""
    ends = []
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        ends.append(survives(mutated(SEEDS[number % 4], random.Random(number), 1), folder))
    assert 5 < sum(ends) < 55


@pytest.mark.soak
def test_changed_archives_for_a_long_time(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            chance = random.Random(number)
            data = mutated(chance.choice(SEEDS), chance, chance.randint(1, 6))
            try:
                survives(data, Path(folder))
            except BaseException:
                print(f"the archive of number {number}")
                raise
        number += 1
    assert number > SECONDS


@pytest.mark.soak
@any_target
def test_a_parser_for_a_long_time(target: str) -> None:
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        tried(target, changed(target, random.Random(number)))
        number += 1
    assert number > SECONDS


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@any_target
def test_atheris_finds_nothing(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.under_atheris", target, str(int(SECONDS))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, done.stderr[-4000:].decode(errors="replace")
