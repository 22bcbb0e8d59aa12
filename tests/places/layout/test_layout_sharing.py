"""A store that a group shares: no user's files block another one's, whatever the umask is."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.support.command import ROOT, environment
from tests.support.images import docker_archive
from tests.support.layouts import image, store
from tests.support.stores import assert_whole

USERS, GROUP = (41001, 41002), 41000


def run(user: int | None, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ocitool with the umask 077, as a user whose own group is not the one that shares."""
    who: dict[str, object] = {}
    if user is not None:
        who = {"user": user, "group": user, "extra_groups": [GROUP]}
    return subprocess.run(
        [sys.executable, "-m", "ocitool", "--store", str(folder), *words],
        cwd=ROOT,
        env=environment(folder.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=0o077,
        **who,  # type: ignore[call-overload]
    )


def not_shared(folder: Path) -> list[str]:
    """Return what of a store its group may use less than its owner."""
    found = []
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if (mode & 0o700) >> 3 != mode & 0o070 or path.stat().st_gid != folder.stat().st_gid:
            found.append(f"{path.relative_to(folder)} {mode:o}")
    return found


STEPS: tuple[tuple[str, ...], ...] = (
    ("load", "IN/a.tar"),
    ("tag", "a:1", "b:1"),
    ("load", "IN/moved.tar"),
    ("pin", "b:1"),
    ("gc", "-f", "--containers", "none"),
    ("unpin", "b:1"),
    ("rm", "b:1"),
    ("gc", "-a", "-f", "--containers", "none"),
    ("gc", "--undo"),
    ("load", "IN/a.tar"),
    ("gc", "--purge", "-f"),
    ("verify",),
)


def play(folder: Path, who: Callable[[int], int | None]) -> None:
    folder.mkdir()
    (folder.parent / "a.tar").write_bytes(docker_archive({"a:1": image("a")}))
    (folder.parent / "moved.tar").write_bytes(docker_archive({"a:1": image("b")}))
    folder.chmod(0o2770)
    for number, step in enumerate(STEPS):
        words = [word.replace("IN", str(folder.parent)) for word in step]
        done = run(who(number), folder, *words)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    assert_whole(folder)
    assert not_shared(folder) == []


def test_what_is_made_in_a_shared_store_follows_its_group_bits(tmp_path: Path) -> None:
    play(tmp_path / "store", lambda _: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("first", [0, 1])
def test_two_users_of_a_group_take_turns(first: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, -1, GROUP)
        folder.chmod(0o2775)
        if run(USERS[0], folder / "store", "--version").returncode != 0:
            pytest.skip("other users cannot start this Python")
        play(folder / "store", lambda number: USERS[(number + first) % 2])


def test_a_new_store_is_private_and_so_is_what_is_in_it(tmp_path: Path) -> None:
    with store(tmp_path / "store", a=image("a")):
        pass
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert run(None, tmp_path / "store", "tag", "a:1", "b:1").returncode == 0
    assert (tmp_path / "store" / ".ocitool" / "lock").stat().st_mode & 0o020 == 0
    with Layout.existing(str(tmp_path / "store")) as layout:
        assert not layout.folder.shared
