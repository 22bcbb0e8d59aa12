"""Several processes: one lock for moments, leases for as long as a command runs."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, Refused, StorageError
from ocitool.events import SILENT
from ocitool.fsops import Directory
from ocitool.places.layout import Layout, Writing, exclusive
from ocitool.places.layout.lease import Lease, claimed_digests
from ocitool.places.layout.lock import _acquire, locked
from tests.support.disk import open_descriptors
from tests.support.layouts import A, B, blobs_in, bring, image, paused, store, store_blobs

IMAGE = image("a")
OTHER = image("b")

HOLD = """
    import os, sys
    from ocitool.fsops import Directory
    from ocitool.places.layout.lock import locked
    with Directory.open(sys.argv[1]) as control, locked(control):
        pause()
"""
WRITE = """
    import sys
    from tests.support.layouts import image, store, store_blobs
    from ocitool.places.layout import Writing
    with store(__import__("pathlib").Path(sys.argv[1])) as layout, Writing(layout) as writing:
        store_blobs(writing, image("a"))
        half_written = writing.writer()
        half_written.write(b"half")
        pause()
"""


class TestTheLock:
    def test_a_lock_that_is_held_too_long_is_refused_and_names_its_holder(
        self, tmp_path: Path
    ) -> None:
        with paused(HOLD, str(tmp_path)) as holder, Directory.open(str(tmp_path)) as control:
            begun = time.monotonic()
            with (
                pytest.raises(Refused, match=rf"by process {holder.pid}\b") as caught,
                locked(control, timeout=0.3),
            ):
                raise AssertionError("the lock was taken twice")
            assert 0.3 <= time.monotonic() - begun < 5
            assert caught.value.hint

    def test_the_lock_is_free_when_its_holder_is_killed(self, tmp_path: Path) -> None:
        with paused(HOLD, str(tmp_path)) as holder, Directory.open(str(tmp_path)) as control:
            holder.kill()
            holder.wait()
            with locked(control, timeout=5):
                pass

    def test_who_waits_gets_the_lock_when_it_is_free(self, tmp_path: Path) -> None:
        with paused(HOLD, str(tmp_path)) as holder, Directory.open(str(tmp_path)) as control:
            assert holder.stdin is not None
            holder.stdin.close()
            holder.stdin = None
            with locked(control, timeout=10):
                pass

    def test_two_threads_of_one_process_exclude_each_other_too(self, tmp_path: Path) -> None:
        with (
            Directory.open(str(tmp_path)) as control,
            locked(control),
            pytest.raises(Refused, match=f"by process {os.getpid()}"),
            locked(control, timeout=0.05),
        ):
            raise AssertionError("the lock was taken twice")

    def test_the_lock_is_given_back_when_the_block_fails(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            before = open_descriptors()
            with pytest.raises(ZeroDivisionError), locked(control):
                raise ZeroDivisionError
            with locked(control, timeout=0.5):
                pass
            assert open_descriptors() == before

    def test_a_lock_that_the_system_cannot_give_is_a_storage_error(self) -> None:
        with pytest.raises(StorageError, match="cannot lock 'l'"):
            _acquire(99_999, "l", 1, SILENT)

    def test_a_linked_lock_file_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "control").mkdir()
        (tmp_path / "control" / "lock").symlink_to(tmp_path / "outside")
        with (
            Directory.open(str(tmp_path / "control")) as control,
            pytest.raises(IntegrityError, match="symbolic link"),
            locked(control),
        ):
            pass
        assert not (tmp_path / "outside").exists()

    def test_readers_do_not_wait_for_the_lock(self, tmp_path: Path) -> None:
        with (
            store(tmp_path, a=IMAGE) as layout,
            exclusive(layout),
            Layout.existing(str(tmp_path)) as reader,
        ):
            assert len(reader.roots()) == 1


class TestLeases:
    def test_a_lease_names_its_owner(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            lease = Lease.take(control)
            (path,) = (tmp_path / "leases").iterdir()
            assert json.loads(path.read_text().splitlines()[0])["pid"] == os.getpid()
            lease.release()

    def test_what_is_announced_is_claimed_until_the_block_ends(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            assert layout.control is not None
            with Writing(layout) as writing:
                writing.announce([IMAGE.descriptor, IMAGE.config])
                writing.announce([*IMAGE.layers])
                assert claimed_digests(layout.control) == set(IMAGE.blobs)
            assert claimed_digests(layout.control) == set()

    def test_a_blob_that_a_living_command_claims_is_not_deleted(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, paused(WRITE, str(tmp_path)):
            with exclusive(layout) as moment:
                assert moment.delete(IMAGE.blobs) == ([], 0)
            assert blobs_in(tmp_path) == {digest.hex for digest in IMAGE.blobs}

    def test_a_blob_that_a_dead_command_claimed_is_deleted(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, paused(WRITE, str(tmp_path)) as writer:
            writer.kill()
            writer.wait()
            with exclusive(layout) as moment:
                deleted, freed = moment.delete(IMAGE.blobs)
            assert set(deleted) == set(IMAGE.blobs)
            assert freed == sum(len(data) for data in IMAGE.blobs.values())
            assert blobs_in(tmp_path) == set()

    def test_the_next_writer_clears_what_a_dead_one_left(self, tmp_path: Path) -> None:
        control = tmp_path / ".ocitool"
        with store(tmp_path) as layout, paused(WRITE, str(tmp_path)) as writer:
            (dead,) = os.listdir(control / "leases")
            assert [name.partition(".")[0] for name in os.listdir(control / "tmp")] == [dead]
            writer.kill()
            writer.wait()
            bring(layout, OTHER, B)
        assert os.listdir(control / "leases") == []
        assert os.listdir(control / "tmp") == []

    def test_the_next_writer_leaves_the_living_alone(self, tmp_path: Path) -> None:
        control = tmp_path / ".ocitool"
        with store(tmp_path) as layout, paused(WRITE, str(tmp_path)):
            before = os.listdir(control / "leases") + os.listdir(control / "tmp")
            bring(layout, OTHER, B)
            assert os.listdir(control / "leases") + os.listdir(control / "tmp") == before
            assert len(before) == 2

    def test_temporary_files_without_a_lease_are_cleared(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            for name in ("index.json.0123", "feedc0de.0123", "other"):
                (tmp_path / ".ocitool" / "tmp" / name).write_bytes(b"left")
            bring(layout, IMAGE, A)
        assert os.listdir(tmp_path / ".ocitool" / "tmp") == []

    def test_a_fifo_among_the_leases_blocks_nobody(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A)
            os.mkfifo(tmp_path / ".ocitool" / "leases" / "fifo")
            bring(layout, OTHER, B)
            with exclusive(layout) as moment:
                assert moment.delete([]) == ([], 0)

    def test_a_child_process_does_not_keep_a_lease_alive(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            assert layout.control is not None
            with Writing(layout) as writing:
                store_blobs(writing, IMAGE)
                for name in os.listdir("/proc/self/fd"):
                    descriptor = int(name)
                    try:
                        path = os.readlink(f"/proc/self/fd/{name}")
                    except OSError:
                        continue
                    if "/.ocitool/" in path:
                        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC, path

    def test_releasing_can_be_repeated(self, tmp_path: Path) -> None:
        with Directory.open(str(tmp_path)) as control:
            lease = Lease.take(control)
            lease.release()
            lease.release()
            assert os.listdir(tmp_path / "leases") == []
