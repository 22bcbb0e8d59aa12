"""What the tools that own package databases list of them, and what we read of the same files."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.inside.facts.packages.go import build_info, go_packages
from ocitool.inside.facts.packages.rpm import rpm_packages
from ocitool.inside.facts.packages.stanzas import dpkg_packages
from tests.inside.facts.databases import FORMS, database
from tests.interop.peers import run

pytestmark = pytest.mark.interop
Require = Callable[..., None]


def test_dpkg_lists_the_same_packages(require: Require) -> None:
    require("dpkg-query")
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
    listed = run(["dpkg-query", "-W", "-f", form]).decode().splitlines()
    theirs = sorted(line.partition(" ")[2] for line in listed if line.startswith("installed "))
    status = Path("/var/lib/dpkg/status").read_bytes()
    ours = sorted(
        f"{one.name} {one.version} {one.architecture}" for one in dpkg_packages(status, "")
    )
    assert ours == theirs
    assert ours


@pytest.mark.parametrize("tool", ["crane", "oras"])
def test_go_lists_the_same_modules(require: Require, tool: str) -> None:
    require("go", tool)
    binary = Path(str(shutil.which(tool)))
    lines = run(["go", "version", "-m", str(binary)]).decode().splitlines()
    with binary.open("rb") as file:
        info = build_info(iter(lambda: file.read(1 << 18), b""))
    assert info is not None
    version, modules = info
    assert lines[0].endswith(f": {version}")
    assert [line.removeprefix("\t") for line in lines[1:]] == modules.rstrip("\n").split("\n")
    assert len(list(go_packages(version, modules, ""))) > 10


@pytest.mark.parametrize("form", ["sqlite", "bdb_ro"])  # Debian builds rpm without ndb
def test_rpm_lists_the_same_packages(require: Require, form: str, tmp_path: Path) -> None:
    require("rpm")
    (tmp_path / FORMS[form]).write_bytes(database(form))
    query = "%{NAME} %{EPOCHNUM} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}\n"
    done = subprocess.run(
        ["rpm", "--dbpath", tmp_path, "--define", f"_db_backend {form}", "-qa", "--qf", query],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = sorted(line for line in done.stdout.splitlines() if not line.startswith("gpg-pubkey"))
    ours = sorted(
        f"{one.name} {one.epoch or 0} {one.version} {one.architecture} {one.license}"
        for one in rpm_packages(database(form), "")
    )
    assert ours == theirs
    assert len(ours) == 3
