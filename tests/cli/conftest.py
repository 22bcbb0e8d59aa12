"""A command with a fresh store, and one whose store holds images."""

import shutil
from pathlib import Path

import pytest

from tests.support.command import FIXTURES, Command


@pytest.fixture
def ocitool(tmp_path: Path) -> Command:
    """Return the command with a store that does not exist yet."""
    return Command(tmp_path / "store", tmp_path)


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with fmt/app:1.0, fmt/base:1 and a multi-platform image; not to be changed."""
    folder = tmp_path_factory.mktemp("filled")
    command = Command(folder / "store", folder)
    for name in ("docker20-multi.tar", "docker29-containerd-multiplat.tar"):
        done = command("load", FIXTURES / name)
        assert done.code == 0, done.err
    return command.store


@pytest.fixture
def loaded(ocitool: Command, filled_store: Path) -> Command:
    """Return the command with a copy of the filled store."""
    shutil.copytree(filled_store, ocitool.store)
    return ocitool
