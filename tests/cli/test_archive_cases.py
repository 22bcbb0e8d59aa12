"""Archives from the field that other readers take wrongly, as a user sees them."""

import json
import tarfile
from pathlib import Path

import pytest

from ocitool.oci import Digest
from ocitool.oci.mediatype import BUILDKIT_CACHE, OCI_INDEX
from tests.support.command import FIXTURES, Command
from tests.support.images import (
    BuiltImage,
    as_json,
    blob_path,
    build_image,
    describe,
    index_file,
    layout_files,
    named_entry,
    tar_of,
    write_files,
    write_layout,
)
from tests.support.stores import written

CASES = FIXTURES / "cases"
SAME_NAME = CASES / "04b-index-is-image-samename.tar"
HAULER = CASES / "11-hauler-store.tar"
FALSE_DIGEST = CASES / "podman43-digest-oci-archive.tar"
UPPER = CASES / "23-name-upper.tar"
MADE = "sha256:2989bfd4b0d30907ae1e41d12600d58db6b8ce2bdbd526e8e393f830b72b6312"
ARM64 = "sha256:2443eb73d6cb8bab5b6ba4d5abf520f19dd28c21ae0f1bf0f5e5ae3fca1cdf84"
NAME = "docker.io/library/a:1"
ONE = build_image([{"a": b"1"}, {"b": b"2"}])
TWO = build_image([{"c": b"3"}])


def test_an_image_with_a_false_diff_id_was_built_wrong(ocitool: Command, tmp_path: Path) -> None:
    false = f"sha256:{'0' * 64}"
    image = build_image([{"a": b"1"}], config={"rootfs": {"type": "layers", "diff_ids": [false]}})
    layout = write_layout(tmp_path / "layout", {"1": image})
    done = ocitool("verify", f"oci:{layout}")
    assert done.code == 3
    assert f"not to its diff ID {false}" in done.out
    assert "the image was built wrong" in done.err
    assert "--repair-from" not in done.err
    blob = layout / "blobs/sha256" / image.layers[0].digest.hex
    blob.write_bytes(b"?" * image.layers[0].size)
    assert "--repair-from" in ocitool("verify", f"oci:{layout}").err


def unpacked(archive: Path, folder: Path) -> str:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return f"oci:{folder}"


@pytest.fixture(params=["archive", "layout"])
def same_name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "archive":
        return f"oci-archive:{SAME_NAME}"
    return unpacked(SAME_NAME, tmp_path / "layout")


class TestOneNameForSeveralPlatforms:
    def test_it_is_one_image_and_its_new_digest_is_told(
        self, ocitool: Command, same_name: str
    ) -> None:
        done = ocitool("load", same_name)
        assert (done.code, done.out) == (0, "Loaded image: flat:1\n")
        assert MADE in done.err
        assert ocitool("verify").code == 0

    def test_verify_takes_it(self, ocitool: Command, same_name: str) -> None:
        done = ocitool("verify", same_name)
        assert done.code == 0
        assert MADE in done.err

    def test_a_platform_keeps_its_digest(self, ocitool: Command, same_name: str) -> None:
        done = ocitool("load", "--platform", "linux/arm64", "-q", same_name)
        assert done.out.strip() == ARM64
        assert MADE not in done.err

    def test_a_digest_takes_one_of_them(self, ocitool: Command, same_name: str) -> None:
        assert ocitool("load", "-q", f"{same_name}@{ARM64}").out.strip() == ARM64

    def test_a_digest_may_follow_the_path_of_a_file(self, ocitool: Command) -> None:
        assert ocitool("load", "-q", f"{SAME_NAME}@{ARM64}").out.strip() == ARM64

    def test_it_can_be_looked_at_and_copied(
        self, ocitool: Command, same_name: str, tmp_path: Path
    ) -> None:
        assert MADE in ocitool("inspect", same_name).out
        assert ocitool("copy", same_name, f"oci:{tmp_path}/out:1").code == 0
        assert ocitool("verify", f"oci:{tmp_path}/out").code == 0


class TestAnAmbiguousName:
    @pytest.fixture(params=["archive", "layout"])
    def ambiguous(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        files = layout_files({NAME: ONE, "other:1": TWO})
        files["index.json"] = index_file(
            [named_entry(image.descriptor, NAME) for image in (ONE, TWO)]
        )
        if request.param == "archive":
            return f"oci-archive:{written(tmp_path / 'x.tar', tar_of(files))}"
        return f"oci:{write_files(tmp_path / 'layout', files)}"

    def test_it_is_refused_with_the_digests(self, ocitool: Command, ambiguous: str) -> None:
        done = ocitool("load", ambiguous)
        assert done.code == 6
        assert str(ONE.descriptor.digest) in done.err
        assert str(TWO.descriptor.digest) in done.err
        assert ocitool("verify", ambiguous).code == 3

    def test_a_digest_decides(self, ocitool: Command, ambiguous: str) -> None:
        digest = str(TWO.descriptor.digest)
        assert ocitool("load", "-q", f"{ambiguous}@{digest}").out.strip() == digest

    def test_a_digest_and_a_tag_decide(self, ocitool: Command, ambiguous: str) -> None:
        done = ocitool("load", "--tag", "b:2", f"{ambiguous}@{TWO.descriptor.digest}")
        assert done.out == "Loaded image: b:2\n"

    def test_a_platform_decides(self, ocitool: Command, tmp_path: Path) -> None:
        other = build_image([{"c": b"3"}], platform="linux/arm64")
        files = layout_files({NAME: ONE, "other:1": other})
        bare = [named_entry(image.descriptor, NAME) for image in (ONE, other)]
        for entry in bare:
            entry.pop("platform", None)
        files["index.json"] = index_file(bare)
        path = written(tmp_path / "x.tar", tar_of(files))
        assert ocitool("load", path).code == 6
        done = ocitool("load", "--platform", "linux/arm64", "-q", path)
        assert done.out.strip() == str(other.descriptor.digest)


class TestAttachedUnderTheSameName:
    def test_signatures_and_attestations_live_with_their_image(self, ocitool: Command) -> None:
        done = ocitool("load", HAULER)
        assert (done.code, done.out) == (0, "Loaded image: busybox:latest\n")
        blobs = sorted((ocitool.store / "blobs" / "sha256").iterdir())
        assert len(blobs) == 10
        assert ocitool("gc").code == 0
        assert sorted((ocitool.store / "blobs" / "sha256").iterdir()) == blobs

    def test_a_tag_gets_through(self, ocitool: Command) -> None:
        assert ocitool("load", "--tag", "b:2", HAULER).out == "Loaded image: b:2\n"

    def test_a_layout_is_taken_in_the_same_way(self, ocitool: Command, tmp_path: Path) -> None:
        done = ocitool("load", unpacked(HAULER, tmp_path / "layout"))
        assert (done.code, done.out) == (0, "Loaded image: busybox:latest\n")


class TestNamesThatAreNot:
    def test_a_false_digest_is_dropped_with_a_remark(self, ocitool: Command) -> None:
        done = ocitool("load", FALSE_DIGEST)
        assert done.code == 0
        assert "a name is left out: '127.0.0.1:5931/base@sha256:0282" in done.err
        assert "127.0.0.1" not in ocitool("images", "--all").out

    def test_verify_flags_one_in_the_store_and_nothing_offers_it(self, ocitool: Command) -> None:
        ocitool("load", "--tag", "a:1", FALSE_DIGEST)
        name = f"docker.io/library/a@{Digest.of(b'x')}"
        index = ocitool.store / "index.json"
        index.write_text(index.read_text().replace(NAME, name))
        assert f"name: {name} is the name of image" in ocitool("verify").out
        done = ocitool("inspect", name)
        assert done.code == 4
        assert "did you mean" not in done.err

    def test_an_upper_case_name_is_left_out_and_told(self, ocitool: Command) -> None:
        done = ocitool("load", UPPER)
        assert done.code == 0
        assert "'Foo/Bar:1': the repository 'Bar' must be lower case" in done.err

    def test_the_rule_is_the_same_for_annotations(self, ocitool: Command, tmp_path: Path) -> None:
        files = layout_files({"foo/bar:1": ONE})
        files["index.json"] = files["index.json"].replace(b"foo/bar", b"Foo/Bar")
        files["index.json"] = files["index.json"].replace(b"docker.io/", b"")
        done = ocitool("load", written(tmp_path / "x.tar", tar_of(files)))
        assert done.code == 0
        assert "'Foo/Bar:1': the repository 'Bar' must be lower case" in done.err

    def test_a_tag_replaces_it(self, ocitool: Command) -> None:
        assert ocitool("load", "--tag", "foo/bar:1", UPPER).out == "Loaded image: foo/bar:1\n"


def with_layer_type(media_type: str, *, absent: bool = False) -> bytes:
    """Return an OCI archive of an image whose second layer has another media type."""
    document = json.loads(ONE.blobs[ONE.descriptor.digest])
    document["layers"][1]["mediaType"] = media_type
    raw = as_json(document)
    digest = Digest.of(raw)
    left_out = [ONE.descriptor.digest, *([ONE.layers[1].digest] if absent else [])]
    files = layout_files({NAME: ONE}, without=left_out)
    descriptor = describe(raw, ONE.descriptor.media_type)
    files["index.json"] = index_file([named_entry(descriptor, NAME)])
    return tar_of(files | {f"blobs/sha256/{digest.hex}": raw})


def test_an_encrypted_layer_is_called_encrypted(ocitool: Command, tmp_path: Path) -> None:
    archive = with_layer_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    assert ocitool("load", written(tmp_path / "x.tar", archive)).code == 0
    assert ocitool("verify").code == 0
    done = ocitool("save", "--type", "docker", "a:1", "-o", tmp_path / "out.tar")
    assert done.code == 2
    assert f"layer 2 of {NAME} is encrypted" in done.err


def test_an_absent_foreign_layer_is_neither_stored_nor_named_by_an_index(
    ocitool: Command, tmp_path: Path
) -> None:
    media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    archive = written(tmp_path / "x.tar", with_layer_type(media_type, absent=True))
    verified = ocitool("verify", archive)
    assert verified.code == 0
    assert f"not here: {ONE.layers[1].digest}, a foreign layer" in verified.err
    shown = ocitool("inspect", "--json", archive).json
    assert isinstance(shown, dict)
    manifest = shown["size"] - ONE.config.size - ONE.layers[0].size
    assert 0 < manifest < 1500
    ocitool("load", archive)
    done = ocitool("save", "--type", "docker", "a:1", "-o", tmp_path / "out.tar")
    assert done.code == 4
    assert "is a foreign layer, which is not stored here" in done.err


def test_a_cache_of_buildkit_is_said_to_be_one(ocitool: Command, tmp_path: Path) -> None:
    layer, config = ONE.blobs[ONE.layers[0].digest], b'{"layers":[]}'
    entries = [describe(layer, ONE.layers[0].media_type), describe(config, BUILDKIT_CACHE)]
    raw = as_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry.to_json() for entry in entries],
        }
    )
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": index_file([named_entry(describe(raw, OCI_INDEX), "latest")]),
        **{blob_path(describe(data, "")): data for data in (raw, layer, config)},
    }
    archive = written(tmp_path / "x.tar", tar_of(files))
    assert "latest is a cache that BuildKit exported" in ocitool("load", archive).err
    assert "but a cache that BuildKit exported" in ocitool("inspect", archive).err


def test_a_path_in_a_document_stands_apart_from_the_name_of_the_file(
    ocitool: Command, tmp_path: Path
) -> None:
    path = written(tmp_path / "x.tar", tar_of({"manifest.json": b'[{"Layers":[]}]'}))
    assert "x.tar': [0].config is missing" in ocitool("load", path).err


def test_the_time_that_go_writes_for_none_is_not_set(ocitool: Command, tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}], config={"created": "0001-01-01T00:00:00Z"})
    assert _inspected(ocitool, tmp_path, image)["created"] is None


def test_a_platform_that_says_nothing_is_unknown(ocitool: Command, tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}], config={"os": "", "architecture": ""})
    assert _inspected(ocitool, tmp_path, image)["platform"] == "unknown"


def _inspected(ocitool: Command, tmp_path: Path, image: BuiltImage) -> dict[str, object]:
    files = layout_files({NAME: image})
    bare = named_entry(image.descriptor, NAME)
    bare.pop("platform", None)
    files["index.json"] = index_file([bare])
    shown = ocitool("inspect", "--json", written(tmp_path / "x.tar", tar_of(files))).json
    assert isinstance(shown, dict)
    return shown
