"""The cache of tables behind the commands: it is used, and nothing in it changes what they say."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.image.content import Root
from ocitool.inside.duplicates import hash_doubtful
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import look_inside
from ocitool.inside.sizing import SizeReport, measure
from ocitool.inside.toc_cache import TocCache
from ocitool.inside.toc_format import pack, unpack
from tests.support.command import Command, environment
from tests.support.disk import read_only, small_disk
from tests.support.faulty import flips, truncations
from tests.support.images import oci_archive
from tests.support.small_images import NAME, file, gone, small_image, write_image
from tests.support.sources import MemorySource

LOWER = [*(file(f"d/{number}", 1000 + number) for number in range(30)), file("same", 500, "x")]
IMAGE = small_image(LOWER, [file("d/1", 1001), gone("d/2"), file("too", 500, "x")], codec="gzip")


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    # Where `Command` has the cache of its user.
    return tmp_path / ".cache"


@pytest.fixture
def command(tmp_path: Path, caches: Path) -> Command:
    (tmp_path / "image.tar").write_bytes(oci_archive({NAME: IMAGE}))
    return Command(tmp_path / "store", tmp_path)


def told(command: Command, *arguments: str) -> object:
    done = command("size", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return done.json


class TestPlaces:
    def test_tables_of_images_of_the_store_are_kept_in_it(
        self, command: Command, caches: Path
    ) -> None:
        assert command("load", "image.tar").code == 0
        first = told(command, "small:1")
        kept = sorted((command.store / ".ocitool" / "cache" / "toc").iterdir())
        assert [path.name for path in kept] == sorted(
            f"sha256-{layer.digest.hex}.v1" for layer in IMAGE.layers
        )
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
        assert not caches.exists()
        # What is not there cannot be read again.
        for layer in IMAGE.layers:
            (command.store / "blobs" / "sha256" / layer.digest.hex).write_bytes(b"")
        assert told(command, "small:1") == first

    def test_those_of_others_are_kept_for_the_user(self, command: Command, caches: Path) -> None:
        told(command, "./image.tar")
        assert len(list((caches / "ocitool" / "toc").iterdir())) == 2
        assert not command.store.exists()

    def test_without_a_cache_nothing_is_kept(self, command: Command, caches: Path) -> None:
        told(command, "./image.tar", "--no-cache")
        assert not caches.exists()

    def test_a_path_that_is_not_absolute_is_no_place(self, command: Command) -> None:
        before = sorted(os.listdir(command.cwd))
        variables = {"XDG_CACHE_HOME": "caches-here", "HOME": str(command.cwd / "home")}
        assert command("size", "./image.tar", variables=variables).code == 0
        assert sorted(os.listdir(command.cwd)) == sorted([*before, "home"])

    @pytest.mark.parametrize("words", [["inspect", "./image.tar"], ["files", "ls", "./image.tar"]])
    def test_every_command_that_looks_inside_keeps_what_it_read(
        self, words: list[str], command: Command, caches: Path
    ) -> None:
        assert command(*words).code == 0
        assert len(list((caches / "ocitool" / "toc").iterdir())) == 2

    def test_what_a_layout_from_elsewhere_brings_is_not_believed(
        self, command: Command, tmp_path: Path, caches: Path
    ) -> None:
        honest = told(command, "./image.tar", "--no-cache")
        layout = write_image(tmp_path, IMAGE)
        forged = TocCache(str(layout / ".ocitool" / "cache" / "toc"))
        inside = look_inside(MemorySource(IMAGE), Root(descriptor=IMAGE.descriptor))
        for layer in inside.layers:
            assert layer.table is not None
            layer.table.sizes[0] = 1
            forged.put(inside.source, layer.descriptor, layer.table)
        assert len(list((layout / ".ocitool" / "cache" / "toc").iterdir())) == 2
        assert told(command, f"oci:{layout}") == honest


class TestChanges:
    def test_an_archive_of_plain_layers_that_changed_is_read_again(
        self, command: Command, tmp_path: Path
    ) -> None:
        for size in (1000, 2000, 1000):
            image = small_image([file("a", size)])
            (tmp_path / "plain.tar").write_bytes(oci_archive({NAME: image}))
            assert told(command, "./plain.tar")["file_bytes"] == size  # type: ignore[index]

    def test_of_another_image_only_the_layers_that_are_new_are_read(
        self, command: Command, tmp_path: Path, caches: Path
    ) -> None:
        told(command, "./image.tar")
        before = {path.name for path in (caches / "ocitool" / "toc").iterdir()}
        taller = small_image(LOWER, [file("top", 1)], codec="gzip")
        (tmp_path / "image.tar").write_bytes(oci_archive({NAME: taller}))
        told(command, "./image.tar")
        after = {path.name for path in (caches / "ocitool" / "toc").iterdir()}
        assert after - before == {f"sha256-{taller.layers[1].digest.hex}.v1"}


def report(cache: TocCache | None) -> SizeReport:
    inside = look_inside(
        MemorySource(IMAGE),
        Root(descriptor=IMAGE.descriptor),
        hashes=Hashes.DOUBTFUL,
        cache=cache,
    )
    hash_doubtful(inside)
    return measure(inside)


SPOILT: dict[str, Callable[[bytes], list[bytes]]] = {
    "cut": lambda data: list(truncations(data, percent=2)),
    "flipped": lambda data: list(flips(data, percent=2)),
}


class TestFaults:
    @pytest.mark.parametrize("how", SPOILT)
    def test_a_spoilt_file_changes_no_number(self, how: str, tmp_path: Path) -> None:
        honest = report(None)
        cache = TocCache(str(tmp_path / "toc"))
        assert report(cache) == honest
        for path in sorted((tmp_path / "toc").iterdir()):
            whole = path.read_bytes()
            for data in SPOILT[how](whole):
                path.write_bytes(data)
                assert report(cache) == honest
                # It was read again, and is whole again.
                assert path.read_bytes() == whole

    def test_neither_does_another_layers_file_or_none(self, tmp_path: Path) -> None:
        honest = report(None)
        cache = TocCache(str(tmp_path / "toc"))
        report(cache)
        one, other = sorted((tmp_path / "toc").iterdir())
        one.write_bytes(other.read_bytes())
        assert report(cache) == honest
        one.unlink()
        assert report(cache) == honest

    def test_nor_another_version(self, tmp_path: Path) -> None:
        honest = report(None)
        cache = TocCache(str(tmp_path / "toc"))
        report(cache)
        for path in (tmp_path / "toc").iterdir():
            data = path.read_bytes()
            assert unpack(data, f"sha256:{path.name[7:-3]}", Hashes.NONE) is not None
            path.write_bytes(data[:7] + b"\2" + data[8:])
        assert report(cache) == honest

    def test_the_command_says_the_same_with_junk_in_every_file(
        self, command: Command, caches: Path
    ) -> None:
        honest = told(command, "./image.tar")
        for junk in (b"", b"junk", bytes(1000)):
            for path in (caches / "ocitool" / "toc").iterdir():
                path.write_bytes(junk)
            assert told(command, "./image.tar") == honest

    def test_a_cache_that_cannot_be_written_is_no_failure(
        self, command: Command, caches: Path
    ) -> None:
        caches.write_bytes(b"a file in its place")
        assert told(command, "./image.tar") == told(command, "./image.tar", "--no-cache")

    def test_a_full_disk_is_no_failure_and_nothing_is_left_on_it(
        self, command: Command, caches: Path
    ) -> None:
        honest = told(command, "./image.tar", "--no-cache")
        with small_disk(caches, "64k"):
            (caches / "ocitool" / "toc").mkdir(parents=True)
            with contextlib.suppress(OSError):
                (caches / "filler").write_bytes(bytes(64 << 10))
            assert told(command, "./image.tar") == honest
            assert list((caches / "ocitool" / "toc").iterdir()) == []

    def test_a_disk_that_is_read_only_is_no_failure(self, command: Command, caches: Path) -> None:
        honest = told(command, "./image.tar")
        with read_only(caches):
            assert told(command, "./image.tar") == honest
            for path in (caches / "ocitool" / "toc").iterdir():
                assert path.stat().st_size
        for path in (caches / "ocitool" / "toc").iterdir():
            path.write_bytes(b"junk")
        with read_only(caches):
            assert told(command, "./image.tar") == honest

    def test_two_commands_at_once_say_the_same(self, command: Command, caches: Path) -> None:
        honest = told(command, "./image.tar", "--no-cache")
        words = [sys.executable, "-m", "ocitool", "size", "./image.tar", "--json"]
        running = [
            subprocess.Popen(
                words,
                cwd=command.cwd,
                env=environment(command.store),
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        outputs = [process.communicate()[0] for process in running]
        assert [process.returncode for process in running] == [0, 0]
        assert outputs[0] == outputs[1]
        assert told(command, "./image.tar") == honest
        assert len(list((caches / "ocitool" / "toc").iterdir())) == 2


def test_a_packed_table_is_the_same_bytes_every_time() -> None:
    inside = look_inside(MemorySource(IMAGE), Root(descriptor=IMAGE.descriptor))
    tables = [layer.table for layer in inside.layers if layer.table is not None]
    assert [pack(table, "k") for table in tables] == [pack(table, "k") for table in tables]


def test_the_folder_of_a_user_may_be_a_link_and_that_of_a_store_may_not(
    command: Command, tmp_path: Path, caches: Path
) -> None:
    real, canary = tmp_path / "real", tmp_path / "canary"
    real.mkdir()
    canary.mkdir()
    caches.symlink_to(real)
    assert command("size", "./image.tar").code == 0
    assert (real / "ocitool" / "toc").is_dir()
    assert command("load", "./image.tar").code == 0
    shutil.rmtree(command.store / ".ocitool" / "cache", ignore_errors=True)
    (command.store / ".ocitool" / "cache").symlink_to(canary)
    assert command("size", NAME).code == 0
    assert list(canary.iterdir()) == []
