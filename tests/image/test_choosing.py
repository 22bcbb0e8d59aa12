"""Which image of a multi-platform image is meant."""

import pytest
from msgspec.structs import replace

from ocitool.errors import NotFound
from ocitool.image.choosing import PlatformImage, best, choose, platform_images
from ocitool.image.graph import closure_of
from ocitool.oci import Platform
from tests.support.images import Built, BuiltImage, build_image, build_index
from tests.support.sources import MemorySource

AMD64 = build_image([{"a": b"1"}, {"b": b"2"}])
ARM64 = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([AMD64, ARM64], attested=True)


def images(built: Built) -> tuple[PlatformImage, ...]:
    source = MemorySource(built)
    return platform_images(source, closure_of(source, built.descriptor))


def test_the_config_tells_the_platform_when_the_descriptor_does_not() -> None:
    source = MemorySource(ARM64)
    bare = replace(ARM64.descriptor, platform=None)
    (image,) = platform_images(source, closure_of(source, bare))
    assert str(image.platform) == "linux/arm64"
    assert image.config is not None


def test_a_config_that_need_not_be_read_is_not_read() -> None:
    source = MemorySource(INDEX)
    found = platform_images(source, closure_of(source, INDEX.descriptor))
    assert not set(source.opened) & {image.manifest.config.digest for image in found}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [("linux/amd64", AMD64), ("linux/x86_64/v3", AMD64), ("linux/aarch64", ARM64)],
)
def test_a_platform_is_chosen_with_its_fallbacks(asked: str, chosen: BuiltImage) -> None:
    found = best(images(INDEX), Platform.parse(asked))
    assert found is not None
    assert found.descriptor == chosen.descriptor


def test_the_first_of_two_equal_platforms_wins() -> None:
    twin = build_image([{"z": b"9"}])
    found = best(images(build_index([AMD64, twin])), Platform.parse("linux/amd64"))
    assert found is not None
    assert found.descriptor.digest == AMD64.descriptor.digest


def test_an_unknown_platform_is_never_chosen() -> None:
    assert best(images(INDEX), Platform(os="unknown", architecture="unknown")) is None


def test_descriptors_are_chosen_by_the_same_rule() -> None:
    assert choose(INDEX.children, Platform.parse("arm64"), called="a:1") == ARM64.descriptor


def test_a_platform_that_is_not_there_lists_what_is() -> None:
    with pytest.raises(NotFound, match="a:1 has no image for platform linux/s390x") as raised:
        choose(images(INDEX), Platform.parse("linux/s390x"), called="a:1")
    assert raised.value.hint == "available: linux/amd64, linux/arm64"
