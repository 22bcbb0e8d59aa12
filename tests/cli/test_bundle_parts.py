"""Deltas and volumes given to the commands that know archives: load, verify, images, inspect."""

import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundle_bytes import flipped, regions
from tests.support.command import Command
from tests.support.images import build_image
from tests.support.made_bundles import made
from tests.support.stores import assert_whole, roots_of

BASE = {"base": b"a layer of several images " * 100}
FIRST = build_image([BASE, {"code": b"1"}])
SECOND = build_image([BASE, {"code": b"2"}])
NAMES = ("docker.io/t/app:1", "docker.io/t/app:2")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle, a delta over it, and volumes; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles")
    base = made(folder / "base.tar", {NAMES[0]: FIRST})
    made(folder / "next.delta.tar", {NAMES[1]: SECOND}, base=[base])
    noise = {"noise": bytes(range(256)) * 5000}
    large = build_image([noise], compression="none")
    (folder / "volumes").mkdir()
    images = {NAMES[0]: FIRST, "docker.io/t/large:1": large}
    made(folder / "made.tar", images, volume_size=(1 << 20) + (64 << 10))
    for volume in folder.glob("made.v*.tar"):
        shutil.move(volume, folder / "volumes")
    return folder


@pytest.fixture
def bundles(made_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder."""
    return shutil.copytree(made_once, tmp_path / "b", ignore=shutil.ignore_patterns("*.layout"))


def ok(command: Command, *arguments: str | Path) -> Any:
    """Run a command that has to succeed, and return its JSON."""
    done = command(*arguments, "--json")
    assert done.code == 0, done.err
    return done.json


class TestShow:
    def test_an_image_of_which_a_volume_is_missing_is_not_complete(
        self, ocitool: Command, bundles: Path
    ) -> None:
        volumes = sorted((bundles / "volumes").glob("*.tar"))
        for number, missing in enumerate(volumes, 1):
            here = [one for one in volumes if one != missing]
            checked: Any = ocitool("bundle", "verify", *here, "--json").json
            (lost,) = [one["lost_images"] for one in checked["bundles"]]
            done = ocitool("bundle", "show", *here)
            rows = {line.split()[0]: line.split()[-1] for line in done.out.splitlines()[1:3]}
            assert rows == {
                name: "no" if f"docker.io/{name}" in lost else "yes"
                for name in ("t/app:1", "t/large:1")
            }
            assert f"missing: volume {number} of {len(volumes)}\n" in done.out
            told = [line for line in done.out.splitlines() if line.startswith("lost: ")]
            assert told == [f"lost: {name.removeprefix('docker.io/')}" for name in lost] != []
            assert ok(ocitool, "bundle", "show", *here)["lost_images"] == lost
        whole = ocitool("bundle", "show", *volumes).out
        assert "lost" not in whole
        assert "missing" not in whole

    @pytest.mark.parametrize("columns", [40, 80])
    def test_a_narrow_terminal_hides_no_column(
        self, ocitool: Command, tmp_path: Path, columns: int
    ) -> None:
        name = f"registry.example/{'team/' * 9}app:1"
        path = made(tmp_path / "a.tar", {name: FIRST})
        shown = ocitool.on_terminal("bundle", "show", path, columns=columns)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert name in lines
        for word in ("ATTACHED", "COMPLETE"):
            assert word in lines[1]


class TestFolders:
    @pytest.mark.parametrize("verb", [["load"], ["bundle", "load"]])
    def test_the_files_that_count_are_named(
        self, ocitool: Command, bundles: Path, verb: list[str]
    ) -> None:
        for name in ("base.tar", "next.delta.tar"):
            (bundles / name).rename(bundles / "volumes" / name)
        done = ocitool(*verb, f"{bundles / 'volumes'}/")
        assert done.code == 0, done.err
        assert (
            f"{bundles / 'volumes'}/: 5 files of 3 bundles: base.tar, made.v01of03.tar, "
            "made.v02of03.tar, made.v03of03.tar, next.delta.tar\n" in done.err
        )


class TestLoad:
    def test_a8_a_delta_is_refused_without_its_base_and_nothing_is_written(
        self, ocitool: Command, bundles: Path
    ) -> None:
        done = ocitool("load", bundles / "next.delta.tar")
        assert done.code == 3
        assert str(FIRST.layers[0].digest) in done.err
        assert not ocitool.store.exists()

    def test_a8_it_is_said_which_bundle_has_to_be_loaded_first(
        self, ocitool: Command, bundles: Path
    ) -> None:
        told = ocitool("bundle", "show", bundles / "base.tar").out.splitlines()[-1]
        digest = told.removeprefix("list: ")
        shown = ocitool("bundle", "show", bundles / "next.delta.tar").out
        assert f"builds on the bundle with the list {digest}" in shown
        checked = ocitool("bundle", "check", bundles / "next.delta.tar")
        assert f"load the bundle with the list {digest} first" in checked.out
        refused = ocitool("bundle", "load", bundles / "next.delta.tar")
        assert digest in refused.err

    def test_a8_a_delta_is_loaded_onto_its_base(self, ocitool: Command, bundles: Path) -> None:
        ok(ocitool, "load", bundles / "base.tar")
        value = ok(ocitool, "load", bundles / "next.delta.tar")
        assert [image["names"] for image in value["images"]] == [[NAMES[1]]]
        assert roots_of(ocitool.store) == {
            NAMES[0]: FIRST.descriptor.digest,
            NAMES[1]: SECOND.descriptor.digest,
        }
        assert_whole(ocitool.store)

    def test_a9_base_and_delta_in_one_call_in_any_order(
        self, ocitool: Command, bundles: Path
    ) -> None:
        ok(ocitool, "load", bundles / "next.delta.tar", bundles / "base.tar")
        assert set(roots_of(ocitool.store)) == set(NAMES)

    def test_a13_a_folder_of_volumes_and_single_ones(
        self, ocitool: Command, bundles: Path, tmp_path: Path
    ) -> None:
        ok(ocitool, "load", bundles / "volumes")
        assert set(roots_of(ocitool.store)) == {NAMES[0], "docker.io/t/large:1"}
        other = Command(tmp_path / "other", tmp_path)
        ok(other, "load", *sorted((bundles / "volumes").iterdir(), reverse=True))
        assert roots_of(other.store) == roots_of(ocitool.store)

    def test_a13_without_a_volume_the_rest_is_loaded_and_the_code_is_3(
        self, ocitool: Command, bundles: Path
    ) -> None:
        (lost,) = (bundles / "volumes").glob("*v02*")
        lost.unlink()
        done = ocitool("load", bundles / "volumes", "--json")
        value: Any = done.json
        assert (done.code, value["lost_images"]) == (3, ["docker.io/t/large:1"])
        assert set(roots_of(ocitool.store)) == {NAMES[0]}

    def test_a14_each_volume_in_a_command_of_its_own(self, ocitool: Command, bundles: Path) -> None:
        first, *others = sorted((bundles / "volumes").iterdir())
        done = ocitool("bundle", "load", first)
        assert done.code == 3
        assert "lost: t/large:1" in done.out
        assert "of 3" in done.err
        assert "kept " in done.err
        assert [ocitool("bundle", "load", one).code for one in others][-1] == 0
        assert set(roots_of(ocitool.store)) == {NAMES[0], "docker.io/t/large:1"}

    @pytest.mark.parametrize("order", [1, -1])
    def test_a11_what_is_damaged_is_taken_from_the_bundle_that_was_made_for_it(
        self, ocitool: Command, bundles: Path, tmp_path: Path, order: int
    ) -> None:
        bad, need, missing = (tmp_path / name for name in ("bad.tar", "n.json", "m.delta.tar"))
        data = (bundles / "base.tar").read_bytes()
        member = f"blobs/sha256/{FIRST.layers[1].digest.hex}"
        place = next(
            one.begin for one in regions(data) if (one.member, one.kind) == (member, "content")
        )
        bad.write_bytes(flipped(data, place))
        assert ocitool("bundle", "verify", bad, "--need-out", need).code == 3
        source = Command(tmp_path / "source", tmp_path)
        ok(source, "load", bundles / "base.tar")
        ok(source, "bundle", "create", NAMES[0], "--need", need, "-o", missing)
        ok(ocitool, "bundle", "load", *[bad, missing][::order])
        assert set(roots_of(ocitool.store)) == {NAMES[0]}

    def test_a3_a_damaged_layer_is_not_loaded(self, ocitool: Command, bundles: Path) -> None:
        path = bundles / "base.tar"
        data = path.read_bytes()
        member = f"blobs/sha256/{FIRST.layers[1].digest.hex}"
        (place,) = (
            one.begin for one in regions(data) if (one.member, one.kind) == (member, "content")
        )
        path.write_bytes(flipped(data, place))
        assert ocitool("load", path).code == 7
        assert ocitool("bundle", "load", path).code == 7
        assert not ocitool.store.exists() or roots_of(ocitool.store) == {}

    def test_a13_options_that_change_images_are_refused(
        self, ocitool: Command, bundles: Path
    ) -> None:
        for option in (("--tag", "x:1"), ("--platform", "linux/arm64"), ("--compression", "zstd")):
            done = ocitool("load", bundles / "next.delta.tar", *option)
            assert done.code == 2
            assert option[0] in done.err

    def test_a8_a_delta_in_a_pipe_says_which_command_takes_it(
        self, ocitool: Command, bundles: Path
    ) -> None:
        done = ocitool("load", stdin=(bundles / "next.delta.tar").read_bytes())
        assert done.code == 4
        assert "ocitool bundle load" in done.err


class TestVerify:
    @pytest.mark.parametrize("name", ["base.tar", "next.delta.tar", "volumes"])
    def test_a3_it_proves_every_byte_as_bundle_verify_does(
        self, ocitool: Command, bundles: Path, name: str
    ) -> None:
        value = ok(ocitool, "verify", bundles / name)
        same = ok(ocitool, "bundle", "verify", bundles / name)
        for document in (value, same):
            del document["bundles"][0]["seconds"]
        assert value == same
        assert value["bundles"][0]["sound"]

    def test_a3_a_changed_byte_of_padding_ends_with_3(
        self, ocitool: Command, bundles: Path
    ) -> None:
        path = bundles / "base.tar"
        data = path.read_bytes()
        path.write_bytes(flipped(data, len(data) - 1))
        done = ocitool("verify", path)
        assert (done.code, "the end of" in done.out) == (3, True)

    def test_a13_a_volume_alone_is_incomplete(self, ocitool: Command, bundles: Path) -> None:
        (first,) = (bundles / "volumes").glob("*v01*")
        done = ocitool("verify", first)
        assert done.code == 3
        assert "missing: volume 2 of 3" in done.out
        assert "incomplete: 1 blob lost" in done.out


class TestListing:
    def test_a7_the_images_of_a_delta_are_listed_and_not_called_damaged(
        self, ocitool: Command, bundles: Path
    ) -> None:
        done = ocitool("images", bundles / "next.delta.tar")
        assert done.code == 0
        assert "t/app" in done.out
        assert "linux/amd64" in done.out
        assert "damaged" not in done.out

    def test_a7_a_delta_is_inspected_from_its_documents(
        self, ocitool: Command, bundles: Path
    ) -> None:
        value = ok(ocitool, "inspect", bundles / "next.delta.tar")
        assert value["digest"] == str(SECOND.descriptor.digest)
        digests = [layer["digest"] for layer in value["layers"]]
        assert digests == [str(layer.digest) for layer in SECOND.layers]
        assert value["layers"][0]["problem"] is not None
        assert value["layers"][1]["problem"] is None

    @pytest.mark.parametrize("command", ["images", "inspect"])
    def test_a13_a_volume_says_which_command_shows_it(
        self, ocitool: Command, bundles: Path, command: str
    ) -> None:
        (first,) = (bundles / "volumes").glob("*v01*")
        done = ocitool(command, first)
        assert done.code == 7
        assert "ocitool bundle show" in done.err


class TestA17Parity:
    @pytest.fixture
    def disk(self, ocitool: Command, tmp_path: Path) -> Path:
        """Return a folder with a bundle, w.tar, two volumes and their parity."""
        noise = random.Random(17).randbytes(1_500_000)
        made(tmp_path / "w.tar", {NAMES[0]: build_image([{"noise": noise}], compression="none")})
        size = ("--volume-size", "1100k", "--parity")
        done = ocitool("bundle", "split", tmp_path / "w.tar", *size, "-o", tmp_path / "d.tar")
        names = ["d.v01of02.tar", "d.v02of02.tar", "d.parity.tar"]
        assert done.out.splitlines() == [str(tmp_path / name) for name in names]
        return tmp_path

    def test_a_lost_volume_is_told_and_made_good(self, ocitool: Command, disk: Path) -> None:
        shown = ocitool("bundle", "show", *sorted(disk.glob("d.*.tar")))
        assert "full bundle in 2 volumes, 2 of them here, and their parity" in shown.out
        (disk / "d.v02of02.tar").unlink()
        files = sorted(disk.glob("d.*.tar"))
        done = ocitool("bundle", "verify", *files)
        assert done.code == 3
        assert done.out.splitlines()[:3] == [
            "missing: volume 2 of 2",
            "rebuilt: volume 2 of 2, by the parity volume",
            "sound: t/app:1",
        ]
        assert done.out.rstrip().endswith("incomplete, but no blob is lost: it can be loaded")
        done = ocitool("bundle", "load", *files)
        assert done.code == 0
        assert "volume 2 of 2 is missing: the parity volume gives it back" in done.err
        assert set(roots_of(ocitool.store)) == {NAMES[0]}
        assert ocitool("bundle", "join", *files, "-o", disk / "again.tar").code == 0
        assert (disk / "again.tar").read_bytes() == (disk / "w.tar").read_bytes()

    @pytest.mark.parametrize("position", [600, 60_000])
    def test_a_damaged_one_is_named_and_made_good(
        self, ocitool: Command, disk: Path, position: int
    ) -> None:
        bad = disk / "d.v01of02.tar"
        bad.write_bytes(flipped(bad.read_bytes(), position))
        files = sorted(disk.glob("d.*.tar"))
        done = ocitool("bundle", "join", *files, "-o", disk / "again.tar")
        assert done.code == 0
        assert "d.v01of02.tar" in done.err
        assert (disk / "again.tar").read_bytes() == (disk / "w.tar").read_bytes()
        ocitool("bundle", "load", *files)
        assert set(roots_of(ocitool.store)) == {NAMES[0]}

    def test_it_needs_volumes(self, ocitool: Command, disk: Path) -> None:
        done = ocitool("bundle", "create", disk / "w.tar", "--parity", "-o", disk / "x.tar")
        assert done.code == 2
        assert "--volume-size" in done.err
