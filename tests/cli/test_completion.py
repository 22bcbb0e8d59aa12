"""Completion: the scripts of the shells, and what is offered for a value."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command, environment

APP, BASE, MULTI = "fmt/app:1.0", "fmt/base:1", "hyb/multiplat-full:1"


def offered(ocitool: Command, line: str) -> list[str]:
    """Return what a shell is offered for the last word of a command line."""
    words = line.split(" ")
    variables = {
        "_OCITOOL_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = ocitool(variables=variables)
    assert done.code == 0, done.err
    return done.out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ocitool in", ["inventory", "inspect", "info", "index"]),
        ("ocitool inspect fmt/", [APP, BASE]),
        ("ocitool --store none inspect fmt/", []),
        ("ocitool inspect --store none fmt/", []),
        ("ocitool inspect docker", []),
        ("ocitool restore fmt/app", ["fmt/app:1.0@{1}"]),
        ("ocitool --progress ", ["auto", "bar", "plain", "none"]),
        ("ocitool load --progress p", ["plain"]),
        ("ocitool save x --type d", ["docker"]),
        ("ocitool save x --compression ", ["keep", "gzip", "zstd", "none"]),
        ("ocitool push a b --on-existing s", ["same", "skip"]),
        ("ocitool gc --engine ", ["docker", "podman"]),
        ("ocitool registry t", ["tags"]),
        ("ocitool completion ", ["bash", "zsh", "fish"]),
        ("ocitool container create --network ", ["none", "host"]),
        ("ocitool container start we", ["web"]),
        ("ocitool container rm x w", ["web"]),
    ],
)
def test_what_is_offered(loaded: Command, line: str, expected: list[str]) -> None:
    if "restore" in line:
        assert loaded("tag", BASE, APP).code == 0
    if "web" in expected:
        assert loaded("container", "create", "--name", "web", APP, "x").code == 0
    assert set(offered(loaded, line)) == set(expected)


def test_a_damaged_store_offers_nothing_and_prints_no_error(ocitool: Command) -> None:
    ocitool.store.mkdir()
    (ocitool.store / "oci-layout").write_text("x")
    assert offered(ocitool, "ocitool inspect ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_reads(ocitool: Command, shell: str) -> None:
    done = ocitool("completion", shell)
    assert done.code == 0, done.err
    assert "_OCITOOL_COMPLETE" in done.out
    program = shutil.which(shell)
    if program is not None:
        read = subprocess.run(
            [program, "-n"], input=done.out, capture_output=True, text=True, check=False
        )
        assert read.returncode == 0, read.stderr


def test_another_shell_is_a_usage_error(ocitool: Command) -> None:
    done = ocitool("completion", "tcsh")
    assert done.code == 2
    assert "'tcsh' is not bash, zsh or fish" in done.err


def in_bash(ocitool: Command, line: str, breaks: str) -> list[str]:
    """Return what bash puts in place of the last piece of a line, as its function says."""
    program = ocitool.cwd / "bin" / "ocitool"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ocitool "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(ocitool completion bash)"\n'
        f"COMP_WORDBREAKS=$'{breaks}'\n"
        f"COMP_LINE='{line}' COMP_POINT={len(line)}\n"
        '_ocitool_completion ocitool\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    variables = environment(ocitool.store)
    variables["PATH"] = f"{program.parent}:{variables['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "breaks", "expected"),
    [
        ("ocitool inspect fmt/a", " \\t\\n:=", [APP]),
        ("ocitool inspect fmt/app:", " \\t\\n:=", ["1.0"]),
        ("ocitool inspect fmt/app:", " \\t\\n", [APP]),
        ("ocitool restore fmt/app:1.0@", " \\t\\n:=@", ["{1}"]),
        ("ocitool inspect ", " \\t\\n:=", [APP, BASE, MULTI]),
    ],
)
def test_bash_completes_names_with_colons(
    loaded: Command, line: str, breaks: str, expected: list[str], tmp_path: Path
) -> None:
    if "restore" in line:
        assert loaded("tag", BASE, APP).code == 0
    if "web" in expected:
        assert loaded("container", "create", "--name", "web", APP, "x").code == 0
    assert set(in_bash(loaded, line, breaks)) == set(expected)
