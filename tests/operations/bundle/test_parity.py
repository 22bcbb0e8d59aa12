"""A17: the parity volume gives back any one volume that is lost or damaged; and spare copies."""

import functools
import operator
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocitool.bundles.files import open_bundles
from ocitool.bundles.mapping import Below
from ocitool.bundles.volume_format import Covered, Volume, VolumeMember, encode_volume, parse_volume
from ocitool.errors import IntegrityError, MalformedDocument, NotFound, OcitoolError
from ocitool.oci import Reference
from ocitool.operations.bundle.load import load_into_layout, load_into_registry
from ocitool.operations.bundle.rejoin import join_bundle, split_bundle
from tests.support.bundle_bytes import attempted, flipped, members, regions, verified
from tests.support.images import build_image
from tests.support.made_bundles import connected, made, opened
from tests.support.registry import EmulatedRegistry
from tests.support.stores import assert_whole, checked, roots_of

RANDOM = random.Random(17)
LIMIT = (1 << 20) + (64 << 10)
REPOSITORY = "docker.io/team/app"
IMAGES = {
    f"{REPOSITORY}:{name}": build_image(
        [{name: RANDOM.randbytes(size)} for size in sizes], compression="none"
    )
    for name, sizes in {"large": [1_500_000], "one": [300_000, 200_000], "two": [400_000]}.items()
}
NAMES = tuple(sorted(IMAGES))
DIGESTS = {name: image.descriptor.digest for name, image in IMAGES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bundle, whole.tar, its volumes and their parity; not to change."""
    folder = tmp_path_factory.mktemp("parity")
    made(folder / "whole.tar", IMAGES)
    made(folder / "app.tar", IMAGES, volume_size=LIMIT, parity=True)
    return folder


@pytest.fixture
def volumes(folder: Path) -> list[Path]:
    """Return the volumes in their order, without the parity."""
    found = sorted(folder.glob("app.v*.tar"))
    assert len(found) == 3
    return found


@pytest.fixture
def parity(folder: Path) -> Path:
    """Return the parity volume."""
    return folder / "app.parity.tar"


def damaged(volume: Path, folder: Path, member: str = "") -> Path:
    """Write a volume with one changed bit into a folder: in a member, or in its largest one."""
    data = volume.read_bytes()
    contents = [one for one in regions(data) if one.kind == "content"]
    place = next((one for one in contents if one.member == member), None)
    place = place or max(contents, key=lambda one: one.size)
    (folder / volume.name).write_bytes(flipped(data, (place.begin + place.end) // 2))
    return folder / volume.name


def loaded(folder: Path, *files: Path) -> None:
    """Load volumes into a new store; all images of the bundle are there then, each whole."""
    with opened(*files) as bundle:
        load_into_layout(bundle, str(folder / "store"), is_store=True)
    assert roots_of(folder / "store") == DIGESTS
    assert_whole(folder / "store")


class TestA17Format:
    def test_it_is_the_exclusive_or_of_all_volumes(
        self, volumes: Sequence[Path], parity: Path
    ) -> None:
        content = members(parity.read_bytes())["parity"]
        assert len(content) == max(path.stat().st_size for path in volumes)
        found = functools.reduce(
            operator.xor, (int.from_bytes(path.read_bytes(), "little") for path in volumes)
        )
        assert content == found.to_bytes(len(content), "little")

    @pytest.mark.parametrize("limit", [LIMIT, LIMIT + 1, LIMIT + 10_239, 2_000_000])
    def test_no_file_exceeds_the_size_the_parity_neither(self, limit: int, tmp_path: Path) -> None:
        made(tmp_path / "app.tar", IMAGES, volume_size=limit, parity=True)
        sizes = [path.stat().st_size for path in tmp_path.glob("*.tar")]
        assert max(sizes) <= limit
        assert len(sizes) >= 3

    def test_one_volume_has_a_parity_too(self, tmp_path: Path) -> None:
        made(tmp_path / "app.tar", IMAGES, volume_size=20_000_000, parity=True)
        (tmp_path / "app.v01of01.tar").unlink()
        loaded(tmp_path, tmp_path / "app.parity.tar")

    def test_it_verifies_alone_and_gives_back_nothing(self, parity: Path) -> None:
        report = verified(parity)
        assert (report.damage, report.rebuilt_volumes) == ((), ())
        assert report.lost_volumes == (1, 2, 3)
        assert report.lost_images == NAMES

    def test_volumes_without_it_are_sound(self, volumes: Sequence[Path]) -> None:
        assert verified(*volumes).sound

    @pytest.mark.parametrize(
        "change",
        [
            {"covers": ()},
            {"covers": (Covered(size=5, sha256="0" * 64),)},
            {"covers": (Covered(size=9, sha256="0" * 64), Covered(size=5, sha256="0" * 64))},
            {"covers": (Covered(size=7, sha256="0" * 64), Covered(size=-5, sha256="0" * 64))},
            {"volume": 1},
            {"volume": -1},
            {"of": 0},
            {"members": ()},
            {"members": (VolumeMember(path="other", size=7, digest=f"sha256:{'0' * 64}"),)},
            {"members": (VolumeMember(path="parity", size=7, digest="no digest"),)},
        ],
    )
    def test_one_that_contradicts_itself_is_refused(self, change: dict[str, object]) -> None:
        sound: dict[str, object] = {
            "format": "ocitool-volume/1",
            "bundle": f"sha256:{'1' * 64}",
            "volume": 0,
            "of": 2,
            "members": (VolumeMember(path="parity", size=7, digest=f"sha256:{'0' * 64}"),),
            "size": 10_240,
            "covers": (Covered(size=7, sha256="0" * 64), Covered(size=5, sha256="0" * 64)),
        }
        assert parse_volume(encode_volume(Volume(**sound)), "x").is_parity  # type: ignore[arg-type]
        with pytest.raises(MalformedDocument if "digest" not in str(change) else OcitoolError):
            parse_volume(encode_volume(Volume(**{**sound, **change})), "x")  # type: ignore[arg-type]


class TestA17Lost:
    @pytest.mark.parametrize("lost", range(3))
    def test_any_one_is_given_back(
        self, lost: int, volumes: Sequence[Path], parity: Path, folder: Path, tmp_path: Path
    ) -> None:
        rest = [parity, *(path for path in volumes if path != volumes[lost])]
        report = verified(*rest)
        assert (report.lost_volumes, report.rebuilt_volumes) == ((lost + 1,), (lost + 1,))
        assert (report.lost, report.damage, report.whole) == ((), (), NAMES)
        assert not report.sound
        loaded(tmp_path, *rest)
        with opened(*rest) as bundle:
            join_bundle(bundle, str(tmp_path / "joined.tar"))
            split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT, parity=True)
        assert (tmp_path / "joined.tar").read_bytes() == (folder / "whole.tar").read_bytes()
        for path in (*volumes, parity):
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()

    def test_two_are_not(self, volumes: Sequence[Path], parity: Path, tmp_path: Path) -> None:
        report = verified(volumes[0], parity)
        assert (report.lost_volumes, report.rebuilt_volumes) == ((2, 3), ())
        with opened(volumes[0], parity) as bundle, pytest.raises(NotFound, match="volumes 2, 3 of"):
            join_bundle(bundle, str(tmp_path / "joined.tar"))

    def test_the_parity_of_other_volumes_gives_back_nothing(
        self, volumes: Sequence[Path], tmp_path: Path
    ) -> None:
        # The same bundle in as many volumes, cut elsewhere.
        made(tmp_path / "app.tar", IMAGES, volume_size=LIMIT + 102_400, parity=True)
        assert len([*tmp_path.glob("app.v*.tar")]) == 3
        report = verified(volumes[0], volumes[1], tmp_path / "app.parity.tar")
        assert (report.lost_volumes, report.rebuilt_volumes) == ((3,), ())


class TestA17Damaged:
    @pytest.mark.parametrize("bad", range(3))
    @pytest.mark.parametrize(
        "member", ["", "ocitool-volume.json", "ocitool-bundle.json", "bundle/index.json"]
    )
    def test_any_one_is_given_back(
        self,
        bad: int,
        member: str,
        volumes: Sequence[Path],
        parity: Path,
        folder: Path,
        tmp_path: Path,
    ) -> None:
        files = [parity, *volumes]
        files[bad + 1] = damaged(volumes[bad], tmp_path, member)
        (report,), unreadable = attempted(*files)
        assert report.rebuilt_volumes == (bad + 1,)
        assert len(report.damage) + len(unreadable) == 1
        assert (report.lost, report.whole) == ((), NAMES)
        readable = [path for path in files if str(path) not in [one.path for one in unreadable]]
        with opened(*readable) as bundle:
            join_bundle(bundle, str(tmp_path / "joined.tar"))
        assert (tmp_path / "joined.tar").read_bytes() == (folder / "whole.tar").read_bytes()
        loaded(tmp_path, *readable)

    def test_one_that_is_cut_is_given_back(
        self, volumes: Sequence[Path], parity: Path, tmp_path: Path
    ) -> None:
        data = volumes[1].read_bytes()
        (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
        files = [volumes[0], tmp_path / "cut.tar", volumes[2], parity]
        report = verified(*files)
        assert (report.rebuilt_volumes, report.lost, report.whole) == ((2,), (), NAMES)
        loaded(tmp_path, *files)

    def test_a_damaged_parity_is_told_and_harms_nothing(
        self, volumes: Sequence[Path], parity: Path, tmp_path: Path
    ) -> None:
        bad = damaged(parity, tmp_path)
        report = verified(*volumes, bad)
        assert [(one.member, one.kind) for one in report.damage] == [("parity", "content")]
        assert (report.rebuilt_volumes, report.lost) == ((), ())
        loaded(tmp_path, *volumes, bad)

    def test_what_a_damaged_parity_gives_back_is_used_where_it_is_sound(
        self, volumes: Sequence[Path], parity: Path, tmp_path: Path
    ) -> None:
        # The flipped bit lies in one layer of volume 3, and the others come back whole.
        data = parity.read_bytes()
        layer = next(r for r in regions(volumes[2].read_bytes()) if r.size > 150_000)
        begin = next(r.begin for r in regions(data) if r.member == "parity" and r.kind == "content")
        (tmp_path / "parity.tar").write_bytes(flipped(data, begin + layer.begin + 1000))
        files = [*volumes[:2], tmp_path / "parity.tar"]
        report = verified(*files)
        assert (report.lost_volumes, report.rebuilt_volumes) == ((3,), ())
        assert [f"sha256/{blob.digest[7:]}" in layer.member for blob in report.lost] == [True]
        with opened(*files) as bundle:
            result = load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert result.check.lost_images == report.lost_images
        assert checked(tmp_path / "store").problems == ()

    def test_a_lost_one_beside_a_damaged_copy_of_another(
        self, volumes: Sequence[Path], parity: Path, tmp_path: Path
    ) -> None:
        bad = damaged(volumes[0], tmp_path)
        for order in ([bad, *volumes[:2]], [*volumes[:2], bad]):
            report = verified(*order, parity)
            assert (report.rebuilt_volumes, report.lost) == ((3,), ())
            loaded(tmp_path, *order, parity)
            shutil.rmtree(tmp_path / "store")


class TestA14SpareCopies:
    """A sound copy is enough, whatever is damaged beside it."""

    @pytest.mark.parametrize("member", ["", "document"])
    def test_a14_a_damaged_copy_given_first_does_no_harm(
        self, member: str, volumes: Sequence[Path], folder: Path, tmp_path: Path
    ) -> None:
        path = f"blobs/sha256/{DIGESTS[NAMES[0]].hex}" if member else ""
        bad = damaged(volumes[0], tmp_path, path)
        for order in ([bad, *volumes], [*volumes, bad]):
            loaded(tmp_path, *order)
            shutil.rmtree(tmp_path / "store")
            with opened(*order) as bundle:
                join_bundle(bundle, str(tmp_path / "joined.tar"))
            assert (tmp_path / "joined.tar").read_bytes() == (folder / "whole.tar").read_bytes()

    def test_a14_into_a_registry_as_well(self, volumes: Sequence[Path], tmp_path: Path) -> None:
        bad = damaged(volumes[0], tmp_path)
        failures: list[tuple[Reference, OcitoolError]] = []
        with (
            EmulatedRegistry() as registry,
            connected() as registries,
            opened(bad, *volumes) as bundle,
        ):
            result = load_into_registry(
                bundle,
                Below.parse(f"{registry.host}/site"),
                registries,
                on_failure=lambda *one: failures.append(one),
            )
            assert failures == []
            assert len(result.pushed) == len(NAMES)

    def test_a14_damage_without_a_spare_costs_its_images_alone(
        self, volumes: Sequence[Path], tmp_path: Path
    ) -> None:
        bad = damaged(volumes[2], tmp_path)
        report = verified(*volumes[:2], bad)
        assert len(report.lost_images) == 1
        with opened(*volumes[:2], bad) as bundle:
            result = load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert result.check.lost_images == report.lost_images
        assert set(roots_of(tmp_path / "store")) == set(NAMES) - set(report.lost_images)

    def test_a14_a_single_file_has_none(self, folder: Path, tmp_path: Path) -> None:
        bad = damaged(folder / "whole.tar", tmp_path)
        with opened(bad) as bundle, pytest.raises(IntegrityError):
            load_into_layout(bundle, str(tmp_path / "store"), is_store=True)
        assert roots_of(tmp_path / "store") == {}


class TestA17GoingOn:
    def test_it_is_kept_where_it_is_whole(
        self, volumes: Sequence[Path], parity: Path, folder: Path, tmp_path: Path
    ) -> None:
        for path in (*volumes, parity):
            shutil.copy(path, tmp_path)
        with opened(folder / "whole.tar") as bundle:
            written = split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT, parity=True)
        assert [one.kept for one in written] == [True] * 4
        damaged(parity, tmp_path)
        with opened(folder / "whole.tar") as bundle:
            written = split_bundle(bundle, str(tmp_path / "app.tar"), LIMIT, parity=True)
        assert [one.kept for one in written] == [True, True, True, False]
        assert (tmp_path / parity.name).read_bytes() == parity.read_bytes()


def test_a17_of_two_sets_in_one_folder_each_has_its_own(
    volumes: Sequence[Path], parity: Path, tmp_path: Path
) -> None:
    for path in (volumes[0], volumes[2], parity):
        shutil.copy(path, tmp_path)
    other = {f"{REPOSITORY}:other": build_image([{"other": RANDOM.randbytes(1_500_000)}])}
    made(tmp_path / "other.tar", other, volume_size=LIMIT, parity=True)
    (tmp_path / "other.v01of02.tar").unlink()
    with open_bundles([str(tmp_path)]) as found:
        assert sorted(one.rebuilt_volumes for one in found) == [(1,), (2,)]
