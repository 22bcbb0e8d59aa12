"""container cp: docker's rules for both sides, and that no path leads out of a container.

The outcomes of `TestDockersRules` were read from docker 20.10; owners follow its documentation.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers import copying
from ocitool.containers.copying import Copied, CopyOptions, copy_in, copy_out, tar_in, tar_out
from ocitool.containers.options import MountOptions
from ocitool.containers.records import Container
from ocitool.containers.sharing import can_share
from ocitool.errors import MalformedArchive, NotFound, OcitoolError, Refused, UsageError
from ocitool.fsops import Directory
from ocitool.places.layout import Layout
from tests.containers.kept import (
    app,
    container,
    listed,
    needs_root,
    tar_of,
    whiteout,
    written,
)
from tests.support.layouts import store
from tests.support.root_files import Node, layer_of

pytestmark = needs_root


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with store(tmp_path / "s", app=app()) as layout:
        yield layout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with `d`, which holds a file, a link and a folder, and a link to it."""
    folder = tmp_path / "here"
    (folder / "d/sub").mkdir(parents=True)
    (folder / "d/f").write_text("f")
    (folder / "d/f").chmod(0o4711)
    (folder / "d/sub/s").write_text("s")
    (folder / "d/l").symlink_to("f")
    (folder / "dl").symlink_to("d")
    monkeypatch.chdir(folder)
    return folder


class Sides:
    """A container and this machine, between which a test copies."""

    def __init__(self, layout: Layout, one: Container) -> None:
        self.layout = layout
        self.one = one

    def put(self, source: str, destination: str, **options: Any) -> Copied:
        wish = CopyOptions(**options)
        return copy_in(self.layout, self.one, source, destination, wish)

    def get(self, source: str, destination: str, **options: Any) -> Copied:
        wish = CopyOptions(**options)
        return copy_out(self.layout, self.one, source, destination, wish)

    def paths(self, start: str) -> list[str]:
        """Return what the container has at a path and below it."""
        found = listed(tar_of(self.layout, self.one))
        return [path for path in found if path.partition("/")[0].startswith(start)]


@pytest.fixture
def sides(layout: Layout, here: Path) -> Sides:
    assert here.exists()
    return Sides(layout, container(layout, alone=not can_share(layout.path, rootless=False)))


def below(name: str) -> list[str]:
    """Return what a copy of `d` has under a name."""
    return [name, f"{name}/f", f"{name}/l -> f", f"{name}/sub", f"{name}/sub/s"]


_SUB = ("old/sub", "old/sub/s")


class TestDockersRules:
    @pytest.mark.parametrize(
        ("source", "destination", "start", "expected"),
        [
            ("d", "/new", "new", below("new")),
            ("d/", "/new", "new", below("new")),
            ("d/.", "/new/", "new", below("new")),
            ("d", "new", "new", below("new")),
            ("d", "/old", "old", ["old", "old/1", *below("old/d"), "old/in", "old/in/2"]),
            (
                *("d/.", "/old", "old"),
                ["old", "old/1", "old/f", "old/in", "old/in/2", "old/l -> f", *_SUB],
            ),
            ("d/f", "/old", "old", ["old", "old/1", "old/f", "old/in", "old/in/2"]),
            ("d/f", "/old/new", "old", ["old", "old/1", "old/in", "old/in/2", "old/new"]),
            ("dl", "/new", "new", ["new -> d"]),
            ("dl/", "/new", "new", below("new")),
            ("d/f", "/to", "to", ["to -> etc/motd"]),
        ],
    )
    def test_what_comes_in_gets_this_name(
        self, sides: Sides, source: str, destination: str, start: str, expected: list[str]
    ) -> None:
        sides.put(source, destination)
        assert sides.paths(start) == expected

    def test_a_link_as_the_destination_leads_to_what_is_written(self, sides: Sides) -> None:
        copied = sides.put("d/f", "/to")
        assert copied.destination == "web:/etc/motd"
        sides.get("/etc/motd", "motd")
        assert Path("motd").read_text() == "f"

    def test_a_link_as_the_source_is_followed_if_asked(self, sides: Sides) -> None:
        sides.put("dl", "/new", follow=True)
        assert sides.paths("new") == below("new")
        sides.get("/to", "one")
        assert os.readlink("one") == "etc/motd"
        sides.get("/to", "two", follow=True)
        assert Path("two").read_text() == "hello\n"

    @pytest.mark.parametrize(
        ("source", "destination", "error"),
        [
            ("d", "/gone", Refused),
            ("d/f", "/nodir/", NotFound),
            ("d/f", "/nodir/x", NotFound),
            ("d/f", "/gone/", UsageError),
            ("nothing", "/", NotFound),
            ("d/f/", "/x", UsageError),
        ],
    )
    def test_what_cannot_come_in_is_told_and_changes_nothing(
        self, sides: Sides, source: str, destination: str, error: type[OcitoolError]
    ) -> None:
        before = tar_of(sides.layout, sides.one)
        with pytest.raises(error):
            sides.put(source, destination)
        assert tar_of(sides.layout, sides.one) == before

    def test_a_folder_does_not_replace_a_file_in_the_middle_of_a_copy(
        self, sides: Sides, here: Path
    ) -> None:
        (here / "m/a").mkdir(parents=True)
        (here / "m/gone").mkdir()
        before = tar_of(sides.layout, sides.one)
        with pytest.raises(Refused, match="'/gone' should become a folder, but is a file"):
            sides.put("m/.", "/")
        assert tar_of(sides.layout, sides.one) == before

    @pytest.mark.parametrize(
        ("source", "destination", "expected"),
        [
            ("/old", "out", ["out", "out/1", "out/in", "out/in/2"]),
            ("/old", "d/sub", ["d/sub/old", "d/sub/old/1", "d/sub/old/in", "d/sub/old/in/2"]),
            ("/old/.", "d/sub", ["d/sub/1", "d/sub/in", "d/sub/in/2"]),
            ("old/../etc/motd", "out", ["out"]),
            ("/etc/motd", "d/f", ["d/f"]),
            ("/etc/motd", "dl", ["d/motd"]),
        ],
    )
    def test_what_goes_out_gets_this_name(
        self, sides: Sides, here: Path, source: str, destination: str, expected: list[str]
    ) -> None:
        before = {str(path.relative_to(here)) for path in here.rglob("*")}
        sides.get(source, destination)
        after = {str(path.relative_to(here)) for path in here.rglob("*")}
        assert sorted(after - before | (set(expected) & before)) == sorted(expected)

    def test_what_cannot_go_out_is_told(self, sides: Sides, here: Path) -> None:
        for source, destination, error in (
            ("/nothing", ".", NotFound),
            ("/old", "d/f", Refused),
            ("/etc/motd", "nodir/", NotFound),
            ("/etc/motd", "nodir/x", NotFound),
            ("/etc/motd/", "x", UsageError),
        ):
            with pytest.raises(error):
                sides.get(source, destination)
        assert sorted(os.listdir(here)) == ["d", "dl"]

    def test_owners_are_kept_only_if_asked_and_no_program_runs_as_another(
        self, sides: Sides, here: Path
    ) -> None:
        os.chown(here / "d/f", 5, 6)
        (here / "d/f").chmod(0o4711)
        sides.put("d/f", "/plain")
        sides.put("d/f", "/kept", archive=True)
        for name, owner in (("plain", (0, 0)), ("kept", (5, 6))):
            status = (written(sides.one) / name).stat()
            assert ((status.st_uid, status.st_gid), status.st_mode & 0o7777) == (owner, 0o4711)
        sides.get("/kept", "plain")
        sides.get("/kept", "kept", archive=True)
        plain, kept = (here / "plain").stat(), (here / "kept").stat()
        assert (plain.st_uid, plain.st_mode & 0o7777) == (0, 0o711)
        assert (kept.st_uid, kept.st_mode & 0o7777) == (5, 0o4711)


def test_a_copy_of_the_image_takes_and_gives_too(layout: Layout, here: Path) -> None:
    sides = Sides(layout, container(layout, alone=True))
    sides.put("d/.", "/old")
    sides.get("/old/in", "in")
    assert sides.paths("old")[-2:] == [*_SUB]
    assert (here / "in/2").read_text() == "2"


class TestTheOverlay:
    def test_folders_on_the_way_keep_what_the_image_says_of_them(
        self, layout: Layout, here: Path
    ) -> None:
        sides = Sides(layout, container(layout))
        sides.put("d/f", "/old/in/f")
        sides.put("d/f", "/srv/f")
        status = (written(sides.one) / "srv").stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 100, 0o755)
        assert sides.paths("old") == ["old", "old/1", "old/in", "old/in/2", "old/in/f"]
        assert here.exists()

    def test_a_folder_over_a_deleted_one_does_not_bring_it_back(
        self, layout: Layout, here: Path
    ) -> None:
        sides = Sides(layout, container(layout))
        whiteout(written(sides.one) / "old")
        sides.put("d", "/old")
        assert sides.paths("old") == below("old")
        whiteout(written(sides.one) / "gone")
        sides.put("d/f", "/gone")
        assert sides.paths("gone") == ["gone"]
        assert sorted(os.listdir(sides.one.bundle)) == sorted(
            name for name in os.listdir(sides.one.bundle) if not name.startswith(".ocitool")
        )
        assert here.exists()

    def test_what_is_deleted_cannot_be_copied(self, layout: Layout) -> None:
        sides = Sides(layout, container(layout))
        whiteout(written(sides.one) / "old")
        for path in ("/old", "/old/in/2"):
            with pytest.raises(NotFound):
                sides.get(path, "x")

    def test_a_read_only_container_and_a_mount_take_nothing(
        self, layout: Layout, here: Path
    ) -> None:
        options = MountOptions(read_only=True, volumes=("/srv",))
        sides = Sides(layout, container(layout, mounts=options))
        with pytest.raises(Refused, match="is read-only"):
            sides.put("d/f", "/")
        with pytest.raises(Refused, match="lies in a mount"):
            sides.get("/srv", "x")
        assert sorted(os.listdir(here)) == ["d", "dl"]


class TestNoWayOut:
    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/secret").write_text("secret")
        return tmp_path / "outside"

    @pytest.mark.parametrize("way", ["{}", "../../../../../../../../../..{}"])
    def test_links_lead_back_into_the_container(self, sides: Sides, secret: Path, way: str) -> None:
        (written(sides.one) / "out").symlink_to(way.format(secret))
        with pytest.raises(NotFound):
            sides.get("/out/secret", "x")
        with pytest.raises(NotFound):
            sides.put("d/f", "/out/secret")
        with pytest.raises(NotFound):
            sides.get("/../../../.." + str(secret), "x")
        assert (secret / "secret").read_text() == "secret"

    def test_a_link_below_what_is_copied_stays_a_link(
        self, sides: Sides, here: Path, secret: Path
    ) -> None:
        (written(sides.one) / "t").mkdir()
        (written(sides.one) / "t/link").symlink_to(secret)
        sides.get("/t", "t", follow=True)
        assert (here / "t/link").is_symlink()
        # What is there as a link is replaced, and not followed.
        (here / "u").mkdir()
        (here / "u/link").symlink_to(secret)
        (written(sides.one) / "u/link").mkdir(parents=True)
        with pytest.raises(Refused, match="should become a folder"):
            sides.get("/u/.", "u")
        assert os.listdir(secret) == ["secret"]

    def test_a_process_that_has_ended_gives_no_root(
        self, sides: Sides, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Its number is that of another process by now, whose root is not the container's.
        found = iter([os.getpid(), None, os.getpid(), None])
        monkeypatch.setattr("ocitool.containers.copying.process_in", lambda _: next(found))
        with pytest.raises(Refused, match="has ended"):
            sides.put("d/f", str(here / "written"))
        with pytest.raises(Refused, match="has ended"):
            sides.get("/etc/hostname", "x")
        assert sorted(os.listdir(here)) == ["d", "dl"]

    def test_a_loop_of_links_ends(self, sides: Sides) -> None:
        (written(sides.one) / "loop").symlink_to("loop/x")
        with pytest.raises(Refused, match="more than 40 links"):
            sides.get("/loop/y", "x")


class TestTars:
    def test_a_tar_goes_out_with_the_last_name_and_everything_kept(self, sides: Sides) -> None:
        def names(path: str) -> list[str]:
            return listed(b"".join(tar_out(sides.layout, sides.one, path, CopyOptions())))

        assert names("/old") == ["old", "old/1", "old/in", "old/in/2"]
        assert names("/old/.") == ["1", "in", "in/2"]
        assert names("/to") == ["to -> etc/motd"]
        data = b"".join(tar_out(sides.layout, sides.one, "/etc/motd", CopyOptions()))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert [(one.name, one.uid, one.gid) for one in tar] == [("motd", 1000, 100)]

    def test_a_tar_comes_into_a_folder_and_its_names_mean_nothing_else(self, sides: Sides) -> None:
        tar = layer_of(Node(path=".wh.1", data=b"no whiteout"), Node(path="new", owner=(5, 6)))
        tar_in(sides.layout, sides.one, io.BytesIO(tar), "/old", CopyOptions())
        assert sides.paths("old") == ["old", "old/.wh.1", "old/1", "old/in", "old/in/2", "old/new"]
        with pytest.raises(NotFound, match="is not a folder of container web"):
            tar_in(sides.layout, sides.one, io.BytesIO(tar), "/gone", CopyOptions())

    def test_a_hostile_tar_stays_below_the_folder(self, sides: Sides, tmp_path: Path) -> None:
        up = layer_of(Node(path="../../../up", data=b"x"))
        tar_in(sides.layout, sides.one, io.BytesIO(up), "/old", CopyOptions())
        assert "old/up" in sides.paths("old")
        assert not list(tmp_path.rglob("s/up"))
        with pytest.raises(MalformedArchive):
            tar_in(sides.layout, sides.one, io.BytesIO(b"x" * 1024), "/old", CopyOptions())


class TestDurable:
    """What was there is replaced by what is on the disk, and in the end all of it is."""

    def watch(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple[bytes, bool]]:
        """Note at each sync what a file holds, and whether that file system is the file's."""
        seen: list[tuple[bytes, bool]] = []

        def sync(folder: Directory) -> None:
            same = os.fstat(folder.descriptor).st_dev == path.stat().st_dev
            seen.append((path.read_bytes(), same))

        monkeypatch.setattr(copying, "sync_file_system", sync)
        return seen

    def test_what_goes_out(self, sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("out/in").mkdir(parents=True)
        Path("out/in/2").write_bytes(b"before")
        seen = self.watch(monkeypatch, Path("out/in/2"))
        sides.get("/old/.", "out")
        assert seen == [(b"before", True), (b"2", True)]

    def test_what_comes_in(self, sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
        sides.put("d/sub/s", "/new")
        seen = self.watch(monkeypatch, written(sides.one) / "new")
        sides.put("d/f", "/new")
        assert seen == [(b"s", True), (b"f", True)]
