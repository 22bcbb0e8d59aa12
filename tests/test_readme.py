"""The README tells the truth: its examples run, its commands and options exist."""

import ast
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from fixtures import picture
from tests.support import forked
from tests.support.command import environment
from tests.support.registry import EmulatedRegistry

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
AIR_GAP = (ROOT / "ocitool" / "cli" / "air-gap.md").read_text(encoding="utf-8")
CLI_README = (ROOT / "ocitool" / "cli" / "README.md").read_text(encoding="utf-8")


def _blocks(marker: str, page: str = README) -> list[str]:
    return re.findall(rf"<!-- {marker} -->\n```\w+\n(.*?)```", page, re.DOTALL)


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
    inherited = forked.launcher(bin_folder / "ocitool")
    variables["PATH"] = f"{bin_folder}:{variables['PATH']}"
    variables["REGISTRY"] = (folder / "registry").read_text()
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=variables,
        pass_fds=inherited,
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


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signs with ssh-keygen")
def test_the_guide_to_an_air_gap_runs_in_order(folder: Path, tmp_path: Path) -> None:
    for name in ("fixtures", "registry"):
        (tmp_path / name).symlink_to(folder / name)
    done = _shell("\n".join(_blocks("air-gap", AIR_GAP)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "application/spdx+json" in done.stdout  # the SBOM reached the mirror
    assert "/mirror/app:1.0@sha256:" in done.stdout  # and the YAML names it there
    assert "signed by release@example.org" in done.stdout


def test_a25_the_recipes_for_many_machines_run_a_part_each(folder: Path) -> None:
    job, matrix = (yaml.safe_load(block) for block in _blocks("shards", CLI_README))
    parts = [
        (f"export JOB_COMPLETION_INDEX={number}", job["command"][2])
        for number in range(job["spec"]["completions"])
    ]
    (step,) = matrix["steps"]
    parts += [
        ("true", step["run"].replace("${{ matrix.shard }}", str(number)))
        for number in matrix["strategy"]["matrix"]["shard"]
    ]
    lines = len((folder / "plan.jsonl").read_text().splitlines())
    done = _shell("\n".join(f"{start}\n{command} --json" for start, command in parts), folder)
    assert done.returncode == 0, done.stderr
    images = [one for value in _documents(done.stdout) for one in value["images"]]
    # The plan is done once by the job, and once more by the matrix.
    assert len(images) == 2 * lines


def _documents(text: str) -> Iterator[dict[str, list[object]]]:
    decoder, position = json.JSONDecoder(), 0
    while position < len(text.rstrip()):
        value, position = decoder.raw_decode(text, position)
        position += 1
        yield value


def test_the_main_command_does_the_main_job(folder: Path) -> None:
    (command,) = _blocks("main-command")
    install, _, job = command.partition("pip install -q . && ")
    assert install.startswith("python3 -m venv .venv")
    done = _shell(job.replace(".venv/bin/ocitool", "ocitool"), folder)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = _blocks("python", (ROOT / "ocitool" / "README.md").read_text(encoding="utf-8"))
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


def _run_with_registry(code: str, folder: Path) -> str:
    assert len(code.splitlines()) <= 15
    registry = (folder / "registry").read_text()
    done = subprocess.run(
        [sys.executable, "-c", code.replace("ghcr.io/team", registry)],
        cwd=folder,
        env=environment(folder / "store"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_programs_with_registries_run(folder: Path) -> None:
    setup = (
        "ocitool load fixtures/docker20-app-single.tar && "
        "ocitool push fmt/app:1.0 $REGISTRY/app:1.0 && ocitool inspect --quiet fmt/app:1.0"
    )
    done = _shell(setup, folder)
    assert done.returncode == 0, done.stderr
    ours = (ROOT / "ocitool" / "README.md").read_text(encoding="utf-8")
    programs = []
    for page in (README, ours):
        (block,) = _blocks("python-registry", page)
        start, *more = re.split(r"\n(?=\n# )", block)
        programs += [start + code for code in more]
    layers, copied, holders, files, compared, carried = (
        _run_with_registry(code, folder) for code in programs
    )
    assert "sha256:" in layers
    assert copied.startswith("sha256:")
    assert "file" in holders
    assert files.endswith("hello\n\n")
    assert compared.splitlines()[1] == "True []"
    assert carried == copied.splitlines()[0].split()[0] + "\n"


def test_the_program_that_edits_runs(folder: Path) -> None:
    setup = (
        "ocitool load fixtures/docker20-app-single.tar && "
        "ocitool push fmt/app:1.0 $REGISTRY/app:1.0"
    )
    assert _shell(setup, folder).returncode == 0
    page = (ROOT / "ocitool" / "README.md").read_text(encoding="utf-8")
    (code,) = _blocks("python-edit", page)
    registry = (folder / "registry").read_text()
    done = subprocess.run(
        [sys.executable, "-c", code.replace("ghcr.io/team", registry)],
        env=environment(folder / "store"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("sha256:")
    assert first.endswith(" True")
    assert second == "['linux/amd64']"


def test_every_command_of_the_readme_exists_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocitool", "--help"], capture_output=True, text=True, check=True
    )
    commands = done.stdout.partition("\nGlobal options")[0]
    listed = set(re.findall(r"^  (\w+)  ", commands, re.MULTILINE))
    table = README.partition("| for | commands |")[2].partition("\n\n")[0]
    described = set(re.findall(r"`(\w+)`", table))
    assert described == listed


PAGES = [
    ROOT / "README.md",
    *(
        page
        for top in ("ocitool", "tests", "fixtures")
        for page in sorted((ROOT / top).rglob("README.md"))
    ),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_module_that_the_architecture_page_names_exists() -> None:
    page = (ROOT / "ocitool" / "README.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", page))
    assert len(names) > 10
    homes = (ROOT, ROOT / "ocitool")
    assert [name for name in names if not any((home / name).exists() for home in homes)] == []


@cache
def _tests_in(path: Path) -> set[str]:
    """Return the tests of a file, such as `test_a`, `TestB` and `TestB::test_a`, by reading it."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {node.name} | {
                f"{node.name}::{below.name}"
                for below in node.body
                if isinstance(below, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return {name for name in found if name.rpartition("::")[2].lower().startswith("test")}


def _is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in _tests_in(ROOT / path)


@pytest.mark.parametrize(
    "title",
    [
        "Cases from the field",
        "Looking inside",
        "Across the air gap",
        "Serve, prune, edit, containers",
    ],
)
def test_every_row_names_tests_that_exist(title: str) -> None:
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    cases = [row for row in rows if not row.startswith(("| ---", "| number "))]
    assert cases
    named = {row: re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", row) for row in cases}
    assert [row for row, tests in named.items() if not tests] == [], "a case without a test"
    wrong = {test for tests in named.values() for test in tests if not _is_there(test)}
    assert wrong == set()


def test_every_requirement_of_the_air_gap_has_a_test_of_its_number() -> None:
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    section = page.partition("\n## Across the air gap\n")[2].partition("\n## ")[0]
    found: set[int] = set()
    for path, name in set(re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", section)):
        for test in _tests_in(ROOT / path):
            if f"{test}::".startswith(f"{name}::"):
                found |= {int(number) for number in re.findall(r"(?:_a|TestA)(\d+)", test)}
    assert found >= set(range(1, 29))


def test_the_picture_shows_what_the_command_prints_today() -> None:
    shown = html.unescape(re.sub(r"<[^>]+>", "", picture.PICTURE.read_text(encoding="utf-8")))
    squeezed = "".join(shown.split())
    for line in picture.plain(picture.run()).splitlines():
        assert "".join(line.split()) in squeezed, "draw it again: python -m fixtures.picture"
