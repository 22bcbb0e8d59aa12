"""A thousand images in one bundle: bounded memory, and twice the time for twice as many."""

import os
import sys
from pathlib import Path

import pytest

from tests.bench.airgap import build_many
from tests.bench.measure import Usage, run
from tests.support.command import ROOT

LIMIT = 120_000_000
COUNTS = (500, 1000)


def cycle(folder: Path, count: int) -> dict[str, Usage]:
    """Make, verify and load a bundle of so many images."""
    layout, file = folder / f"layout{count}", str(folder / f"{count}.tar")
    build_many(layout, count)
    start = [sys.executable, "-m", "ocitool", "--store", str(folder / f"store{count}")]
    start += ["--progress", "none", "bundle"]
    return {
        "create": run([*start, "create", f"oci:{layout}", "-o", file]),
        "verify": run([*start, "verify", "-q", file]),
        "load": run([*start, "load", "-q", file]),
    }


@pytest.mark.soak
def test_memory_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    half, whole = (cycle(tmp_path, count) for count in COUNTS)
    for verb, usage in whole.items():
        assert usage.cpu_seconds <= 2.2 * half[verb].cpu_seconds, verb
        # The kernel counts this process, which forks it, as well: it may be the larger one.
        assert usage.peak_bytes <= LIMIT, verb
