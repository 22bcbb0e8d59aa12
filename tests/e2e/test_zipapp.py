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
        for name in ("__main__.py", "zipapp_main.py"):
            changed.writestr(name, archive.read(name))
        changed.writestr(
            "zipapp.json", '{"key": "x", "pythons": ["3.9"], "suffixes": [".other.so"]}'
        )
    done = bare(other, tmp_path / "home", "version")
    assert done.returncode == 1
    assert "run it with python3.9" in done.stderr


def test_it_runs_by_any_path_to_it(zipapp: Path, tmp_path: Path) -> None:
    home = tmp_path / "site"
    home.mkdir()
    (home / "ocitool.pyz").symlink_to(zipapp)
    python = [sys.executable, "-I", "-S"]
    for command in (
        [*python, "./ocitool.pyz"],
        [*python, "../site/ocitool.pyz"],
        ["./ocitool.pyz"],
    ):
        done = subprocess.run(
            [*command, "version"],
            cwd=home,
            env={"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("ocitool ")


def test_a_flipped_byte_is_told_as_damage(zipapp: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        member = archive.getinfo("ocitool/errors.py")
    changed = bytearray(zipapp.read_bytes())
    changed[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 1
    (tmp_path / "broken.pyz").write_bytes(changed)
    done = bare(tmp_path / "broken.pyz", tmp_path / "home", "version")
    assert done.returncode == 1
    assert done.stderr.startswith(f"ocitool: {tmp_path}/broken.pyz is damaged: ")
    assert "copy it here again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.9"])
def test_a_python_that_is_too_old_is_told_which_one_it_takes(
    zipapp: Path, tmp_path: Path, version: str
) -> None:
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {version} here")
    done = subprocess.run(
        [found[0], "./ocitool.pyz", "version"],
        cwd=zipapp.parent,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    here = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert done.returncode == 1
    assert done.stderr.startswith(f"ocitool: this file is for {here}")
    assert "Traceback" not in done.stderr


def test_a_python_older_than_ocitool_takes_is_refused_with_the_reason(tmp_path: Path) -> None:
    done = Command(tmp_path / "store", tmp_path)("zipapp", "--python", "3.10")
    assert done.code == 2
    assert "needs Python 3.11 or later" in done.err
    assert "run `ocitool zipapp` with Python 3.10" not in done.err
