"""A user without a home folder, as in most CI containers: no entry in passwd and no HOME."""

from pathlib import Path
from typing import Any

import pytest

from tests.places.registry.homes import entry
from tests.support import forked
from tests.support.command import FIXTURES, Done
from tests.support.registry import Access, EmulatedRegistry, Quirks

_NOBODY = 54321
"""The number of a user that no passwd has."""
NO_HOME = "there is no home folder"
ARCHIVE = FIXTURES / "docker20-multi.tar"


def run(folder: Path, *arguments: str | Path, stdin: bytes = b"", **variables: Any) -> Done:
    env = {"PATH": "/usr/bin:/bin", **variables}
    done = forked.run([*map(str, arguments)], cwd=folder, env=env, stdin=stdin, uid=_NOBODY)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return the folder that the commands run in; nothing may appear in it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    return folder


def login(folder: Path, server: EmulatedRegistry, *more: str | Path, **variables: str) -> Done:
    words = ("login", server.host, "-u", "ann", "--password-stdin", *more)
    return run(folder, *words, stdin=b"s3cret", **variables)


def registry() -> EmulatedRegistry:
    return EmulatedRegistry(Quirks(access=Access(scheme="basic", users={"ann": "s3cret"})))


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "."}, {"HOME": "~"}], ids=str)
def test_no_password_is_written_into_the_working_folder(
    checkout: Path, home: dict[str, Any]
) -> None:
    with registry() as server:
        done = login(checkout, server, **home)
        assert (done.code, server.log) == (2, [])
    assert NO_HOME in done.err
    assert "set HOME or DOCKER_CONFIG, or give --authfile FILE" in done.err
    assert list(checkout.iterdir()) == []


def test_a_folder_or_file_that_is_named_keeps_it(checkout: Path, tmp_path: Path) -> None:
    authfile = tmp_path / "auth.json"
    with registry() as server:
        done = login(checkout, server, "--authfile", authfile)
        assert (done.code, done.err) == (0, f"kept in {authfile}, unencrypted\n")
        done = login(checkout, server, DOCKER_CONFIG=str(tmp_path / "docker"))
        assert done.code == 0, done.err
        assert entry("ann", "s3cret")["auth"] in (tmp_path / "docker/config.json").read_text()
    assert list(checkout.iterdir()) == []


@pytest.mark.parametrize("data", [{}, {"XDG_DATA_HOME": "data"}], ids=str)
def test_no_store_is_made_in_the_working_folder(checkout: Path, data: dict[str, Any]) -> None:
    for words in (("images",), ("pull", "127.0.0.1:1/a"), ("load", ARCHIVE), ("gc", "--dry-run")):
        done = run(checkout, *words, **data)
        assert (done.code, NO_HOME in done.err) == (2, True), (words, done.err)
        assert "--store" in done.err
    assert list(checkout.iterdir()) == []


def test_what_needs_no_home_works_without_one(checkout: Path, tmp_path: Path) -> None:
    with EmulatedRegistry() as server:
        name = f"{server.host}/a/b:1"
        copy = tmp_path / "copy.tar"
        for words in (
            ("push", f"docker-archive:{ARCHIVE}:docker.io/fmt/app:1.0", name),
            ("registry", "tags", f"{server.host}/a/b"),
            ("inspect", f"docker://{name}"),
            ("copy", f"docker://{name}", f"oci-archive:{copy}"),
            ("--store", tmp_path / "store", "pull", name),
        ):
            done = run(checkout, *words)
            assert done.code == 0, (words, done.err)
    assert list(checkout.iterdir()) == []


def test_info_says_that_there_is_none(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout, "info", "one.example")
    assert (done.code, done.err) == (0, "")
    store = next(line for line in done.out.splitlines() if line.startswith("store "))
    assert store.split(maxsplit=1)[1] == (
        "none: there is no home folder for the store (set HOME, or name a folder with --store)"
    )
    value = run(checkout, "info", "--json").json
    assert isinstance(value, dict)
    assert value["store"] == {
        "path": None,
        "exists": False,
        "images": None,
        "stored": None,
        "free": None,
        "problem": "there is no home folder for the store",
    }
    named = run(checkout, "info", "--store", str(tmp_path / "store"))
    assert (named.code, f"{tmp_path}/store" in named.out) == (0, True)
    assert list(checkout.iterdir()) == []


def test_an_engine_is_looked_for_without_a_home(checkout: Path) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"DOCKER_CONTEXT": "far"}, "set HOME or DOCKER_CONFIG"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1"}, "DOCKER_CERT_PATH"),
    )
    for variables, said in cases:
        done = run(checkout, "inspect", "docker-daemon:app", **variables)
        assert (done.code, NO_HOME in done.err, said in done.err) == (2, True, True), done.err
    done = run(checkout, "inspect", "docker-daemon:app", DOCKER_HOST=f"unix://{checkout}/none")
    assert (done.code, list(checkout.iterdir())) == (8, []), done.err
