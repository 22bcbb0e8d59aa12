"""A store that a group shares: no user's files block another one's, whatever the umask is."""

import codecs
import datetime as dt
import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.fsops import descriptors
from ocitool.garbage import Choice, plan, purge, remove, sweep, undo
from ocitool.images.lookup import find_image
from ocitool.operations.pin import pin, unpin
from ocitool.operations.verify import verify
from ocitool.places.layout import Layout, Writing, untag
from tests.support.layouts import A, B, bring, image, store
from tests.support.stores import assert_whole

USERS, GROUP = (41001, 41002), 41000
IMAGE, OTHER = image("a"), image("b")


def collect(layout: Layout) -> None:
    found = plan(layout, Choice(everything=True, grace=0.0), now=time.time())
    sweep(layout, found, now=time.time())


def receive(layout: Layout) -> None:
    """Leave a part of a blob, or go on with it."""
    with Writing(layout, keep=True) as writing:
        part = writing.ingest(OTHER.layers[0])
        assert part is not None
        start, end = part.missing()[0]
        part.write(start, OTHER.blobs[OTHER.layers[0].digest][start : (start + end + 1) // 2])
        part.close()


STEPS: tuple[Callable[[Layout], object], ...] = (
    lambda layout: bring(layout, IMAGE, A, B),
    lambda layout: pin(layout, [find_image(layout, "a:1").root], now=dt.datetime.now(dt.UTC)),
    lambda layout: unpin(layout, [IMAGE.descriptor.digest]),
    receive,
    receive,
    lambda layout: untag(layout, [A]),
    collect,
    undo,
    lambda layout: bring(layout, OTHER, A),
    lambda layout: remove(layout, [find_image(layout, "a:1")]),
    purge,
    lambda layout: bring(layout, IMAGE, A),
    lambda layout: layout.cache("x").update({"a": 1}),
    lambda layout: layout.cache("x").update({"b": 1}),
    verify,
)


def run(user: int | None, path: Path, step: Callable[[Layout], object]) -> None:
    """Do something to a store in a process with the umask 077.

    A `user` has a group of its own and is a member of the one that shares.
    """
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                os.setgroups([GROUP])
                os.setgid(user)
                os.setuid(user)
            os.umask(0o077)
            descriptors._cached_umask = None
            with Layout.create(str(path), store=True) as layout:
                step(layout)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def not_shared(folder: Path) -> list[str]:
    """Return what of a store its group may use less than its owner."""
    found = []
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if (mode & 0o700) >> 3 != mode & 0o070 or path.stat().st_gid != folder.stat().st_gid:
            found.append(f"{path.relative_to(folder)} {mode:o}")
    return found


def play(folder: Path, who: Callable[[int], int | None]) -> None:
    for number, step in enumerate(STEPS):
        run(who(number), folder, step)
        assert not_shared(folder) == []
    assert_whole(folder)


def test_what_is_made_in_a_shared_store_follows_its_group_bits(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o770)
    play(tmp_path / "store", lambda _: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize(("first", "mode"), [(0, 0o770), (1, 0o2770)])
def test_two_users_of_a_group_take_turns(tmp_path: Path, first: int, mode: int) -> None:
    # Other users may not be able to read Python's own modules: here all that is needed is loaded.
    codecs.lookup("ascii")
    with Layout.create(str(tmp_path / "first"), store=True) as layout:
        for step in STEPS:
            step(layout)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "store"
        folder.mkdir()
        os.chown(folder, -1, GROUP)
        folder.chmod(mode)
        play(folder, lambda number: USERS[(number + first) % 2])


def test_a_new_store_is_private_and_so_is_what_is_in_it(tmp_path: Path) -> None:
    with store(tmp_path / "store", a=IMAGE) as layout:
        assert not layout.folder.shared
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert (tmp_path / "store" / ".ocitool" / "lock").stat().st_mode & 0o020 == 0
