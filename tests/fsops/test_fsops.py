"""Changes to the disk: whole or not at all, never through a link, never blocked."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import (
    IntegrityError,
    NoSpace,
    NotFound,
    OcitoolError,
    StorageError,
    UsageError,
)
from ocitool.fsops import (
    Directory,
    OutputFile,
    TemporaryFile,
    append_to_file,
    read_up_to,
    remove_output,
    replace_file,
    scratch_file,
    translate,
    translated,
    tree_size,
    tree_usage,
    write_all,
    write_outputs,
)
from tests.support.disk import open_descriptors, small_disk, time_limit, traced


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Directory]:
    (tmp_path / "work").mkdir()
    with Directory.open(str(tmp_path / "work")) as directory:
        yield directory


def path_of(folder: Directory) -> Path:
    return Path(folder.path)


def read(folder: Directory, name: str) -> bytes:
    return folder.read_file(name, 1000)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestDirectories:
    def test_opening_a_folder_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="does not exist"):
            Directory.open(str(tmp_path / "none"))

    def test_opening_a_file_as_a_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match="it is a file"):
            Directory.open(str(tmp_path / "file"))

    def test_links_in_the_path_of_the_user_count(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "f").write_bytes(b"x")
        (tmp_path / "link").symlink_to("real")
        with Directory.open(str(tmp_path / "link")) as folder:
            assert read(folder, "f") == b"x"

    def test_create_makes_the_parents_too(self, tmp_path: Path) -> None:
        Directory.create(str(tmp_path / "a" / "b" / "c")).close()
        assert (tmp_path / "a" / "b" / "c").is_dir()

    def test_create_gives_the_mode_to_the_last_folder_alone(self, tmp_path: Path) -> None:
        Directory.create(str(tmp_path / "a" / "b"), 0o700).close()
        assert mode_of(tmp_path / "a" / "b") == 0o700
        assert mode_of(tmp_path / "a") != 0o700

    def test_create_opens_what_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"x")
        with Directory.create(str(tmp_path)) as folder:
            assert read(folder, "f") == b"x"

    def test_create_over_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match="it is a file"):
            Directory.create(str(tmp_path / "file"))

    def test_a_new_folder_is_durable_in_its_parent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with traced(monkeypatch) as trace:
            Directory.create(str(tmp_path / "a" / "b")).close()
        assert {f"fsync {tmp_path}", f"fsync {tmp_path}/a"} <= set(trace.calls)

    def test_a_new_subdirectory_is_durable_in_its_parent(
        self, folder: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with traced(monkeypatch) as trace:
            folder.subdirectory("a", create=True).close()
        assert trace.calls == [f"fsync {folder.path}"]

    def test_many_threads_can_make_one_folder_at_once(self, tmp_path: Path) -> None:
        failures: list[BaseException] = []
        gate = threading.Barrier(16)

        def make() -> None:
            gate.wait()
            try:
                Directory.create(str(tmp_path / "a" / "b")).close()
            except OcitoolError as error:
                failures.append(error)

        threads = [threading.Thread(target=make) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_close_can_be_repeated(self, folder: Directory) -> None:
        folder.close()
        folder.close()

    def test_a_subdirectory_that_is_not_there_is_not_found(self, folder: Directory) -> None:
        with pytest.raises(NotFound):
            folder.subdirectory("a")

    def test_a_linked_subdirectory_is_not_followed(self, folder: Directory, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (path_of(folder) / "a").symlink_to(tmp_path / "elsewhere")
        for create in (False, True):
            with pytest.raises(IntegrityError):
                folder.subdirectory("a", create=create)

    def test_a_dangling_link_in_place_of_a_subdirectory_makes_nothing(
        self, folder: Directory, tmp_path: Path
    ) -> None:
        (path_of(folder) / "a").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(IntegrityError):
            folder.subdirectory("a", create=True)
        assert not (tmp_path / "elsewhere").exists()

    def test_names_are_sorted(self, folder: Directory) -> None:
        for name in ("b", "a", "c"):
            (path_of(folder) / name).write_bytes(b"")
        assert folder.names() == ["a", "b", "c"]


class TestReading:
    def test_a_file_that_is_not_there_is_not_found(self, folder: Directory) -> None:
        with pytest.raises(NotFound, match="does not exist"):
            folder.open_file("none")

    def test_a_regular_file_comes_with_its_size(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"12345")
        descriptor, size = folder.open_file("f")
        os.close(descriptor)
        assert size == 5

    def test_a_linked_file_is_not_followed(self, folder: Directory, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (path_of(folder) / "f").symlink_to(tmp_path / "secret")
        with pytest.raises(IntegrityError, match="symbolic link"):
            folder.open_file("f")

    def test_a_fifo_is_refused_without_waiting_for_a_writer(self, folder: Directory) -> None:
        os.mkfifo(path_of(folder) / "f")
        with (
            time_limit(5, "opening a FIFO"),
            pytest.raises(IntegrityError, match="not a regular file"),
        ):
            folder.open_file("f")

    def test_a_folder_is_no_file(self, folder: Directory) -> None:
        (path_of(folder) / "f").mkdir()
        with pytest.raises(IntegrityError):
            folder.open_file("f")

    def test_a_socket_is_no_file(self, folder: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder.path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("f")
            with pytest.raises(IntegrityError, match="not a regular file"):
                folder.open_file("f")

    def test_a_device_is_no_file(self) -> None:
        with (
            Directory.open("/dev") as folder,
            pytest.raises(IntegrityError, match="not a regular file"),
        ):
            folder.open_file("zero")

    @pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
    def test_nothing_stays_open_when_a_file_is_refused(self, folder: Directory, kind: str) -> None:
        path = path_of(folder) / "f"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/etc/passwd")
        before = open_descriptors()
        with pytest.raises(IntegrityError):
            folder.open_file("f")
        assert open_descriptors() == before

    def test_the_size_of_anything_but_a_file_is_unknown(self, folder: Directory) -> None:
        base = path_of(folder)
        (base / "file").write_bytes(b"123")
        (base / "link").symlink_to("file")
        (base / "folder").mkdir()
        os.mkfifo(base / "fifo")
        names = ("file", "link", "folder", "fifo", "none")
        assert [folder.size_of(name) for name in names] == [3, None, None, None, None]

    def test_a_file_of_exactly_the_limit_is_read(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"12345")
        assert folder.read_file("f", 5) == b"12345"

    def test_a_file_beyond_the_limit_is_refused(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"123456")
        with pytest.raises(IntegrityError, match="larger than 5 bytes"):
            folder.read_file("f", 5)

    def test_reading_stops_at_the_limit_and_not_before(self) -> None:
        reader, writer = os.pipe()
        try:
            for part in (b"ab", b"cd", b"ef"):
                os.write(writer, part)
            assert read_up_to(reader, 5) == b"abcde"
        finally:
            os.close(reader)
            os.close(writer)


class TestTemporaryFiles:
    def test_it_is_private_while_it_is_written(self, folder: Directory) -> None:
        temporary = TemporaryFile.create(folder, "x.")
        (name,) = folder.names()
        assert name.startswith("x.")
        assert mode_of(path_of(folder) / name) == 0o600
        temporary.discard()

    def test_names_are_fresh(self, folder: Directory) -> None:
        temporaries = [TemporaryFile.create(folder, "x.") for _ in range(50)]
        assert len(folder.names()) == 50
        for temporary in temporaries:
            temporary.discard()

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o027])
    def test_the_published_mode_respects_the_umask(self, tmp_path: Path, umask: int) -> None:
        script = (
            "from ocitool.fsops import Directory, replace_file\n"
            f"with Directory.open({str(tmp_path)!r}) as folder:\n"
            "    replace_file(folder, 'f', b'x', staging=folder)\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True, umask=umask)
        assert mode_of(tmp_path / "f") == 0o666 & ~umask

    def test_publishing_gives_the_name_and_takes_the_temporary_one(self, folder: Directory) -> None:
        temporary = TemporaryFile.create(folder, "x.")
        temporary.write(b"data")
        temporary.publish(folder, "f")
        assert folder.names() == ["f"]
        assert read(folder, "f") == b"data"

    def test_publishing_replaces_what_had_the_name(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"old")
        temporary = TemporaryFile.create(folder, "x.")
        temporary.write(b"new")
        temporary.publish(folder, "f")
        assert read(folder, "f") == b"new"

    def test_publishing_replaces_a_link_and_not_its_target(
        self, folder: Directory, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").write_bytes(b"outside")
        (path_of(folder) / "f").symlink_to(tmp_path / "outside")
        replace_file(folder, "f", b"new", staging=folder)
        assert read(folder, "f") == b"new"
        assert (tmp_path / "outside").read_bytes() == b"outside"

    def test_discarding_leaves_nothing(self, folder: Directory) -> None:
        temporary = TemporaryFile.create(folder, "x.")
        temporary.write(b"data")
        temporary.discard()
        temporary.discard()
        assert folder.names() == []

    def test_discarding_after_publishing_keeps_the_file(self, folder: Directory) -> None:
        temporary = TemporaryFile.create(folder, "x.")
        temporary.publish(folder, "f")
        temporary.discard()
        assert folder.names() == ["f"]

    def test_publishing_over_a_folder_fails_and_leaves_nothing(self, folder: Directory) -> None:
        (path_of(folder) / "f").mkdir()
        with pytest.raises(OcitoolError):
            replace_file(folder, "f", b"new", staging=folder)
        assert folder.names() == ["f"]

    def test_bytes_are_durable_before_the_name_and_the_name_before_replace_returns(
        self, folder: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with folder.subdirectory("tmp", create=True) as staging, traced(monkeypatch) as trace:
            replace_file(folder, "f", b"new", staging=staging)
        data, rename, name = trace.calls
        assert data.startswith(f"fsync {folder.path}/tmp/f.")
        assert rename.endswith(f" {folder.path}/f")
        assert name == f"fsync {folder.path}"

    def test_replace_is_atomic_for_readers(self, folder: Directory) -> None:
        values = {bytes([letter]) * 100_000 for letter in b"ab"}
        replace_file(folder, "f", b"a" * 100_000, staging=folder)
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(15):
                    for value in values:
                        replace_file(folder, "f", value, staging=folder)
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        while not done.is_set():
            seen.add(folder.read_file("f", 1_000_000))
        writer.join()
        assert seen <= values


class TestSmallChanges:
    def test_appending_makes_the_file_and_then_adds_to_it(self, folder: Directory) -> None:
        append_to_file(folder, "f", b"one\n")
        append_to_file(folder, "f", b"two\n")
        assert read(folder, "f") == b"one\ntwo\n"

    def test_appended_bytes_are_durable(
        self, folder: Directory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with traced(monkeypatch) as trace:
            append_to_file(folder, "f", b"one\n")
        assert f"fsync {folder.path}/f" in trace.calls

    def test_appending_through_a_link_is_refused(self, folder: Directory, tmp_path: Path) -> None:
        (tmp_path / "outside").write_bytes(b"outside")
        (path_of(folder) / "f").symlink_to(tmp_path / "outside")
        with pytest.raises(IntegrityError, match="symbolic link"):
            append_to_file(folder, "f", b"more")
        assert (tmp_path / "outside").read_bytes() == b"outside"

    def test_appending_to_a_fifo_does_not_wait_for_a_reader(self, folder: Directory) -> None:
        os.mkfifo(path_of(folder) / "f")
        with time_limit(5, "appending to a FIFO"), pytest.raises(OcitoolError):
            append_to_file(folder, "f", b"more")

    def test_appending_to_a_fifo_with_a_reader_is_refused(self, folder: Directory) -> None:
        os.mkfifo(path_of(folder) / "f")
        reader = os.open(path_of(folder) / "f", os.O_RDONLY | os.O_NONBLOCK)
        try:
            with pytest.raises(IntegrityError, match="not a regular file"):
                append_to_file(folder, "f", b"more")
        finally:
            os.close(reader)

    def test_touching_sets_the_time_to_now(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"")
        os.utime(path_of(folder) / "f", (0, 0))
        folder.touch("f")
        assert (path_of(folder) / "f").stat().st_mtime > 1_000_000_000

    def test_touching_a_link_leaves_its_target_alone(
        self, folder: Directory, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").write_bytes(b"")
        os.utime(tmp_path / "outside", (0, 0))
        (path_of(folder) / "f").symlink_to(tmp_path / "outside")
        folder.touch("f")
        assert (tmp_path / "outside").stat().st_mtime == 0

    def test_touching_what_is_not_there_does_nothing(self, folder: Directory) -> None:
        folder.touch("none")

    def test_removing_tells_the_bytes_that_gave_free(self, folder: Directory) -> None:
        (path_of(folder) / "f").write_bytes(b"12345")
        assert folder.remove("f") == 5
        assert folder.names() == []

    def test_removing_a_shared_file_frees_nothing(self, folder: Directory, tmp_path: Path) -> None:
        (path_of(folder) / "f").write_bytes(b"12345")
        os.link(path_of(folder) / "f", tmp_path / "other")
        assert folder.remove("f") == 0
        assert (tmp_path / "other").read_bytes() == b"12345"

    def test_removing_a_link_keeps_its_target(self, folder: Directory, tmp_path: Path) -> None:
        (tmp_path / "outside").write_bytes(b"outside")
        (path_of(folder) / "f").symlink_to(tmp_path / "outside")
        folder.remove("f")
        assert (tmp_path / "outside").exists()

    def test_removing_what_is_not_there_frees_nothing(self, folder: Directory) -> None:
        assert folder.remove("none") == 0


class TestFullDisks:
    def test_a_short_write_goes_on_where_it_stopped(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, True)
        received: list[bytes] = []

        def drain() -> None:
            while part := os.read(reader, 1000):
                received.append(part)

        thread = threading.Thread(target=drain)
        thread.start()
        data = os.urandom(300_000)
        write_all(writer, data)
        os.close(writer)
        thread.join()
        os.close(reader)
        assert b"".join(received) == data

    def test_a_write_beyond_the_end_of_a_disk_is_a_storage_error(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk") as disk, Directory.open(str(disk)) as folder:
            temporary = TemporaryFile.create(folder, "x.")
            with pytest.raises(StorageError, match="no space left"):
                temporary.write(b"x" * 100_000)
            temporary.discard()
            assert folder.names() == []

    def test_replacing_on_a_full_disk_keeps_the_old_file(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk") as disk, Directory.open(str(disk)) as folder:
            replace_file(folder, "f", b"old", staging=folder)
            with pytest.raises(StorageError, match="no space left"):
                replace_file(folder, "f", b"x" * 100_000, staging=folder)
            assert read(folder, "f") == b"old"
            assert folder.names() == ["f"]

    def test_a_full_device_is_a_storage_error(self) -> None:
        output = OutputFile("/dev/full")
        try:
            with pytest.raises(StorageError, match="no space left"):
                output.write(b"x" * 100)
        finally:
            output.close()


class TestTranslation:
    @pytest.mark.parametrize(
        ("number", "kind", "words"),
        [
            (errno.ENOENT, NotFound, "it does not exist"),
            (errno.ELOOP, IntegrityError, "symbolic link"),
            (errno.ENOTDIR, IntegrityError, "not a directory"),
            (errno.EISDIR, IntegrityError, "is a directory"),
            (errno.ENOSPC, NoSpace, "no space left"),
            (errno.EDQUOT, NoSpace, "quota"),
            (errno.EROFS, StorageError, "read-only"),
            (errno.EACCES, StorageError, "permission denied"),
            (errno.EPERM, StorageError, "not permitted"),
            (errno.EIO, StorageError, "I/O error"),
            (errno.EMFILE, StorageError, "too many open files"),
            (errno.ENFILE, StorageError, "too many open files"),
            (errno.EFBIG, StorageError, "too large"),
            (errno.EBADF, StorageError, os.strerror(errno.EBADF)),
        ],
    )
    def test_an_error_of_the_system_becomes_one_of_ours(
        self, number: int, kind: type[OcitoolError], words: str
    ) -> None:
        error = translate(OSError(number, os.strerror(number)), "read", "/a/b")
        assert type(error) is kind
        assert error.message.startswith("cannot read '/a/b': ")
        assert words in error.message

    @pytest.mark.parametrize(
        "number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EMFILE]
    )
    def test_a_failing_disk_comes_with_advice(self, number: int) -> None:
        assert translate(OSError(number, "x"), "write", "f").hint

    def test_the_cause_is_kept(self) -> None:
        cause = OSError(errno.EIO, "x")
        with pytest.raises(StorageError) as caught, translated("read", "f"):
            raise cause
        assert caught.value.__cause__ is cause

    def test_other_errors_pass(self) -> None:
        with pytest.raises(ValueError, match="mine"), translated("read", "f"):
            raise ValueError("mine")


class TestOutputFiles:
    def test_the_file_is_absent_until_it_is_published(self, tmp_path: Path) -> None:
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"data")
        assert not (tmp_path / "out").exists()
        output.publish()
        assert (tmp_path / "out").read_bytes() == b"data"
        output.close()

    def test_nothing_is_left_when_it_is_not_published(self, tmp_path: Path) -> None:
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"data")
        output.close()
        output.close()
        assert list(tmp_path.iterdir()) == []

    def test_only_the_file_is_left_when_it_is_published(self, tmp_path: Path) -> None:
        output = OutputFile(str(tmp_path / "out"))
        output.publish()
        output.close()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_killed_process_leaves_nothing(self, tmp_path: Path) -> None:
        script = (
            "import os, signal\n"
            "from ocitool.fsops import OutputFile\n"
            f"output = OutputFile({str(tmp_path / 'out')!r})\n"
            "output.write(b'data')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], check=False)
        assert done.returncode == -9
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_stays_untouched_without_publishing(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"old")
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"new")
        output.close()
        assert (tmp_path / "out").read_bytes() == b"old"

    def test_publishing_replaces_what_was_there(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"old and longer")
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"new")
        output.publish()
        output.close()
        assert (tmp_path / "out").read_bytes() == b"new"

    def test_the_target_of_a_link_is_replaced_and_the_link_stays(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "real").write_bytes(b"old")
        (tmp_path / "out").symlink_to("there/real")
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"new")
        output.publish()
        output.close()
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "there" / "real").read_bytes() == b"new"

    def test_the_target_of_a_dangling_link_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "out").symlink_to("real")
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"new")
        output.publish()
        output.close()
        assert (tmp_path / "real").read_bytes() == b"new"

    @pytest.mark.parametrize("name", ["x" * 255, "я" * 127])
    def test_the_longest_name_there_can_be_is_written(self, tmp_path: Path, name: str) -> None:
        output = OutputFile(str(tmp_path / name))
        output.publish()
        output.close()
        assert (tmp_path / name).exists()

    def test_the_mode_respects_the_umask(self, tmp_path: Path) -> None:
        script = (
            "from ocitool.fsops import OutputFile\n"
            f"output = OutputFile({str(tmp_path / 'out')!r})\n"
            "output.publish()\n"
            "output.close()\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True, umask=0o027)
        assert mode_of(tmp_path / "out") == 0o640

    def test_bytes_are_durable_before_the_name_and_the_name_before_publish_returns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"data")
        with traced(monkeypatch) as trace:
            output.publish()
        output.close()
        data, rename, name = trace.calls
        assert data.startswith(f"fsync {tmp_path}/")
        assert rename.endswith(f" {tmp_path}/out")
        assert name == f"fsync {tmp_path}"

    def test_a_folder_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            OutputFile(str(tmp_path / "none" / "out"))

    def test_a_folder_in_place_of_the_file_is_refused(self, tmp_path: Path) -> None:
        before = open_descriptors()
        with pytest.raises(UsageError, match="is a folder"):
            OutputFile(str(tmp_path))
        assert open_descriptors() == before

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk") as disk:
            (disk / "out").write_bytes(b"old")
            output = OutputFile(str(disk / "out"))
            with pytest.raises(StorageError, match="no space left"):
                output.write(b"x" * 100_000)
            output.close()
            assert [path.name for path in disk.iterdir()] == ["out"]
            assert (disk / "out").read_bytes() == b"old"

    def test_a20_of_several_files_none_changes_when_the_disk_is_full(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk") as disk:
            (disk / "a").write_bytes(b"old")
            (disk / "b").write_bytes(b"old")
            files = {str(disk / "a"): b"new", str(disk / "b"): b"x" * 100_000}
            with pytest.raises(StorageError, match="no space left"):
                write_outputs(files)
            assert {path.name: path.read_bytes() for path in disk.iterdir()} == {
                "a": b"old",
                "b": b"old",
            }
            write_outputs(dict.fromkeys(files, b"new"))
            assert [path.read_bytes() for path in disk.iterdir()] == [b"new", b"new"]

    def test_a_fifo_is_written_as_it_is(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "out")
        received: list[bytes] = []
        reader = threading.Thread(
            target=lambda: received.append((tmp_path / "out").read_bytes()), daemon=True
        )
        reader.start()
        output = OutputFile(str(tmp_path / "out"))
        output.write(b"data")
        output.publish()
        output.close()
        reader.join(5)
        assert received == [b"data"]
        assert stat.S_ISFIFO((tmp_path / "out").stat().st_mode)

    def test_standard_output_that_is_a_pipe_is_written_as_it_is(self) -> None:
        script = (
            "from ocitool.fsops import OutputFile\n"
            "output = OutputFile('/dev/stdout')\n"
            "output.write(b'data')\n"
            "output.publish()\n"
            "output.close()\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"data", b"")

    def test_a_device_is_written_and_not_replaced(self) -> None:
        output = OutputFile("/dev/null")
        output.write(b"data")
        output.publish()
        output.close()
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


class TestScratchFiles:
    def test_it_has_no_name(self, tmp_path: Path) -> None:
        descriptor = scratch_file(str(tmp_path))
        try:
            write_all(descriptor, b"data")
            assert list(tmp_path.iterdir()) == []
            assert os.pread(descriptor, 10, 0) == b"data"
        finally:
            os.close(descriptor)

    def test_it_is_private(self, tmp_path: Path) -> None:
        descriptor = scratch_file(str(tmp_path))
        try:
            assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
        finally:
            os.close(descriptor)

    def test_without_a_folder_a_usual_one_is_taken(self) -> None:
        descriptor = scratch_file(None)
        os.close(descriptor)

    def test_a_folder_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            scratch_file(str(tmp_path / "none"))

    def test_a_file_in_place_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OcitoolError):
            scratch_file(str(tmp_path / "file"))


def test_what_vanishes_while_a_tree_is_measured_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_bytes(b"123")
    (tmp_path / "tree" / "gone").write_bytes(b"12345")
    real = os.scandir

    @contextlib.contextmanager
    def scandir(path: int) -> Iterator[list[os.DirEntry[str]]]:
        with real(path) as entries:
            found = list(entries)
        (tmp_path / "tree" / "gone").unlink(missing_ok=True)
        if (tmp_path / "tree" / "b").exists():
            (tmp_path / "tree" / "b").rename(tmp_path / "elsewhere")
        yield found

    monkeypatch.setattr(os, "scandir", scandir)
    with Directory.open(str(tmp_path)) as folder:
        assert tree_size(folder, "tree") == 3


def test_the_usage_of_a_tree_counts_blocks_and_each_file_once(tmp_path: Path) -> None:
    folder = tmp_path / "tree" / "inner"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 5000)
    os.link(folder / "a", folder / "b")
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 30)
    with Directory.open(str(tmp_path)) as opened:
        assert tree_usage(opened, "tree") == (folder / "a").stat().st_blocks * 512
        assert tree_size(opened, "tree") == 2 * 5000 + (1 << 30)


class TestRemoveOutput:
    def test_a_file_and_what_a_link_leads_to_go_and_nothing_else(self, tmp_path: Path) -> None:
        file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
        file.write_text("old")
        link.symlink_to(file)
        os.mkfifo(pipe)
        assert remove_output(str(link))
        assert (file.exists(), link.is_symlink()) == (False, True)
        for other in (pipe, tmp_path, tmp_path / "none"):
            assert not remove_output(str(other))
        assert pipe.exists()

    def test_what_stdout_leads_to_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "out"
        with file.open("wb") as stdout:
            assert not remove_output(f"/proc/self/fd/{stdout.fileno()}")
            assert not remove_output(f"/dev/fd/{stdout.fileno()}")
        assert file.exists()
