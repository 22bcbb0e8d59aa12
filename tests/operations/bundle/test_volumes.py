"""Bundles in volumes: each proves itself, none is too large, and what is lost is told exactly."""

import itertools
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocitool.bundles.files import open_bundles
from ocitool.errors import IntegrityError, NotFound, UsageError
from ocitool.operations.bundle.load import load_into_layout
from ocitool.operations.bundle.rejoin import join_bundle, split_bundle
from ocitool.operations.bundle.verify import verify_bundle
from ocitool.places.archive import opening
from tests.support.bundle_bytes import attempted, members, regions, sha256, verified
from tests.support.images import BuiltImage, build_image
from tests.support.made_bundles import list_of, made, opened
from tests.support.stores import assert_whole, checked, roots_of

RANDOM = random.Random(12)
MEBIBYTE = 1 << 20
LIMIT = MEBIBYTE + (64 << 10)
REPOSITORY = "docker.io/team/app"


def noise(size: int) -> bytes:
    """Return bytes that no compression makes smaller."""
    return RANDOM.randbytes(size)


def image(*sizes: int) -> BuiltImage:
    """Return an image with layers of about so many bytes."""
    return build_image([{"noise": noise(size)} for size in sizes], compression="none")


SHARED = {"shared": noise(300_000)}
IMAGES = {
    f"{REPOSITORY}:large": image(2_600_000),
    f"{REPOSITORY}:one": build_image([SHARED, {"one": noise(200_000)}], compression="none"),
    f"{REPOSITORY}:two": build_image([SHARED, {"two": noise(250_000)}], compression="none"),
    f"{REPOSITORY}:three": image(500_000, 400_000),
}
NAMES = tuple(sorted(IMAGES))
LARGE = f"{REPOSITORY}:large"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle, whole.tar, and its volumes app.v01of….tar; not to change."""
    folder = tmp_path_factory.mktemp("volumes")
    made(folder / "whole.tar", IMAGES)
    made(folder / "app.tar", IMAGES, volume_size=LIMIT)
    return folder


@pytest.fixture
def volumes(folder: Path) -> list[Path]:
    """Return the volumes in their order."""
    found = sorted(folder.glob("app.v*.tar"))
    assert len(found) == 5
    return found


def layers(names: Sequence[str]) -> set[str]:
    """Return the layers of some images."""
    return {str(layer.digest) for name in names for layer in IMAGES[name].layers}


def held_in(volume: Path) -> set[str]:
    """Return the blobs that a volume has, whole or in part, read from its tar alone."""
    found = members(volume.read_bytes())
    kinds = ("blobs/", "parts/")
    return {":".join(path.split("/")[1:3]) for path in found if path.startswith(kinds)}


class TestSizes:
    def test_a12_no_file_exceeds_the_size_and_few_bytes_of_it_are_wasted(
        self, folder: Path, volumes: list[Path]
    ) -> None:
        sizes = [path.stat().st_size for path in volumes]
        assert max(sizes) <= LIMIT
        assert sum(sizes) >= (folder / "whole.tar").stat().st_size
        # The large layer fills what it is in.
        assert sum(size > LIMIT - (20 << 10) for size in sizes) >= 2

    def test_a12_a_blob_larger_than_a_volume_is_cut_and_no_other(self, volumes: list[Path]) -> None:
        paths = [path for volume in volumes for path in members(volume.read_bytes())]
        (large,) = IMAGES[f"{REPOSITORY}:large"].layers
        parts = [path for path in paths if path.startswith("parts/")]
        assert {path.split("/")[2] for path in parts} == {large.digest.hex}
        assert len(parts) == 3
        joined = b"".join(
            data
            for _, data in sorted(
                (int(path.rpartition("/")[2]), data)
                for volume in volumes
                for path, data in members(volume.read_bytes()).items()
                if path.startswith("parts/")
            )
        )
        assert sha256(joined) == str(large.digest)

    def test_a12_a_size_below_the_documents_and_a_mebibyte_is_refused_before_all(
        self, tmp_path: Path
    ) -> None:
        few = {name: IMAGES[name] for name in NAMES[:1]}
        said = r"too small: each needs at least 1\.05 MB for layers, beside .* of documents"
        with pytest.raises(UsageError, match=said) as caught:
            made(tmp_path / "app.tar", few, volume_size=MEBIBYTE)
        assert [*tmp_path.glob("*.tar")] == []
        least = int((caught.value.hint or "").removeprefix("use at least ").split()[0])
        with pytest.raises(UsageError):
            made(tmp_path / "app.tar", few, volume_size=least - 1)
        assert [*tmp_path.glob("*.tar")] == []
        made(tmp_path / "app.tar", few, volume_size=least)
        assert all(path.stat().st_size <= least for path in tmp_path.glob("*.tar"))


class TestEachAlone:
    def test_a13_each_verifies_alone(self, volumes: list[Path]) -> None:
        for number, volume in enumerate(volumes, start=1):
            report = verified(volume)
            assert report.damage == ()
            assert report.lost_volumes == tuple(n for n in range(1, 6) if n != number)

    def test_a13_each_has_the_list_and_all_documents(
        self, folder: Path, volumes: list[Path]
    ) -> None:
        whole = members((folder / "whole.tar").read_bytes())
        small = {
            path: data
            for path, data in whole.items()
            if path.startswith("blobs/sha256/") and data.startswith(b"{")
        }
        assert len(small) == 2 * len(IMAGES)
        for volume in volumes:
            found = members(volume.read_bytes())
            assert found["ocitool-bundle.json"] == whole["ocitool-bundle.json"]
            assert small.items() <= found.items()

    @pytest.mark.parametrize("lost", range(5))
    def test_a13_without_one_exactly_its_images_and_blobs_are_lost(
        self, lost: int, volumes: list[Path], tmp_path: Path
    ) -> None:
        gone = layers(NAMES) & held_in(volumes[lost])
        bad = [name for name in NAMES if layers([name]) & gone]
        rest = [path for path in volumes if path != volumes[lost]]
        report = verified(*rest)
        assert report.damage == ()
        assert report.lost_volumes == (lost + 1,)
        assert {blob.digest for blob in report.lost} == gone
        assert report.lost_images == tuple(bad)
        assert report.whole == tuple(name for name in NAMES if name not in bad)
        with opened(*rest) as bundle:
            loaded = load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert loaded.check.lost_images == tuple(bad)
        wanted = {n: IMAGES[n].descriptor.digest for n in NAMES if n not in bad}
        assert roots_of(tmp_path / "store") == wanted
        assert checked(tmp_path / "store").problems == ()

    def test_a13_one_without_a_whole_image_names_nothing(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        only = next(v for v in volumes if not any(layers([n]) <= held_in(v) for n in NAMES))
        with opened(only) as bundle:
            loaded = load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert loaded.check.lost_images == NAMES
        assert loaded.kept_bytes > 0
        assert roots_of(tmp_path / "store") == {}


class TestOneByOne:
    """A medium at a time: what one volume brings waits for the others."""

    @pytest.mark.parametrize("seed", range(4))
    def test_a14_volumes_in_any_order_each_in_a_command_of_its_own(
        self, seed: int, volumes: list[Path], tmp_path: Path
    ) -> None:
        random.Random(seed).shuffle(volumes)
        for number, volume in enumerate(volumes, start=1):
            with opened(volume) as bundle:
                loaded = load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
            here = {blob for one in volumes[:number] for blob in held_in(one)}
            # The layer that was cut needs all of its parts.
            whole = [n for n in NAMES if layers([n]) <= here and (n != LARGE or number == 5)]
            assert set(roots_of(tmp_path / "store")) >= set(whole)
            assert checked(tmp_path / "store").problems == ()
        assert_whole(tmp_path / "store")
        assert loaded.check.lost_images == ()
        assert roots_of(tmp_path / "store") == {n: IMAGES[n].descriptor.digest for n in NAMES}

    def test_a14_the_same_volume_again_stores_nothing_twice(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        store = str(tmp_path / "store")
        for volume in (volumes[0], volumes[0], *volumes[1:]):
            with opened(volume) as bundle:
                load_into_layout(bundle, store, is_store=True)
        assert roots_of(tmp_path / "store") == {n: IMAGES[n].descriptor.digest for n in NAMES}
        assert list((tmp_path / "store/.ocitool/ingest").iterdir()) == []

    def test_a14_a_damaged_part_is_not_kept(self, volumes: list[Path], tmp_path: Path) -> None:
        volume = next(v for v in volumes if any("parts/" in p for p in members(v.read_bytes())))
        data = volume.read_bytes()
        (place,) = (
            one.begin
            for one in regions(data)
            if one.member.startswith("parts/") and one.kind == "content"
        )
        bad = tmp_path / volume.name
        bad.write_bytes(data[: place + 7] + bytes([data[place + 7] ^ 1]) + data[place + 8 :])
        with opened(bad) as bundle, pytest.raises(IntegrityError, match=volume.name):
            load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        for one in volumes:
            with opened(one) as bundle:
                load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert roots_of(tmp_path / "store") == {n: IMAGES[n].descriptor.digest for n in NAMES}


class TestAnyNames:
    def test_a14_any_order_any_names_and_duplicates(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        for number, volume in enumerate(volumes):
            shutil.copy(volume, tmp_path / f"{9 - number} x.tar")
        shutil.copy(volumes[2], tmp_path / "again.tar")
        (report,), bad = attempted(tmp_path)
        assert (report.sound, bad) == (True, [])
        assert len(report.files) == 6
        with opened(tmp_path) as bundle:
            load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert set(roots_of(tmp_path / "store")) == set(NAMES)

    def test_a14_a_damaged_copy_does_no_harm_beside_a_sound_one(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        data = bytearray(volumes[0].read_bytes())
        place = max(regions(bytes(data)), key=lambda one: one.size)
        data[place.begin] ^= 1
        (tmp_path / "a.tar").write_bytes(data)
        for order in ([tmp_path / "a.tar", *volumes], [*volumes, tmp_path / "a.tar"]):
            report = verified(*order)
            assert [one.member for one in report.damage] == [place.member]
            assert (report.lost, report.lost_images) == ((), ())

    def test_a14_two_sets_in_one_folder_are_kept_apart(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        shutil.copytree(volumes[0].parent, tmp_path / "both", ignore=shutil.ignore_patterns("wh*"))
        other = {f"{REPOSITORY}:other": image(1_500_000)}
        made(tmp_path / "both" / "other.tar", other, volume_size=LIMIT)
        reports, bad = attempted(tmp_path / "both")
        assert (len(reports), bad) == (2, [])
        assert all(report.sound for report in reports)
        assert {report.listing.names for report in reports} == {NAMES, tuple(other)}

    def test_a14_an_older_volume_of_the_same_name_is_not_mixed_in(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        newer = {**IMAGES, NAMES[1]: image(450_000)}
        made(tmp_path / "app.tar", newer, volume_size=LIMIT)
        mine = sorted(tmp_path.glob("app.v*.tar"))
        assert [path.name for path in mine] == [path.name for path in volumes]
        shutil.copy(volumes[1], mine[1])
        reports, bad = attempted(tmp_path)
        assert bad == []
        by_list = {report.digest: report for report in reports}
        with opened(mine[0]) as one:
            report = by_list[one.head.digest]
        assert (report.lost_volumes, report.damage) == ((2,), ())
        with opened(volumes[0]) as one:
            assert by_list[one.head.digest].lost_volumes == (1, 3, 4, 5)

    def test_a14_renumbered_ones_are_damaged(self, volumes: list[Path], tmp_path: Path) -> None:
        data = volumes[0].read_bytes().replace(b'"volume":1', b'"volume":2', 1)
        (tmp_path / "a.tar").write_bytes(data)
        (_, (bad,)) = attempted(tmp_path / "a.tar")
        assert "ocitool-volume.json" in bad.error.message


class TestJoining:
    def test_a16_joined_they_are_the_bundle_and_split_again_they_are_equal(
        self, folder: Path, volumes: list[Path], tmp_path: Path
    ) -> None:
        with opened(*volumes[::-1]) as bundle:
            join_bundle(bundle, str(tmp_path / "app.tar"))
        assert (tmp_path / "app.tar").read_bytes() == (folder / "whole.tar").read_bytes()
        with opened(folder / "whole.tar") as bundle:
            written = split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT)
        for one, other in zip(written, volumes, strict=True):
            assert Path(one.path).name == other.name
            assert Path(one.path).read_bytes() == other.read_bytes()

    def test_a13_what_lacks_a_volume_is_not_joined(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        with opened(*volumes[1:]) as bundle, pytest.raises(NotFound, match="volume 1 of 5"):
            join_bundle(bundle, str(tmp_path / "app.tar"))
        assert [*tmp_path.iterdir()] == []

    def test_a15_nothing_is_joined_on_disk_to_load(
        self, volumes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise AssertionError("a scratch file was made")

        monkeypatch.setattr(opening, "scratch_file", refuse)
        before = {path.name: path.stat() for path in volumes[0].parent.iterdir()}
        with opened(*volumes) as bundle:
            load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert {path.name: path.stat() for path in volumes[0].parent.iterdir()}.keys() == (
            before.keys()
        )
        stored = sum(p.stat().st_size for p in (tmp_path / "store" / "blobs").rglob("*"))
        assert stored < sum(sum(map(len, one.blobs.values())) for one in IMAGES.values())


class TestGoingOn:
    def test_a16_whole_volumes_are_kept_and_damaged_ones_made_again(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        for volume in volumes[:3]:
            shutil.copy(volume, tmp_path)
        mine = sorted(tmp_path.iterdir())
        kept = [path.stat().st_ino for path in mine]
        data = bytearray(mine[1].read_bytes())
        data[-20_000] ^= 1
        mine[1].write_bytes(data)
        with opened(volumes[0].parent / "whole.tar") as bundle:
            written = split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT)
        assert [one.kept for one in written] == [True, False, True, False, False]
        assert [path.stat().st_ino == ino for path, ino in zip(mine, kept, strict=True)] == [
            *(True, False, True)
        ]
        assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == [
            path.read_bytes() for path in volumes
        ]

    def test_a16_volumes_of_another_bundle_are_made_again(
        self, volumes: list[Path], tmp_path: Path
    ) -> None:
        for number, volume in enumerate(volumes):
            shutil.copy(volumes[number - 1], tmp_path / volume.name)
        with opened(volumes[0].parent / "whole.tar") as bundle:
            written = split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT)
        assert not any(one.kept for one in written)
        assert all(one.sound for one in attempted(tmp_path)[0])


def test_a14_every_order_of_opening_is_one_set(volumes: list[Path]) -> None:
    for order in itertools.islice(itertools.permutations(volumes), 0, 120, 17):
        with open_bundles([*map(str, order)]) as (one,):
            assert verify_bundle(one).sound
            assert one.lost_volumes == ()


def test_a12_each_has_the_list_of_the_bundle(folder: Path, volumes: list[Path]) -> None:
    whole = list_of(folder / "whole.tar")
    assert all(list_of(volume) == whole for volume in volumes)
