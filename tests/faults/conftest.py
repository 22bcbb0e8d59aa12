"""One parent of all commands, the prepared stores, and the table of guarantees."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.interleaving import prepare_more
from tests.faults.scenes import COPIES, SCENES, Expected, Stage, prepare, serve
from tests.faults.zygote import Zygote, zygote
from tests.support.registry import EmulatedRegistry


@pytest.fixture(scope="session")
def parent() -> Iterator[Zygote]:
    """The process that all commands are forked from."""
    with zygote() as process:
        yield process


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The host of a registry with the image that scenes pull."""
    with EmulatedRegistry() as running:
        serve(running)
        yield running.host


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Path:
    """A folder with the archives and the store that scenes begin with."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder, registry)
    return folder


@pytest.fixture(scope="session")
def prepared_more(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Path:
    """A folder with the archives and the store that pairs of commands begin with."""
    folder = tmp_path_factory.mktemp("pairs")
    prepare_more(folder, registry)
    return folder


@pytest.fixture(scope="session")
def expected(
    parent: Zygote, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Expected]:
    """What each scene does when nothing disturbs it."""
    known: dict[str, Expected] = {}

    def play(name: str) -> Expected:
        if name not in known:
            stage = Stage(
                {**SCENES, **COPIES}[name], prepared, tmp_path_factory.mktemp(name) / "stage"
            )
            before = stage.names()
            ended = parent.run(stage.command)
            assert ended.code == 0, ended.err
            known[name] = Expected(before=before, after=stage.names(), file=stage.file())
            assert known[name].after != before or stage.scene.writes_a_file
        return known[name]

    return play


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let soak tests be ended early, with the figures that they have reached."""
    parser.addoption("--soak-seconds", type=float, default=None, help="time for each soak test")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table with nothing in it."""
    figures.begin(config.getoption("--soak-seconds", default=None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count a failing test as a violation of the guarantees that it is about."""
    figures.current.start()
    try:
        yield
    except pytest.skip.Exception:
        raise
    except BaseException:
        figures.current.violate()
        raise


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table of guarantees after a run of the full figures."""
    if "not soak" not in config.option.markexpr and "soak" in config.option.markexpr:
        for line in figures.current.table():
            terminalreporter.write_line(line)
