"""A registry, what talks to it, and a folder to push."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifacts.site import Site
from tests.support.registry import EmulatedRegistry


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as running:
        yield running


@pytest.fixture
def site(registry: EmulatedRegistry, tmp_path: Path) -> Iterator[Site]:
    found = Site(registry.host, tmp_path)
    with found.registries:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with a bit of everything that may be in one."""
    path = tmp_path / "data"
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "er" / "x.txt").write_text("x")
    (path / "deep" / "link").symlink_to("er/x.txt")
    (path / "empty").mkdir()
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o750)
    (path / "ünï").write_text("name")
    return path
