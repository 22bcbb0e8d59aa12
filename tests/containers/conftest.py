"""A store with two images, and a machine without engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.containers.listed import APP, OTHER
from tests.support.layouts import store


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """Return a store with app:1 and other:1."""
    with store(tmp_path / "s", app=APP, other=OTHER) as layout:
        yield layout


@pytest.fixture
def no_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Move the usual sockets to the test's folder: d, p, users/, c and cri."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    sockets = {"docker": str(tmp_path / "d"), "podman": str(tmp_path / "p")}
    monkeypatch.setattr("ocitool.places.engine.endpoint._SYSTEM_SOCKETS", sockets)
    monkeypatch.setattr("ocitool.places.engine.endpoint._USERS", str(tmp_path / "users"))
    of_runtimes = {"CONTAINERD_SOCKETS": tmp_path / "c", "_CRI_SOCKETS": tmp_path / "cri"}
    for name, path in of_runtimes.items():
        monkeypatch.setattr(f"ocitool.containers.runtimes.{name}", (str(path),))
