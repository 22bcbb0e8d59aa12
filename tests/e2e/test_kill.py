"""kill -9 at any moment: old images intact, no repair step, and the same command then works."""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.support.commands import ROOT, command, run, started
from tests.support.images import build_image, docker_archive
from tests.support.layouts import image, names_of, temporaries
from tests.support.stores import assert_whole, checked, load_archive, written

KILLS = 15
OLD = "docker.io/library/old:1"
NEW = "docker.io/library/new:1"

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
# Some of these moments, for more commands, are in tests/faults: test_random_kills,
# test_every_change and test_syscall_sweep. Here it is each one, of processes from their start.
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an archive of the old image, and one of a new image that takes a while to load."""
    folder = tmp_path_factory.mktemp("archives")
    chance = random.Random(0)
    layers = [{f"f{n}": chance.randbytes(2 << 20)} for n in range(3)]
    written(folder / "small.tar", docker_archive({"new:1": image("new")}))
    return (
        written(folder / "old.tar", docker_archive({"old:1": image("old")})),
        written(folder / "new.tar", docker_archive({"new:1": build_image(layers)})),
    )


def names_in(store: Path) -> dict[str, str]:
    with Layout.existing(str(store)) as layout:
        return names_of(layout)


def assert_old_or_new(store: Path, old: dict[str, str]) -> None:
    """Fail unless the store is sound, with its old names and at most the new one beside them."""
    json.loads((store / "index.json").read_bytes())
    report = checked(store)
    assert report.problems == ()
    names = names_in(store)
    names.pop(NEW, None)
    assert names == old


def test_a_load_that_is_killed_at_a_random_moment_harms_nothing(
    tmp_path: Path, archives: tuple[Path, Path]
) -> None:
    old_archive, new_archive = archives
    chance = random.Random(20260301)
    begun = time.monotonic()
    run(tmp_path / "timing", "load", str(new_archive))
    duration = time.monotonic() - begun
    kills = 0
    for number in range(KILLS * 4):
        store = tmp_path / f"store-{number}"
        load_archive(old_archive, store)
        old = names_in(store)
        process = started(store, "load", str(new_archive))
        time.sleep(chance.uniform(duration / 4, duration))
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            duration *= 0.8  # It was done before; aim at an earlier moment.
            continue
        kills += 1
        assert_old_or_new(store, old)
        run(store, "load", str(new_archive))
        assert set(names_in(store)) == {OLD, NEW}
        assert temporaries(store) == [], "what the dead left is cleared by the next write"
        assert checked(store).problems == ()
        shutil.rmtree(store)
        if kills == KILLS:
            return
    raise AssertionError("the moments were not within the run")


@needs_strace
@pytest.mark.parametrize("call", ["renameat", "fsync", "unlinkat"])
def test_a_load_that_is_killed_at_any_call_that_changes_names_harms_nothing(
    tmp_path: Path, archives: tuple[Path, Path], call: str
) -> None:
    for turn in range(1, 40):
        store = tmp_path / f"store-{turn}"
        load_archive(archives[0], store)
        old = names_in(store)
        if not killed_at(store, archives[0].with_name("small.tar"), call, turn):
            assert turn > 1, f"a load makes no call of {call}"
            return
        assert_old_or_new(store, old)
        run(store, "load", str(archives[0].with_name("small.tar")))
        assert set(names_in(store)) == {OLD, NEW}
        assert temporaries(store) == []
        assert checked(store).problems == ()
    raise AssertionError("there was no end")


@needs_strace
@pytest.mark.parametrize("call", ["mkdir", "mkdirat", "renameat"])
def test_a_first_load_that_is_killed_leaves_a_folder_in_which_the_next_one_works(
    tmp_path: Path, archives: tuple[Path, Path], call: str
) -> None:
    for turn in range(1, 40):
        store = tmp_path / "parent" / f"store-{turn}"
        if not killed_at(store, archives[0], call, turn):
            assert turn > 1, f"a first load makes no call of {call}"
            return
        run(store, "load", str(archives[0]))
        assert_whole(store)
        assert temporaries(store) == []
    raise AssertionError("there was no end")


@needs_strace
@pytest.mark.parametrize("call", ["renameat", "fsync"])
def test_a_removal_that_is_killed_at_any_call_leaves_no_name_without_its_image(
    tmp_path: Path, archives: tuple[Path, Path], call: str
) -> None:
    for turn in range(1, 40):
        store = tmp_path / f"store-{turn}"
        load_archive(archives[0], store)
        load_archive(archives[0].with_name("small.tar"), store)
        if not killed_at(store, "new:1", call, turn, verb="rm"):
            assert turn > 1, f"a removal makes no call of {call}"
            return
        assert set(names_in(store)) in ({OLD}, {OLD, NEW})
        assert checked(store).problems == ()
    raise AssertionError("there was no end")


def killed_at(
    store: Path, argument: Path | str, call: str, turn: int, *, verb: str = "load"
) -> bool:
    """Run a command under strace, which kills it before its `turn`th call of that name."""
    log = store.parent.with_name("strace.log")
    inject = [
        *("strace", "-f", "-qq", "-o", str(log)),
        *("-e", f"trace=?{call}"),
        *("-e", f"inject=?{call}:signal=SIGKILL:when={turn}"),
    ]
    words = [*inject, *command(store, verb, str(argument))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if "not permitted" in done.stderr:
        pytest.skip("tracing is not permitted here")
    killed = "killed by SIGKILL" in log.read_text()
    assert killed or done.returncode == 0, done.stderr
    return killed
