"""Some of an image's platforms, as an image of their own."""

import json

import pytest

from ocitool.errors import NotFound
from ocitool.image.content import ConfigFacts, PlannedImage, Root
from ocitool.image.graph import closure_of, images_of
from ocitool.oci import Index
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.platforms import planned_manifests, select
from tests.support.images import Built, build_image, build_index
from tests.support.sources import MemorySource
from tests.support.stores import platform

AMD64 = build_image([{"a": b"1"}])
ARM64 = build_image([{"a": b"1"}, {"b": b"2"}], platform="linux/arm64")
S390X = build_image([{"c": b"3"}], platform="linux/s390x")
INDEX = build_index([AMD64, ARM64, S390X], attested=True, fields={"annotations": {"k": "v"}})
NAMES = ("docker.io/library/a:1",)


def select_from(
    built: Built, *texts: str, source: MemorySource | None = None
) -> tuple[PlannedImage, LayeredSource]:
    layered = LayeredSource(source or MemorySource(built))
    root = Root(descriptor=built.descriptor, names=NAMES)
    closure = closure_of(layered, built.descriptor)
    configs = {
        manifest.config.digest: ConfigFacts(platform=platform("linux/arm64"), diff_ids=())
        for _, manifest in images_of(closure)
    }
    image = PlannedImage(root=root, closure=closure, configs=configs)
    return select(layered, image, [platform(text) for text in texts]), layered


def index_of(image: PlannedImage) -> Index:
    document = image.closure.document(image.root.descriptor.digest)
    assert isinstance(document, Index)
    return document


def test_one_platform_is_that_images_own_manifest() -> None:
    image, _ = select_from(INDEX, "linux/arm64")
    assert image.root.descriptor.digest == ARM64.descriptor.digest
    assert {d.digest for d in image.closure.descriptors} == set(ARM64.blobs)


def test_the_name_stays() -> None:
    image, _ = select_from(INDEX, "linux/arm64")
    assert image.root.names == NAMES


def test_two_platforms_are_an_index_of_these_two() -> None:
    image, _ = select_from(INDEX, "linux/s390x", "linux/amd64")
    images = [descriptor.digest for descriptor, _ in images_of(image.closure)]
    assert images == [AMD64.descriptor.digest, S390X.descriptor.digest]
    assert [str(one.platform) for one in planned_manifests(image)] == [
        "linux/amd64",
        "linux/s390x",
    ]


def test_the_same_platforms_give_the_same_index_in_any_order() -> None:
    first, _ = select_from(INDEX, "linux/s390x", "linux/amd64")
    second, _ = select_from(INDEX, "linux/amd64", "linux/s390x")
    assert first.root.descriptor.digest == second.root.descriptor.digest


def test_attestations_go_with_their_images() -> None:
    image, _ = select_from(INDEX, "linux/amd64", "linux/arm64")
    attested = {
        child.annotations["vnd.docker.reference.digest"]
        for child in index_of(image).manifests
        if "vnd.docker.reference.digest" in child.annotations
    }
    assert attested == {str(AMD64.descriptor.digest), str(ARM64.descriptor.digest)}


def test_an_attestation_that_is_not_there_is_not_listed() -> None:
    source = MemorySource(INDEX)
    attestation = INDEX.children[3]
    del source.blobs[attestation.digest]
    image, _ = select_from(INDEX, "linux/amd64", "linux/arm64", source=source)
    assert attestation.digest not in {child.digest for child in index_of(image).manifests}
    assert image.closure.missing == ()


def test_other_fields_of_the_index_stay() -> None:
    image, _ = select_from(INDEX, "linux/amd64", "linux/arm64")
    document = json.loads(index_of(image).raw)
    assert document["annotations"] == {"k": "v"}
    assert document["mediaType"] == INDEX.descriptor.media_type


def test_two_wishes_that_one_image_fulfils_are_one() -> None:
    image, _ = select_from(INDEX, "linux/amd64", "linux/amd64/v2")
    assert image.root.descriptor.digest == AMD64.descriptor.digest


def test_a_platform_that_is_not_there_is_refused_with_a_list() -> None:
    with pytest.raises(NotFound, match="linux/ppc64le") as raised:
        select_from(INDEX, "linux/amd64", "linux/ppc64le")
    assert raised.value.hint == "available: linux/amd64, linux/arm64, linux/s390x"


def test_a_platform_whose_blobs_are_missing_is_not_there() -> None:
    source = MemorySource(INDEX)
    del source.blobs[S390X.layers[0].digest]
    with pytest.raises(NotFound) as raised:
        select_from(INDEX, "linux/s390x", source=source)
    assert raised.value.hint == (
        "pull, save or copy it again with that platform; available: linux/amd64, linux/arm64"
    )


def test_missing_platforms_do_no_harm_to_others() -> None:
    source = MemorySource(INDEX)
    del source.blobs[S390X.layers[0].digest]
    image, _ = select_from(INDEX, "linux/amd64", "linux/arm64", source=source)
    assert image.closure.missing == ()


def test_an_image_of_the_right_platform_stays_as_it_is() -> None:
    image, _ = select_from(ARM64, "linux/arm64")
    assert image.root.descriptor == ARM64.descriptor


def test_an_image_of_another_platform_is_refused() -> None:
    with pytest.raises(NotFound, match="linux/amd64"):
        select_from(ARM64, "linux/amd64")


def test_images_of_a_nested_index_are_found() -> None:
    nested = build_index([S390X], others=[build_index([AMD64, ARM64])])
    image, _ = select_from(nested, "linux/amd64", "linux/s390x")
    images = {descriptor.digest for descriptor, _ in images_of(image.closure)}
    assert images == {AMD64.descriptor.digest, S390X.descriptor.digest}
