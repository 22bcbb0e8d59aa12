"""What an image is made of, read from the root down."""

import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from ocitool.errors import DigestMismatch, IntegrityError, LimitExceeded, NotFound
from ocitool.image.content import Root
from ocitool.image.graph import (
    Visit,
    children,
    closure_of,
    image_children,
    images_of,
    read_document,
    root_subject,
    walk,
)
from ocitool.oci import Descriptor, Digest, Index, Limits, Platform, mediatype
from ocitool.places.layout import Layout
from tests.support.images import (
    BuiltIndex,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    describe,
    write_layout,
)
from tests.support.sources import MemorySource

AMD64 = build_image([{"a": b"1"}, {"b": b"2"}])
ARM64 = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([AMD64, ARM64], attested=True)


def wanted(text: str) -> Platform:
    return Platform.parse(text)


def test_a_closure_of_an_image_is_its_manifest_config_and_layers() -> None:
    closure = closure_of(MemorySource(AMD64), AMD64.descriptor)
    assert [descriptor for descriptor, _ in closure.documents] == [AMD64.descriptor]
    assert closure.blobs == (AMD64.config, *AMD64.layers)
    assert closure.missing == ()


def test_a_closure_of_an_index_holds_everything_below_it() -> None:
    closure = closure_of(MemorySource(INDEX), INDEX.descriptor)
    assert {d.digest for d in closure.descriptors} == set(INDEX.blobs)


def test_documents_come_children_first_and_the_root_last() -> None:
    nested = build_index([build_image()], others=[INDEX])
    closure = closure_of(MemorySource(nested), nested.descriptor)
    order = [descriptor.digest for descriptor, _ in closure.documents]
    assert order[-1] == nested.descriptor.digest
    assert order.index(AMD64.descriptor.digest) < order.index(INDEX.descriptor.digest)


def test_a_shared_layer_is_there_once() -> None:
    closure = closure_of(MemorySource(INDEX), INDEX.descriptor)
    digests = [blob.digest for blob in closure.blobs]
    assert len(digests) == len(set(digests))


def test_the_raw_bytes_of_documents_are_kept() -> None:
    closure = closure_of(MemorySource(AMD64), AMD64.descriptor)
    assert closure.documents[0][1].raw == AMD64.manifest


def test_a_root_that_is_no_document_is_its_own_closure() -> None:
    blob = describe(b"data", "application/octet-stream")
    assert closure_of(MemorySource(), blob).blobs == (blob,)


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_child_that_is_not_whole_is_missing(part: str) -> None:
    digest = {
        "manifest": ARM64.descriptor.digest,
        "config": ARM64.config.digest,
        "layer": ARM64.layers[1].digest,
    }[part]
    source = MemorySource(INDEX)
    del source.blobs[digest]
    closure = closure_of(source, INDEX.descriptor)
    assert [child.digest for child in closure.missing] == [ARM64.descriptor.digest]
    assert ARM64.descriptor.digest not in {d.digest for d, _ in closure.documents}


def test_an_image_that_is_not_whole_is_not_found() -> None:
    source = MemorySource(AMD64)
    del source.blobs[AMD64.layers[1].digest]
    with pytest.raises(NotFound, match=str(AMD64.layers[1].digest)):
        closure_of(source, AMD64.descriptor)


def test_a_damaged_child_is_no_missing_child() -> None:
    source = MemorySource(INDEX)
    source.blobs[ARM64.descriptor.digest] = ARM64.manifest[::-1]
    with pytest.raises(DigestMismatch):
        closure_of(source, INDEX.descriptor)


def test_a_foreign_layer_may_be_absent() -> None:
    foreign = replace(
        describe(b"elsewhere", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        urls=("https://example.com/layer",),
    )
    layers = [foreign.to_json(), AMD64.layers[0].to_json()]
    image = build_image([{"a": b"1"}], manifest={"layers": layers})
    closure = closure_of(MemorySource(image, AMD64), image.descriptor)
    assert foreign.digest not in {blob.digest for blob in closure.blobs}


def test_a_child_of_an_unknown_type_is_a_blob() -> None:
    odd = describe(b"odd", "application/vnd.example.odd")
    listed = [AMD64.descriptor.to_json(), odd.to_json()]
    index = build_index([AMD64], fields={"manifests": listed})
    source = MemorySource(index)
    assert [d.digest for d in closure_of(source, index.descriptor).missing] == [odd.digest]
    source.add({odd.digest: b"odd"})
    assert odd.digest in {d.digest for d in closure_of(source, index.descriptor).blobs}


def test_two_sizes_of_one_digest_are_refused() -> None:
    lying = replace(AMD64.descriptor, size=AMD64.descriptor.size + 1)
    listed = [AMD64.descriptor.to_json(), lying.to_json()]
    index = build_index([AMD64], fields={"manifests": listed})
    with pytest.raises(IntegrityError, match="one of them is wrong"):
        closure_of(MemorySource(index), index.descriptor)


def test_a_blob_of_another_size_is_damage_and_not_absence(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "x", {"1": INDEX})
    (layout / blob_path(ARM64.layers[1])).write_bytes(b"short")
    with (
        Layout.existing(str(layout)) as source,
        pytest.raises(IntegrityError, match="is 5 bytes"),
    ):
        closure_of(source, INDEX.descriptor)


def chain(length: int, width: int = 1) -> BuiltIndex:
    """Return an index over an index over …, each listing the next several times."""
    index = build_index([AMD64])
    for _ in range(length):
        children = [index.descriptor.to_json()] * width
        index = dataclasses.replace(
            build_index([], others=[index], fields={"manifests": children}), images=(AMD64,)
        )
    return index


def test_indexes_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    limits = Limits(index_depth=3)
    fine, deep = chain(2), chain(3)
    closure_of(MemorySource(fine), fine.descriptor, limits)
    with pytest.raises(LimitExceeded, match="deeper than 3"):
        closure_of(MemorySource(deep), deep.descriptor, limits)


def test_many_paths_to_one_index_cost_no_more_than_one() -> None:
    index = chain(25, width=10)
    source = MemorySource(index)
    assert len(images_of(closure_of(source, index.descriptor))) == 1
    assert len(source.opened) == len(set(source.opened))


def test_a_damaged_root_is_refused() -> None:
    source = MemorySource(AMD64)
    source.blobs[AMD64.descriptor.digest] = AMD64.manifest.replace(b"2", b"3")
    with pytest.raises(DigestMismatch):
        read_document(source, AMD64.descriptor)


def test_a_manifest_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        read_document(MemorySource(AMD64), AMD64.descriptor, Limits(manifest_bytes=10))


# Images and platforms.


def test_attestations_are_no_images() -> None:
    closure = closure_of(MemorySource(INDEX), INDEX.descriptor)
    assert [d.digest for d, _ in images_of(closure)] == [
        AMD64.descriptor.digest,
        ARM64.descriptor.digest,
    ]
    document = closure.document(INDEX.descriptor.digest)
    assert isinstance(document, Index)
    assert len(image_children(document)) == 2


@pytest.mark.parametrize("sign", ["platform", "annotations"])
def test_one_sign_of_an_attestation_is_enough(sign: str) -> None:
    attestation = INDEX.children[2].to_json()
    del attestation[{"platform": "annotations", "annotations": "platform"}[sign]]
    index = build_index([], others=[INDEX], fields={"manifests": [attestation]})
    closure = closure_of(MemorySource(index), index.descriptor)
    assert images_of(closure) == ()


def test_images_keep_the_order_of_nested_indexes() -> None:
    last = build_image([{"z": b"9"}], platform="linux/s390x")
    listed = [INDEX.descriptor.to_json(), last.descriptor.to_json()]
    nested = build_index([last], others=[INDEX], fields={"manifests": listed})
    closure = closure_of(MemorySource(nested), nested.descriptor)
    assert [str(d.platform) for d, _ in images_of(closure)] == [
        "linux/amd64",
        "linux/arm64",
        "linux/s390x",
    ]


def test_an_artifact_is_no_image() -> None:
    artifact = build_artifact(AMD64.descriptor)
    assert images_of(closure_of(MemorySource(artifact), artifact.descriptor)) == ()


# Subjects.


def test_a_manifest_tells_what_it_is_attached_to() -> None:
    artifact = build_artifact(AMD64.descriptor)
    root = Root(descriptor=artifact.descriptor)
    assert root_subject(MemorySource(artifact), root) == str(AMD64.descriptor.digest)


def test_an_image_has_no_subject() -> None:
    assert root_subject(MemorySource(AMD64), Root(descriptor=AMD64.descriptor)) is None


def test_an_unreadable_manifest_has_no_subject() -> None:
    assert root_subject(MemorySource(), Root(descriptor=AMD64.descriptor)) is None


# The walk.


def reached(source: MemorySource, *roots: Descriptor) -> set[Digest]:
    found = set()

    def read(visit: Visit[Descriptor]) -> list[tuple[Descriptor, bool]]:
        found.add(visit.node.digest)
        if not mediatype.is_document(visit.node.media_type):
            return []
        return children(read_document(source, visit.node))

    def miss(visit: Visit[Descriptor], error: NotFound) -> None:
        if not visit.may_be_absent:
            raise error

    assert len({(n.digest, n.media_type) for n in walk(read, roots, miss)}) > 0
    return found


def test_everything_under_a_root_is_reached() -> None:
    assert reached(MemorySource(INDEX), INDEX.descriptor) == set(INDEX.blobs)


def test_absent_content_below_a_present_manifest_is_reached_too() -> None:
    source = MemorySource(INDEX)
    del source.blobs[ARM64.layers[1].digest]
    assert ARM64.layers[1].digest in reached(source, INDEX.descriptor)


def test_an_absent_child_of_an_index_is_passed_over() -> None:
    source = MemorySource(INDEX)
    del source.blobs[ARM64.descriptor.digest]
    found = reached(source, INDEX.descriptor)
    assert AMD64.config.digest in found
    assert ARM64.config.digest not in found


def test_an_absent_root_stops_the_walk() -> None:
    with pytest.raises(NotFound):
        reached(MemorySource(), AMD64.descriptor)


@pytest.mark.parametrize("which", [AMD64.descriptor, INDEX.descriptor])
def test_an_unreadable_manifest_stops_the_walk(which: Descriptor) -> None:
    source = MemorySource(INDEX)
    source.blobs[which.digest] = bytes(which.size)
    with pytest.raises(IntegrityError):
        reached(source, INDEX.descriptor)


def test_a_manifest_that_is_also_a_layer_is_followed_all_the_same() -> None:
    layers = [describe(AMD64.manifest, "application/vnd.oci.image.layer.v1.tar").to_json()]
    wrapper = build_image([{"z": b"9"}], manifest={"layers": layers})
    source = MemorySource(AMD64, wrapper)
    assert reached(source, wrapper.descriptor, AMD64.descriptor) >= set(AMD64.blobs)
