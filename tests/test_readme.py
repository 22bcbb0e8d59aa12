"""The README tells the truth: its examples run, its commands and options exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import environment
from tests.support.registry import EmulatedRegistry

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(marker: str) -> list[str]:
    return re.findall(rf"<!-- {marker} -->\n```\w+\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder in which the examples find the fixtures, while a registry runs."""
    path = tmp_path_factory.mktemp("readme")
    (path / "fixtures").symlink_to(ROOT / "fixtures")
    with EmulatedRegistry() as registry:
        (path / "registry").write_text(f"{registry.host}/team")
        yield path


def _shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = environment(folder / "store")
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    command = bin_folder / "ocitool"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ocitool "$@"\n')
    command.chmod(0o755)
    variables["PATH"] = f"{bin_folder}:{variables['PATH']}"
    variables["REGISTRY"] = (folder / "registry").read_text()
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_run_in_order_in_one_folder(folder: Path) -> None:
    examples = _blocks("example")
    assert len(examples) >= 5
    done = _shell("\n".join(examples), folder)
    assert done.returncode == 0, done.stderr
    assert "fmt/app:1.0" in done.stdout


def test_the_main_command_does_the_main_job(folder: Path) -> None:
    (command,) = _blocks("main-command")
    install, _, job = command.partition("pip install -q . && ")
    assert install.startswith("python3 -m venv .venv")
    done = _shell(job.replace(".venv/bin/ocitool", "ocitool"), folder)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = _blocks("python")
    setup = "ocitool load fixtures/docker20-app-single.tar && ocitool save fmt/app:1.0 -o app.tar"
    assert _shell(setup, folder).returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(folder / "store"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fmt/app:1.0" in done.stdout
    assert (folder / "again.tar").exists()


def test_every_command_of_the_readme_exists_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocitool", "--help"], capture_output=True, text=True, check=True
    )
    listed = set(re.findall(r"^  (\w+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE))
    table = README.partition("| command | does |")[2].partition("\n\n")[0]
    described = {
        word
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for word in re.findall(r"`(\w+)", row)
    }
    assert described == listed


def test_every_file_that_the_readme_draws_exists() -> None:
    drawing = README.partition("```\nocitool/\n")[2].partition("```")[0]
    names = re.findall(r"([\w/]+(?:\.py|/))", drawing)
    assert len(names) > 10
    assert [name for name in names if not (ROOT / "ocitool" / name).exists()] == []
