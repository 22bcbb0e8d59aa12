"""Damage set aside and made good: found, moved and never deleted, fetched again, clean after."""

import os
import random
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ocitool.errors import MalformedDocument
from ocitool.image.graph import closure_of
from ocitool.oci import mediatype
from ocitool.operations.repair import RepairReport, repair
from ocitool.places.layout import Layout
from tests.faults.test_damage import KINDS
from tests.support.command import Command
from tests.support.images import build_image, build_index, oci_archive
from tests.support.layouts import bring, names_of
from tests.support.registry import EmulatedRegistry
from tests.support.stores import checked, contents

HUB = "docker.io/library/"


def _socket(path: Path) -> None:
    path.unlink()
    here = os.getcwd()
    # The path of a socket may have 107 bytes.
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"./{path.name}")
    finally:
        os.chdir(here)


def _shifted(path: Path) -> None:
    path.write_bytes(b"\0" + path.read_bytes())


def _left_behind(path: Path) -> None:
    control = path.parent.parent.parent / ".ocitool"
    for place in ("tmp", "unpacking", "trees", "bundles"):
        (control / place).mkdir(exist_ok=True)
    (control / "tmp" / "0123456789abcdef.x").write_bytes(b"half a blob")
    (control / "unpacking" / "0123456789abcdef.y" / "deep").mkdir(parents=True)
    (control / "trees" / "nobody").mkdir()
    (control / "bundles" / "nobody").mkdir()


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    **{kind: damage for kind, (damage, _) in KINDS.items()},
    "a socket": _socket,
    "shifted": _shifted,
    "left behind": _left_behind,
}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with two images, an index and an image without a name; not to be changed."""
    path = tmp_path_factory.mktemp("whole") / "store"
    shared = {"shared": b"s" * 5000}
    images = [
        build_image([shared, {"p": p.encode()}], platform=p) for p in ("linux/amd64", "linux/arm")
    ]
    with Layout.create(str(path), store=True) as layout:
        bring(layout, build_image([shared, {"a": b"1"}]), f"{HUB}a:1", f"{HUB}a:2")
        bring(layout, build_image([{"b": b"2"}], compression="zstd"), f"{HUB}b:1")
        bring(layout, build_index(images, attested=True), f"{HUB}both:1")
        bring(layout, build_image([{"c": b"3"}]))
    return path


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of the store."""
    return Path(shutil.copytree(whole, tmp_path / "store"))


def repaired(path: Path, *sources: Path) -> RepairReport:
    with Layout.existing(str(path)) as layout:
        opened = [Layout.existing(str(source)) for source in sources]
        try:
            return repair(layout, opened)
        finally:
            for one in opened:
                one.close()


def blobs(path: Path) -> list[Path]:
    return sorted((path / "blobs/sha256").iterdir())


def quarantine(path: Path) -> list[str]:
    folder = path / ".ocitool/quarantine"
    return sorted(os.listdir(folder)) if folder.exists() else []


def needed(path: Path) -> list[Path]:
    """Return the blobs that are missed when they are gone, which those of a platform are not."""
    with Layout.existing(str(path)) as layout:
        closures = [closure_of(layout, root.descriptor) for root in layout.roots()]
    images = [closure for closure in closures if not mediatype.is_index(closure.root.media_type)]
    found = {descriptor.digest.hex for closure in images for descriptor in closure.descriptors}
    return [blob for blob in blobs(path) if blob.name in found]


def strike(path: Path, kind: str, seed: int) -> Path:
    """Damage one blob of a store at random; return which."""
    target = random.Random(seed).choice(needed(path) if kind == "removed" else blobs(path))
    DAMAGES[kind](target)
    return target


def check_one(whole: Path, path: Path, kind: str, seed: int) -> None:
    """Damage a copy of the store; what is found, set aside and fetched again must be all of it."""
    shutil.copytree(whole, path)
    expected = contents(path)
    target = strike(path, kind, seed)
    before = os.lstat(target) if os.path.lexists(target) else None
    with Layout.existing(str(path)) as layout:
        names = names_of(layout)
    report = repaired(path, whole)
    hurt = kind != "left behind"
    assert any(target.name in problem.subject for problem in report.before) == hurt, kind
    assert report.sound, (kind, seed, report)
    assert (report.leftovers > 0) == (kind == "left behind")
    if before is not None and hurt:
        # Moved, not copied and not deleted: it is the very same file.
        (moved,) = [name for name in quarantine(path) if target.name in name]
        assert (path / ".ocitool/quarantine" / moved).lstat().st_ino == before.st_ino
    assert contents(path) == expected
    with Layout.existing(str(path)) as layout:
        assert names_of(layout) == names
    second = repaired(path)
    assert (second.before, second.aside, second.fetched, second.leftovers) == ((), (), (), 0)
    assert second.sound
    shutil.rmtree(path)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_of_every_kind_is_found_set_aside_and_made_good(
    kind: str, whole: Path, tmp_path: Path
) -> None:
    assert len(DAMAGES) == 15
    for seed in range(2):
        check_one(whole, tmp_path / str(seed), kind, seed)


@pytest.mark.soak
@pytest.mark.parametrize("kind", DAMAGES)
def test_three_hundred_damages_are(kind: str, whole: Path, tmp_path: Path) -> None:
    for seed in range(1000, 1020):
        check_one(whole, tmp_path / str(seed), kind, seed)


@pytest.mark.parametrize("kind", ["flipped", "cut", "a fifo"])
def test_without_a_place_to_fetch_from_nothing_is_deleted_and_all_is_told(
    kind: str, damaged: Path
) -> None:
    target = strike(damaged, kind, 3)
    report = repaired(damaged)
    assert [one.digest.hex for one in report.aside] == [target.name]
    assert quarantine(damaged) == [os.path.basename(report.aside[0].place)]
    assert [digest.hex for digest in report.lost] == [target.name]
    assert not report.sound
    # Nor does a second run forget what is lost.
    again = repaired(damaged)
    assert again.aside == ()
    assert [digest.hex for digest in again.lost] == [target.name]
    assert not again.sound


def test_a_platform_of_an_index_that_was_set_aside_is_not_taken_for_one_that_never_came(
    damaged: Path, whole: Path
) -> None:
    child = build_image([{"shared": b"s" * 5000}, {"p": b"linux/arm"}], platform="linux/arm")
    blob = damaged / "blobs/sha256" / child.descriptor.digest.hex
    blob.write_bytes(b"x" * blob.stat().st_size)
    assert not repaired(damaged).sound
    assert checked(damaged).sound
    assert not repaired(damaged).sound
    assert repaired(damaged, whole).fetched == (child.descriptor.digest,)
    assert repaired(damaged).sound


def test_a_platform_that_never_came_is_not_fetched(whole: Path, tmp_path: Path) -> None:
    images = [build_image([{"p": p.encode()}], platform=p) for p in ("linux/amd64", "linux/arm")]
    index = build_index(images)
    with (
        Layout.create(str(tmp_path / "all"), store=True) as everything,
        Layout.create(str(tmp_path / "sparse"), store=True) as layout,
    ):
        bring(everything, index, f"{HUB}x:1")
        bring(layout, index, f"{HUB}x:1")
        (tmp_path / "sparse/blobs/sha256" / images[1].descriptor.digest.hex).unlink()
        report = repair(layout, [everything])
    assert (report.fetched, report.sound) == ((), True)


def test_a_place_that_has_it_damaged_too_is_passed_over(
    damaged: Path, whole: Path, tmp_path: Path
) -> None:
    target = strike(damaged, "removed", 5)
    other = Path(shutil.copytree(whole, tmp_path / "other"))
    KINDS["flipped"][0](other / "blobs/sha256" / target.name)
    assert not repaired(damaged, other).sound
    assert not os.path.lexists(target)
    assert repaired(damaged, other, whole).sound


def test_a_blob_that_is_whole_is_never_moved_whatever_a_manifest_says_of_it(tmp_path: Path) -> None:
    lying = build_image(config={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})
    with Layout.create(str(tmp_path / "s"), store=True) as layout:
        bring(layout, lying, f"{HUB}x:1")
        before = contents(tmp_path / "s")
        report = repair(layout)
    assert (report.aside, report.sound) == ((), False)
    assert contents(tmp_path / "s") == before


def test_an_index_that_cannot_be_read_is_touched_by_nobody(damaged: Path, whole: Path) -> None:
    (damaged / "index.json").write_bytes(b'{"manifests":')
    with pytest.raises(MalformedDocument):
        repaired(damaged, whole)
    assert (damaged / "index.json").read_bytes() == b'{"manifests":'
    assert len(blobs(damaged)) == len(blobs(whole))


def test_what_a_running_command_works_on_stays(damaged: Path) -> None:
    from ocitool.places.layout import Writing

    with Layout.existing(str(damaged)) as layout, Writing(layout) as writing:
        writer = writing.writer()
        writer.write(b"on its way")
        assert repaired(damaged).leftovers == 0
        descriptor = writer.commit("text/plain")
        assert layout.has(descriptor)


class TestTheCommand:
    @pytest.fixture
    def ocitool(self, damaged: Path, tmp_path: Path) -> Command:
        return Command(damaged, tmp_path)

    def test_a_sound_store_has_nothing_to_repair(self, ocitool: Command) -> None:
        done = ocitool("verify", "--repair")
        assert done.code == 0
        assert "problem" not in done.out
        assert done.out.endswith("sound\n")

    def test_damage_is_listed_with_where_it_is_now(self, ocitool: Command, damaged: Path) -> None:
        target = strike(damaged, "flipped", 7)
        done = ocitool("verify", "--repair")
        assert done.code == 3
        assert f"found: digest: blob {target.name[:12]}" in done.out
        (name,) = quarantine(damaged)
        assert f"set aside: sha256:{target.name}: .ocitool/quarantine/{name}" in done.out
        assert "--repair-from SRC fetches it" in done.err

    @pytest.mark.parametrize("place", ["layout", "archive", "registry"])
    def test_it_is_fetched_again_from_any_place(
        self, ocitool: Command, damaged: Path, whole: Path, tmp_path: Path, place: str
    ) -> None:
        image = build_image([{"shared": b"s" * 5000}, {"a": b"1"}])
        KINDS["flipped"][0](damaged / "blobs/sha256" / image.layers[0].digest.hex)
        (tmp_path / "x.tar").write_bytes(oci_archive({"a:1": image}))
        if place == "registry":
            with EmulatedRegistry() as registry:
                name = f"{registry.host}/team/a:1"
                other = Command(whole, tmp_path)
                assert other("push", "--plain-http", "a:1", name).code == 0
                done = ocitool("verify", "--plain-http", "--repair-from", f"docker://{name}")
        else:
            source = {"layout": f"oci:{whole}", "archive": "./x.tar"}[place]
            done = ocitool("verify", "--repair-from", source)
        assert done.code == 0, done.err
        assert f"fetched: {image.layers[0].digest}" in done.out
        assert ocitool("verify").code == 0

    def test_everything_is_in_the_json(self, ocitool: Command, damaged: Path, whole: Path) -> None:
        target = strike(damaged, "cut", 7)
        done = ocitool("verify", "--repair", "--repair-from", f"oci:{whole}", "--json")
        assert done.code == 0
        value = done.json
        assert isinstance(value, dict)
        assert value["sound"] is True
        assert [one["kind"] for one in value["found"]] == ["size"]
        assert [one["digest"] for one in value["set_aside"]] == [f"sha256:{target.name}"]
        assert value["fetched"] == [f"sha256:{target.name}"]
        assert (value["lost"], value["leftovers"], value["problems"]) == ([], 0, [])

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("--repair", "--fast"), 2),
            (("a:1", "--repair"), 2),
            (("--repair-from", "oci:nowhere"), 4),
            (("oci:nowhere", "--repair"), 4),
        ],
    )
    def test_what_makes_no_sense_changes_nothing(
        self, ocitool: Command, damaged: Path, arguments: tuple[str, ...], code: int
    ) -> None:
        strike(damaged, "flipped", 9)
        before = contents(damaged)
        assert ocitool("verify", *arguments).code == code
        assert contents(damaged) == before

    def test_an_index_that_cannot_be_read_is_exit_code_7(
        self, ocitool: Command, damaged: Path
    ) -> None:
        (damaged / "index.json").write_bytes(b"[")
        assert ocitool("verify").code == 7
        assert ocitool("verify", "--repair").code == 0
