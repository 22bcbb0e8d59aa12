"""Programs that are run to their end, and what is said of those that do not get there."""

import time
from pathlib import Path

import pytest

from ocitool.errors import Unavailable
from ocitool.programs import NotInstalled, run_program


def test_one_that_does_not_end_is_killed_and_said_so(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"sh did not answer within 0\.2 s"):
        run_program(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 30"], seconds=0.2)
    assert time.monotonic() - begun < 10
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_one_that_is_not_there_or_may_not_run_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="no-such-program is not installed"):
        run_program(["no-such-program"])
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(NotInstalled, match="cannot be run: Permission denied"):
        run_program([str(tmp_path / "tool")])
