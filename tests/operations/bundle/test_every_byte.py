"""A changed byte of a bundle, any one, is found and told by its member; so is a cut anywhere."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.bundles.head import NotABundle
from ocitool.errors import IntegrityError
from ocitool.oci import Digest
from tests.support.bundle_bytes import BLOCK, Region, attempted, flipped, regions, verified
from tests.support.images import build_artifact, build_image
from tests.support.made_bundles import made, opened

LIST, VOLUME = "ocitool-bundle.json", "ocitool-volume.json"
NOISE = random.Random(3).randbytes(1300 << 10)
LIMIT = (1 << 20) + (40 << 10)
IMAGE = build_image([{"a": b"1"}])
NAME = "docker.io/library/app:1"
HEAD = (LIST, VOLUME)
KINDS = ("header", "content", "padding", "rest")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a small bundle: an image of one layer."""
    return made(tmp_path / "app.tar", {NAME: IMAGE})


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a volume with the documents of a bundle and the last 300 bytes of a large blob."""
    first, _ = cut_in_two(tmp_path / "first", len(NOISE))
    (part,) = (one for one in regions(first.read_bytes()) if is_part(one))
    _, second = cut_in_two(tmp_path / "second", part.size + 300)
    return second


def cut_in_two(folder: Path, size: int) -> list[Path]:
    """Return two volumes of a bundle with a blob of so many bytes."""
    folder.mkdir()
    artifact = build_artifact(None, NOISE[:size])
    made(folder / "app.tar", {NAME: artifact}, volume_size=LIMIT)
    return sorted(folder.glob("*.v*.tar"))


def is_part(region: Region) -> bool:
    """Tell whether these are bytes of a part."""
    return region.member.startswith("parts/") and region.kind == "content"


def turns(found: list[Region], step: int) -> Iterator[dict[Region, int]]:
    """Yield positions of bytes to change, one in each region at a time, until each had its turn."""
    for turn in range(0, max(one.size for one in found), step):
        yield {one: one.begin + turn for one in found if turn < one.size}


def assert_each_is_told(path: Path, found: list[Region], step: int = 1) -> int:
    """Change each byte of some regions once; fail unless each is told by member and kind.

    With a `step` each `step`th byte. Return how many were changed.
    """
    data = path.read_bytes()
    changed = 0
    for positions in turns(found, step):
        path.write_bytes(flipped(data, *positions.values()))
        report = verified(path)
        assert not report.sound
        told = {(one.member, one.kind) for one in report.damage if one.kind in KINDS}
        assert told == {(one.member, one.kind) for one in positions}
        changed += len(positions)
    path.write_bytes(data)
    assert verified(path).damage == ()
    return changed


def assert_each_makes_it_unreadable(path: Path, found: list[Region], step: int = 1) -> int:
    """Change each byte of some regions, alone; fail unless the member is named each time."""
    data = path.read_bytes()
    for one in found:
        for position in range(one.begin, one.end, step):
            path.write_bytes(flipped(data, position))
            with pytest.raises(IntegrityError, match=one.member), opened(path):
                pass
    path.write_bytes(data)
    return sum(one.size for one in found)


class TestEveryByte:
    def test_a3_of_a_bundle_but_its_list(self, bundle: Path) -> None:
        found = [*regions(bundle.read_bytes())]
        assert found[-1].end == bundle.stat().st_size
        listed = [one for one in found if one.member == LIST]
        others = [one for one in found if one.member != LIST]
        changed = assert_each_is_told(bundle, others)
        changed += assert_each_makes_it_unreadable(
            bundle, [one for one in listed if one.kind != "content"]
        )
        of_list = sum(one.size for one in listed if one.kind == "content")
        assert changed == bundle.stat().st_size - of_list

    @pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])
    def test_a3_of_a_volume(self, volume: Path, step: int) -> None:
        found = [*regions(volume.read_bytes())]
        assert [one.size for one in found if is_part(one)] == [300]
        head = [one for one in found if one.member in HEAD]
        # Behind the two blocks that end a tar there are only more zeros.
        rest = found[-1]._replace(end=found[-1].begin + 2 * BLOCK)
        others = [one for one in found[:-1] if one.member not in HEAD]
        assert_each_is_told(volume, [*others, rest], step)
        assert_each_makes_it_unreadable(volume, head, step)

    def test_a3_a_changed_layer_names_the_images_that_need_it(self, bundle: Path) -> None:
        layer = IMAGE.layers[0].digest
        data = bundle.read_bytes()
        (place,) = (
            one.begin
            for one in regions(data)
            if one.member == f"blobs/sha256/{layer.hex}" and one.kind == "content"
        )
        bundle.write_bytes(flipped(data, place))
        report = verified(bundle)
        (damage,) = report.damage
        assert (damage.member, damage.images) == (f"blobs/sha256/{layer.hex}", (NAME,))
        assert [blob.digest for blob in report.lost] == [str(layer)]
        assert (report.lost_images, report.whole) == ((NAME,), ())
        assert [blob.digest for blob in report.need.blobs] == [str(layer)]


class TestTheList:
    @pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])
    def test_a3_one_bit_of_it_is_seen_or_changes_no_blob(self, bundle: Path, step: int) -> None:
        """What the list says of images is protected by a signature alone; its blobs by the tar."""
        data = bundle.read_bytes()
        (listed,) = (one for one in regions(data) if one.member == LIST and one.kind == "content")
        with opened(bundle) as one:
            original = one.head.listing
        for position in range(listed.begin, listed.end, step):
            bundle.write_bytes(flipped(data, position))
            (reports, bad) = attempted(bundle)
            if bad or not reports[0].sound:
                continue
            with opened(bundle) as one:
                changed = one.head.listing
            assert (changed.files, changed.size) == (original.files, original.size)
            blobs = [(blob.digest, blob.size) for blob in changed.blobs]
            assert blobs == [(blob.digest, blob.size) for blob in original.blobs]
            assert {image.digest for image in changed.images} == {str(IMAGE.descriptor.digest)}


class TestCut:
    @pytest.mark.parametrize("which", ["bundle", "volume"])
    def test_a13_at_each_boundary_in_each_header_and_one_byte_short(
        self, which: str, request: pytest.FixtureRequest
    ) -> None:
        path: Path = request.getfixturevalue(which)
        data = path.read_bytes()
        found = [*regions(data)]
        begins = {one.begin for one in found} | {one.begin + BLOCK // 2 for one in found}
        for end in sorted({1, 5, 18, *begins, *(one.end - 1 for one in found)} - {0, len(data)}):
            path.write_bytes(data[:end])
            reports, bad = attempted(path)
            assert bad or any(one.kind == "cut" for one in reports[0].damage), end
            assert all(isinstance(one.error, IntegrityError) for one in bad)

    def test_a13_an_empty_file_is_cut_and_another_is_no_bundle(self, tmp_path: Path) -> None:
        (tmp_path / "empty.tar").write_bytes(b"")
        (_, (bad,)) = attempted(tmp_path / "empty.tar")
        assert isinstance(bad.error, IntegrityError)
        (tmp_path / "other.tar").write_bytes(b"x" * 4096)
        (_, (bad,)) = attempted(tmp_path / "other.tar")
        assert isinstance(bad.error, NotABundle)

    def test_a13_blobs_before_the_cut_are_whole(self, bundle: Path) -> None:
        data = bundle.read_bytes()
        *_, last = (one for one in regions(data) if one.kind == "content")
        bundle.write_bytes(data[: last.end - 1])
        report = verified(bundle)
        assert [blob.digest for blob in report.lost] == [digest_of(last.member)]
        kinds = [(one.member, one.kind) for one in report.damage]
        assert kinds == [(last.member, "cut"), ("", "cut")]


def digest_of(path: str) -> str:
    """Return the digest of a blob by its path."""
    _, algorithm, digits = path.split("/")
    return str(Digest(algorithm, digits))
