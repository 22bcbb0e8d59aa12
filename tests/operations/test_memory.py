"""The memory of commands that look at every blob of a store, with very many small blobs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.garbage import build
from tests.faults import peak
from tests.support.command import ROOT, environment

NOBODY = ("--containers", "none")
COMMANDS = (("verify",), ("df", *NOBODY), ("gc", "-a", "--dry-run", *NOBODY))
KIB, MEGABYTE = 1024, 1_000_000


@pytest.mark.parametrize(
    ("images", "most"), [(1000, 60), pytest.param(10_000, 150, marks=pytest.mark.soak)]
)
def test_it_is_bounded_with_ten_blobs_for_each_image(
    tmp_path: Path, images: int, most: int
) -> None:
    build(tmp_path / "store", images)
    for words in COMMANDS:
        # Of the small program that starts it, and not of this process.
        done = subprocess.run(
            [sys.executable, peak.__file__, sys.executable, "-m", "ocitool", *words],
            cwd=ROOT,
            env=environment(tmp_path / "store"),
            capture_output=True,
            text=True,
            check=True,
        )
        used = int(done.stderr.splitlines()[-1]) * KIB
        assert used < most * MEGABYTE, f"{words[0]}: {used / MEGABYTE:.0f} MB"
