"""ocitool as one file for several Pythons, with what pip downloads for each of them."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command import FIXTURES, Command

pytestmark = pytest.mark.interop


def other_python(version: str) -> str | None:
    """Return a Python of this version, if one is installed, other than the one that runs."""
    known: list[str | Path] = [f"python{version}"]
    known += Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for command in known:
        try:
            done = subprocess.run([command, "-I", "-c", ""], capture_output=True, check=False)
        except FileNotFoundError:
            continue
        # What pyenv puts in the path may lead nowhere.
        if done.returncode == 0:
            return str(command)
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_it_runs_on_every_python_that_it_was_made_for(tmp_path: Path, version: str) -> None:
    python = other_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    command = Command(tmp_path / "store", tmp_path)
    assert command("zipapp", "-o", "ocitool.pyz", "--python", version).code == 0
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "OCITOOL_STORE": "far/store"}
    for arguments in (
        ("load", str(FIXTURES / "docker20-app-single.tar")),
        ("bundle", "create", "fmt/app:1.0", "-o", "carry.tar"),
        ("bundle", "verify", "carry.tar"),
        ("bundle", "load", "carry.tar", "--to", "oci:there"),
    ):
        done = subprocess.run(
            [python, "-I", "-S", "ocitool.pyz", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "there" / "oci-layout").exists()
