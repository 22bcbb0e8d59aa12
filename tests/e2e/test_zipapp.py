"""ocitool as one file: built offline from what is installed, run by a bare Python."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.command import FIXTURES, Command


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zipapp")
    command = Command(folder / "store", folder)
    done = command("zipapp", "-o", "ocitool.pyz")
    assert done.code == 0, done.err
    assert done.out.startswith("wrote ocitool.pyz: ")
    return folder / "ocitool.pyz"


def bare(
    zipapp: Path, home: Path, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the file with no package of this machine, as on the far side of an air gap."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-I", "-S", str(zipapp), *map(str, arguments)],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_loads_inspects_saves_and_verifies_on_a_bare_python(
    zipapp: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for arguments, shown in (
        (("load", FIXTURES / "docker20-app-single.tar"), "Loaded image: fmt/app:1.0"),
        (("inspect", "fmt/app:1.0"), "fmt/app:1.0"),
        (("save", "fmt/app:1.0", "--compression", "zstd", "-o", "app.tar"), ""),
        (("verify", "./app.tar"), "sound"),
        (("registry", "tags", "localhost:1/x", "--retry-max-wait", "0.01s"), ""),
    ):
        done = bare(zipapp, home, *arguments)
        assert done.returncode == (8 if arguments[0] == "registry" else 0), done.stderr
        assert shown in done.stdout
    (unpacked,) = (home / ".cache" / "ocitool").iterdir()
    assert unpacked.stat().st_mode & 0o777 == 0o700
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", str(zipapp), "zipapp", "-o", "again.pyz"],
        cwd=home,
        env={"HOME": str(home)},
        check=False,
    )
    assert loaded.returncode == 0
    assert (home / "again.pyz").read_bytes() == zipapp.read_bytes()


def test_it_is_a_program_with_the_compiled_packages_in_it(zipapp: Path) -> None:
    assert os.access(zipapp, os.X_OK)
    assert zipapp.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(zipapp) as archive:
        names = archive.namelist()
    assert any(name.startswith("msgspec/") and name.endswith(".so") for name in names)
    assert not [name for name in names if name.endswith(".pyc") or name.startswith(("/", ".."))]
    assert not [name for name in names if name.startswith(("pytest", "mypy", "pip/"))]


def test_a_folder_that_others_may_write_to_is_not_run(zipapp: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert bare(zipapp, home, "version").returncode == 0
    (unpacked,) = (home / ".cache" / "ocitool").iterdir()
    unpacked.chmod(0o777)
    done = bare(zipapp, home, "version")
    assert done.returncode == 1
    assert "not a folder of yours alone" in done.stderr


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_without_a_home_it_unpacks_itself_into_a_private_temporary_folder(
    zipapp: Path, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    variables = {variable: str(tmp_path / "file" / "home"), "TMPDIR": str(temporary)}
    done = bare(zipapp, tmp_path / "there", "version", **variables)
    assert done.returncode == 0, done.stderr
    (base,) = temporary.iterdir()
    assert base.name == f"ocitool-{os.getuid()}"
    assert base.stat().st_mode & 0o777 == 0o700
    base.chmod(0o777)
    done = bare(zipapp, tmp_path / "there", "version", **variables)
    assert done.returncode == 1
    assert "not a folder of yours alone" in done.stderr
    assert "set HOME or XDG_CACHE_HOME" in done.stderr


def test_another_python_is_told_which_one_it_takes(zipapp: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(zipapp) as archive, zipfile.ZipFile(other, "w") as changed:
        changed.writestr("__main__.py", archive.read("__main__.py"))
        changed.writestr(
            "zipapp.json", '{"key": "x", "pythons": ["3.9"], "suffixes": [".other.so"]}'
        )
    done = bare(other, tmp_path / "home", "version")
    assert done.returncode == 1
    assert "run it with python3.9" in done.stderr
