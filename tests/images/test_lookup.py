"""Finding an image by what a person types."""

import json
from pathlib import Path

import pytest

from ocitool.errors import NotFound, Refused
from ocitool.images.lookup import find_image, full_name
from ocitool.places.layout import Layout, untag
from tests.support.images import build_artifact, build_image, build_index, write_layout
from tests.support.layouts import A, bring, image, store

IMAGE = image("a")
OTHER = image("b")
ARM = image("arm", platform="linux/arm64")
DIGEST = str(IMAGE.descriptor.digest)


def twins(digits: int) -> tuple[str, str]:
    """Return two texts whose images have config digests with the same first digits."""
    seen: dict[str, str] = {}
    for number in range(100_000):
        text = str(number)
        start = image(text).config.digest.hex[:digits]
        if start in seen:
            return seen[start], text
        seen[start] = text
    raise AssertionError("no two images are alike")


class TestNames:
    @pytest.mark.parametrize(
        "text", ["a:1", "library/a:1", "docker.io/a:1", "docker.io/library/a:1", A]
    )
    def test_full_and_short_forms_find_one_image(self, tmp_path: Path, text: str) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            found = find_image(layout, text)
        assert found.root.descriptor.digest == IMAGE.descriptor.digest
        assert found.name == A

    def test_no_tag_means_latest(self, tmp_path: Path) -> None:
        with store(tmp_path, a=OTHER) as layout:
            bring(layout, IMAGE, "docker.io/library/a:latest")
            assert find_image(layout, "a").root.descriptor.digest == IMAGE.descriptor.digest

    def test_a_registry_with_a_port_is_a_part_of_the_name(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, "localhost:5000/a:1")
            assert find_image(layout, "localhost:5000/a:1").name == "localhost:5000/a:1"
            with pytest.raises(NotFound):
                find_image(layout, "a:1")

    def test_the_root_keeps_all_its_names(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, "docker.io/library/b:1")
            assert find_image(layout, "b:1").root.names == (A, "docker.io/library/b:1")

    def test_a_name_of_hex_digits_is_a_name_first(self, tmp_path: Path) -> None:
        name = f"docker.io/library/{OTHER.config.digest.hex[:12]}:latest"
        with store(tmp_path, b=OTHER) as layout:
            bring(layout, IMAGE, name)
            found = find_image(layout, OTHER.config.digest.hex[:12])
        assert (found.root.descriptor.digest, found.name) == (IMAGE.descriptor.digest, name)

    def test_a_full_name_is_what_docker_makes_of_a_short_one(self) -> None:
        assert full_name("a") == "docker.io/library/a:latest"
        assert full_name("UPPER") is None


class TestNamesWithADigest:
    @pytest.mark.parametrize("text", [f"a@{DIGEST}", f"a:1@{DIGEST}", f"{A}@{DIGEST}"])
    def test_a_name_and_its_digest_find_the_image(self, tmp_path: Path, text: str) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            assert find_image(layout, text).root.descriptor.digest == IMAGE.descriptor.digest

    def test_the_digest_decides_and_not_the_tag(self, tmp_path: Path) -> None:
        with store(tmp_path, a=OTHER) as layout:
            bring(layout, IMAGE, "docker.io/library/a:old")
            found = find_image(layout, f"a:1@{DIGEST}")
        assert found.root.descriptor.digest == IMAGE.descriptor.digest
        assert found.name is None

    @pytest.mark.parametrize("text", [f"other@{DIGEST}", f"other:1@{DIGEST}"])
    def test_the_digest_of_another_repository_is_not_found(self, tmp_path: Path, text: str) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound):
            find_image(layout, text)

    def test_an_image_without_a_name_is_found_by_any(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            assert find_image(layout, f"x@{DIGEST}").root.descriptor.digest == (
                IMAGE.descriptor.digest
            )

    def test_a_name_that_is_pinned_to_a_digest_is_a_name(self, tmp_path: Path) -> None:
        pinned = f"docker.io/library/a@{DIGEST}"
        with store(tmp_path) as layout:
            bring(layout, IMAGE, pinned)
            assert find_image(layout, f"a@{DIGEST}").name == pinned


class TestIDs:
    @pytest.mark.parametrize("digits", [4, 12, 64])
    def test_the_start_of_the_config_digest_finds_the_image(
        self, tmp_path: Path, digits: int
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            found = find_image(layout, IMAGE.config.digest.hex[:digits])
        assert found.root.descriptor.digest == IMAGE.descriptor.digest
        assert found.name is None

    @pytest.mark.parametrize("digits", [4, 12, 64])
    def test_the_start_of_the_manifest_digest_finds_the_image(
        self, tmp_path: Path, digits: int
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            found = find_image(layout, IMAGE.descriptor.digest.hex[:digits])
        assert found.root.descriptor.digest == IMAGE.descriptor.digest

    @pytest.mark.parametrize("digits", [4, 64])
    def test_an_id_may_name_its_algorithm(self, tmp_path: Path, digits: int) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            text = f"sha256:{IMAGE.config.digest.hex[:digits]}"
            assert find_image(layout, text).root.descriptor.digest == IMAGE.descriptor.digest

    def test_another_algorithm_is_another_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound):
            find_image(layout, f"sha512:{IMAGE.config.digest.hex[:12]}")

    def test_three_digits_are_no_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound):
            find_image(layout, IMAGE.config.digest.hex[:3])

    def test_digits_from_the_middle_are_no_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound):
            find_image(layout, IMAGE.config.digest.hex[1:13])

    def test_upper_case_digits_are_no_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound):
            find_image(layout, IMAGE.config.digest.hex.upper())

    def test_an_id_of_one_platform_is_that_platform_and_not_its_index(self, tmp_path: Path) -> None:
        index = build_index([IMAGE, ARM])
        with store(tmp_path, a=index) as layout:
            for built in (IMAGE, ARM):
                for text in (built.config.digest.hex[:12], str(built.descriptor.digest)):
                    found = find_image(layout, text)
                    assert found.root.descriptor.digest == built.descriptor.digest
                    assert found.whole is not None
                    assert found.whole.descriptor.digest == index.descriptor.digest

    def test_a_start_of_two_images_is_refused_and_both_are_listed(self, tmp_path: Path) -> None:
        one, two = (image(text) for text in twins(4))
        with store(tmp_path, a=one, b=two) as layout:
            with pytest.raises(Refused, match="2 images") as caught:
                find_image(layout, one.config.digest.hex[:4])
            for name in ("a:1", "b:1"):
                assert name in caught.value.message
            for built in (one, two):
                assert built.descriptor.digest.hex[:12] in caught.value.message
            assert caught.value.hint is not None
            assert caught.value.hint.startswith("give more digits")
            assert find_image(layout, one.config.digest.hex[:20]).root.names == (A,)

    def test_an_image_without_a_name_is_found_by_its_id(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            assert find_image(layout, IMAGE.config.digest.hex[:12]).root.names == ()

    def test_an_artifact_is_found_by_its_digest(self, tmp_path: Path) -> None:
        artifact = build_artifact(IMAGE.descriptor)
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, artifact)
            found = find_image(layout, artifact.descriptor.digest.hex[:12])
        assert found.root.descriptor.digest == artifact.descriptor.digest

    def test_a_damaged_image_is_found_by_its_digest_and_disturbs_no_other(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            path = tmp_path / "blobs" / "sha256" / IMAGE.descriptor.digest.hex
            path.write_bytes(b"#" * path.stat().st_size)
            assert find_image(layout, IMAGE.descriptor.digest.hex[:12]).root.names == (A,)
            assert find_image(layout, OTHER.config.digest.hex[:12]).root.names != (A,)


class TestForeignLayouts:
    def test_a_bare_tag_finds_its_image(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        with Layout.existing(str(tmp_path)) as layout:
            found = find_image(layout, "2.0")
        assert (found.root.descriptor.digest, found.name) == (OTHER.descriptor.digest, "2.0")

    def test_a_label_that_is_no_name_at_all_finds_its_image(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"V1": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            assert find_image(layout, "V1").name == "V1"

    def test_a_bare_tag_in_our_own_store_is_no_name(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            document = json.loads((tmp_path / "index.json").read_bytes())
            document["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "1.0"}
            (tmp_path / "index.json").write_text(json.dumps(document))
            with pytest.raises(NotFound):
                find_image(layout, "1.0")


class TestHints:
    def test_other_tags_of_the_repository_are_suggested(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE, b=OTHER) as layout:
            with pytest.raises(NotFound, match="no image 'a:2'") as caught:
                find_image(layout, "a:2")
            assert caught.value.hint == "did you mean a:1?"

    def test_other_tags_of_a_repository_on_a_port_are_suggested(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            bring(layout, OTHER, "localhost:5000/some/thing:1")
            with pytest.raises(NotFound) as caught:
                find_image(layout, "localhost:5000/some/thing:completely-different")
            assert caught.value.hint == "did you mean localhost:5000/some/thing:1?"

    def test_a_name_that_is_nearly_right_is_corrected(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, "docker.io/library/postgres:16")
            with pytest.raises(NotFound) as caught:
                find_image(layout, "postgers:16")
            assert caught.value.hint == "did you mean postgres:16?"

    def test_a_name_that_is_like_no_other_gets_a_way_to_look(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout, pytest.raises(NotFound) as caught:
            find_image(layout, "something-else-entirely")
        assert caught.value.hint == "`ocitool images` lists what is there"

    def test_what_was_typed_cannot_control_the_terminal(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout, pytest.raises(NotFound) as caught:
            find_image(layout, "\x1b[31mred")
        assert "\x1b" not in caught.value.message


def test_a_lookup_by_name_reads_no_manifest(tmp_path: Path) -> None:
    with store(tmp_path, a=build_image()) as layout:
        for path in (tmp_path / "blobs" / "sha256").iterdir():
            path.unlink()
        assert find_image(layout, "a:1").name == A
