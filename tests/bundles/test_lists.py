"""Lists of bundles and of volumes: any bytes, lists that lie, and how blobs are distributed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.bundles.volume_format import Volume, VolumeMember, encode_volume, parse_volume
from ocitool.bundles.volumes import Piece, plan_volumes
from ocitool.errors import IntegrityError, LimitExceeded, UsageError
from ocitool.oci import Digest
from ocitool.places.archive.bundle import (
    MOST_BLOBS,
    BundleBlob,
    BundleFile,
    BundleList,
    encode_list,
    parse_list,
)
from ocitool.places.archive.bundle_writer import BundleContents
from ocitool.places.archive.sections import LAYOUT
from tests.support.bundle_bytes import BLOCK, attempted, members, regions, verified
from tests.support.images import build_image
from tests.support.made_bundles import made

NAME = "docker.io/library/app:1"
IMAGE = build_image([{"a": b"1"}])
Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a small bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    return made(folder / "app.tar", {NAME: IMAGE}).read_bytes()


@pytest.fixture(scope="module")
def listed(bundle: bytes) -> bytes:
    """Return the bytes of its list."""
    return members(bundle)["ocitool-bundle.json"]


def twice(value: Any) -> None:
    value["blobs"].append(value["blobs"][-1])


def required_and_inside(value: Any) -> None:
    value["kind"] = "delta"
    blob = value["blobs"][-1]
    value["requires"] = [{"digest": blob["digest"], "size": blob["size"], "from": []}]


def required_by_a_full_one(value: Any) -> None:
    value["requires"] = [{"digest": f"sha256:{'0' * 64}", "size": 1, "from": []}]


def outside(value: Any) -> None:
    value["files"][1]["path"] = "../../etc/passwd"


def upwards(value: Any) -> None:
    value["blobs"][0]["digest"] = "sha256:../../../etc/passwd"


def negative(value: Any) -> None:
    value["blobs"][-1]["size"] = -1


def unlisted_position(value: Any) -> None:
    value["images"][0]["blobs"].append(len(value["blobs"]))


def unlisted_manifest(value: Any) -> None:
    value["images"][0]["digest"] = f"sha256:{'1' * 64}"


def manifest_as_layer(value: Any) -> None:
    for blob in value["blobs"]:
        blob["type"] = "layer"


def half_a_name(value: Any) -> None:
    value["images"][0]["name"] = "app"


def another_name(value: Any) -> None:
    value["images"][0]["name"] = "\x1b[31m../x"


def newer(value: Any) -> None:
    value["format"] = "ocitool-bundle/2"


def another_format(value: Any) -> None:
    value["format"] = "imgpkg/1"


class TestLies:
    @pytest.mark.parametrize(
        "change",
        [
            twice,
            required_and_inside,
            required_by_a_full_one,
            outside,
            upwards,
            negative,
            unlisted_position,
            unlisted_manifest,
            manifest_as_layer,
            half_a_name,
            another_name,
            newer,
            another_format,
        ],
    )
    def test_a3_a_list_that_contradicts_itself_is_refused(
        self, listed: bytes, change: Change
    ) -> None:
        value = json.loads(listed)
        change(value)
        with pytest.raises(IntegrityError):
            parse_list(json.dumps(value).encode())

    def test_a3_unknown_keys_and_minor_versions_are_taken(self, listed: bytes) -> None:
        value = json.loads(listed)
        value |= {"format": "ocitool-bundle/1.7", "recipe": {"x": 1}}
        value["blobs"][0]["recipe"] = "y"
        assert parse_list(json.dumps(value).encode()).blobs == parse_list(listed).blobs

    def test_a3_a_false_size_of_the_whole_is_told(self, bundle: bytes, tmp_path: Path) -> None:
        said = b'"size":%d}' % len(bundle)
        assert bundle.count(said) == 1
        path = tmp_path / "a.tar"
        path.write_bytes(bundle.replace(said, b'"size":%d}' % (len(bundle) + 1)))
        (damage,) = verified(path).damage
        assert damage.kind == "list"

    def test_a3_a_false_size_of_a_blob_is_told(self, bundle: bytes, tmp_path: Path) -> None:
        layer = IMAGE.layers[0]
        said = b'"%s","size":%d,"type":"layer"' % (str(layer.digest).encode(), layer.size)
        assert bundle.count(said) == 1
        lie = said.replace(b'"size":%d' % layer.size, b'"size":%d' % (layer.size + 1))
        path = tmp_path / "a.tar"
        path.write_bytes(bundle.replace(said, lie))
        report = verified(path)
        assert not report.sound
        assert str(layer.digest) in {blob.digest for blob in report.lost}

    @pytest.mark.parametrize("where", ["middle", "end"])
    def test_a3_a_member_that_is_not_listed_is_told(
        self, bundle: bytes, tmp_path: Path, where: str
    ) -> None:
        found = [*regions(bundle)]
        extra = bundle[found[0].begin : found[2].end]
        place = found[-4].begin if where == "middle" else found[-1].begin
        path = tmp_path / "a.tar"
        path.write_bytes(bundle[:place] + extra + bundle[place : len(bundle) - len(extra)])
        report = verified(path)
        assert {one.kind for one in report.damage} & {"header", "rest"}

    @pytest.mark.parametrize("count", [MOST_BLOBS // 20, MOST_BLOBS + 1])
    def test_a3_more_blobs_than_an_archive_has_members_are_refused(self, count: int) -> None:
        blobs = [
            {"digest": f"sha256:{number:064x}", "size": 1, "type": "layer"}
            for number in range(count)
        ]
        files = [{"path": "oci-layout", "size": 30, "sha256": hashlib.sha256(LAYOUT).hexdigest()}]
        value: dict[str, object] = {"format": "ocitool-bundle/1", "kind": "full", "files": files}
        value |= {"blobs": blobs, "requires": [], "images": [], "size": 10240}
        raw = json.dumps(value).encode()
        if count > MOST_BLOBS:
            with pytest.raises(LimitExceeded, match="200001 blobs, more than 200000"):
                parse_list(raw)
        else:
            assert len(parse_list(raw).blobs) == count


def test_a13_a_list_in_a_volume_of_another_bundle_is_damage(tmp_path: Path) -> None:
    """A volume whose list was exchanged, with all headers and checksums right."""
    one = made(tmp_path / "one.tar", {NAME: IMAGE}, volume_size=2 << 20)
    other = made(tmp_path / "two.tar", {NAME: build_image([{"b": b"2"}])}, volume_size=2 << 20)
    (first,) = one.parent.glob("one.v*.tar")
    (second,) = other.parent.glob("two.v*.tar")
    data, foreign = first.read_bytes(), second.read_bytes()
    mine, theirs = (members(raw)["ocitool-bundle.json"] for raw in (data, foreign))
    assert len(mine) == len(theirs)
    first.write_bytes(data.replace(mine, theirs))
    (_, (bad,)) = attempted(first)
    assert "ocitool-bundle.json" in bad.error.message


# Any bytes.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.binary(max_size=400) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a3_any_bytes_are_a_list_or_an_error(raw: bytes) -> None:
    try:
        parse_list(raw)
    except IntegrityError:
        return
    raise AssertionError("that was no list")


@given(st.data())
@settings(deadline=None)
def test_a3_any_change_of_a_value_gives_a_list_or_an_error(
    listed: bytes, data: st.DataObject
) -> None:
    value: Any = json.loads(listed)
    here: Any = value
    for _ in range(data.draw(st.integers(1, 4))):
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        parent, here = here, here[key]
        if not isinstance(here, dict | list):
            break
    parent[key] = data.draw(JSON | st.just("../x") | st.integers(-1, 1 << 70))
    try:
        found = parse_list(json.dumps(value).encode())
    except IntegrityError:
        return
    assert parse_list(encode_list(found)) == found
    found.roots(), found.digests(), found.needed_by()


HEX = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    """Return what a volume may say of itself."""
    entries = []
    for digits in draw(st.lists(HEX, max_size=4, unique=True)):
        size, offset = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40))
        digest = f"sha256:{draw(HEX)}"
        if draw(st.booleans()):
            whole = offset + size + draw(st.integers(1, 100))
            path = f"parts/sha256/{digits}/{offset}"
            entry = VolumeMember(path=path, size=size, digest=digest, offset=offset, of=whole)
        else:
            blob = f"sha256:{digits}"
            entry = VolumeMember(path=f"blobs/sha256/{digits}", size=size, digest=blob)
        entries.append(entry)
    count = draw(st.integers(1, 10_000))
    return Volume(
        format="ocitool-volume/1",
        bundle=f"sha256:{draw(HEX)}",
        volume=draw(st.integers(1, count)),
        of=count,
        members=tuple(entries),
        size=draw(st.integers(0, 1 << 50)),
    )


@given(volumes(), st.data())
def test_a13_what_a_volume_says_survives_and_any_changed_byte_is_seen(
    volume: Volume, data: st.DataObject
) -> None:
    raw = encode_volume(volume)
    assert parse_volume(raw, "x") == volume
    assert raw.isascii()
    json.loads(raw)
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(IntegrityError):
        parse_volume(bytes(changed), "x")


@given(JSON)
def test_a13_any_json_with_the_right_checksum_is_a_volume_or_an_error(value: object) -> None:
    body = json.dumps(value).encode()[:-1]
    raw = b'%s,"sha256":"%s"}' % (body, hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(IntegrityError):
        parse_volume(raw, "x")


# Distribution.

MEBIBYTE = 1 << 20


def contents_of(sizes: list[int]) -> BundleContents:
    """Return a bundle before it is written, with layers of so many bytes."""
    listing = BundleList(
        format="ocitool-bundle/1",
        kind="full",
        files=(BundleFile(path="oci-layout", size=30, sha256=hashlib.sha256(LAYOUT).hexdigest()),),
        blobs=tuple(
            BundleBlob(digest=f"sha256:{number:064x}", size=size, type="layer")
            for number, size in enumerate(sizes)
        ),
        requires=(),
        images=(),
        size=0,
    )
    raw = encode_list(listing)
    return BundleContents(listing=listing, raw=raw, files={"oci-layout": LAYOUT}, documents={})


def stand_ins(pieces: Any) -> list[Digest]:
    """Return some digest for each part."""
    return [Digest.of(piece.path.encode()) for piece in pieces]


@given(
    st.lists(
        st.integers(0, 5 * MEBIBYTE)
        | st.integers(0, 2000)
        | st.integers(1000, 1100).map(BLOCK.__mul__),
        max_size=12,
    ),
    st.integers(MEBIBYTE, 4 * MEBIBYTE),
    st.none() | st.binary(min_size=1, max_size=3000),
)
@settings(deadline=None)
def test_a12_no_volume_exceeds_the_limit_and_together_they_are_each_blob_once(
    sizes: list[int], limit: int, signature: bytes | None
) -> None:
    contents = contents_of(sizes)
    try:
        plans = plan_volumes(contents, signature, limit, stand_ins)
    except UsageError:
        assert limit < len(contents.raw) + MEBIBYTE + 64 * 1024
        return
    found: dict[Digest, list[Piece]] = {}
    for number, plan in enumerate(plans, start=1):
        assert (plan.volume.volume, plan.volume.of) == (number, len(plans))
        length = sum(section.length for section in plan.sections) + 2 * BLOCK
        assert length + -length % (20 * BLOCK) <= limit
        for piece in plan.pieces.values():
            found.setdefault(piece.blob.digest, []).append(piece)
        assert parse_volume(encode_volume(plan.volume), "x") == plan.volume
    for blob in contents.listing.blobs:
        position = 0
        for piece in found.pop(Digest.parse(blob.digest)):
            assert piece.offset == position
            position += piece.size
        assert position == blob.size
    assert found == {}
    smallest = sum(sizes)
    assert len(plans) <= 2 * -(-smallest // MEBIBYTE) + 1
