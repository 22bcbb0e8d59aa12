"""How much memory a look inside takes: about as much as the names of the files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.inside import build_million
from tests.support.command import environment

SCRIPT = """
import sys
from pathlib import Path
from ocitool.cli.main import run

assert run(["size", "--no-cache", "--json", sys.argv[1]]) == 0
print(Path("/proc/self/status").read_text(), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "files", [pytest.param(count, marks=pytest.mark.soak) for count in (200_000, 1_000_000)]
)
def test_it_grows_with_the_files_alone(tmp_path: Path, files: int) -> None:
    image = tmp_path / "image.tar"
    build_million(image, files=files)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(image)],
        env=environment(tmp_path / "store"),
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    assert found is not None
    assert int(found.group(1)) * 1024 <= (60 << 20) + 250 * files
