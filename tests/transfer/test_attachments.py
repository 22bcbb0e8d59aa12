"""What is attached to images, found by subject: to any depth, in order, without a square."""

import time

from ocitool.image.content import Closure, PlannedImage, Root
from ocitool.oci import Descriptor, Digest, parse_manifest
from ocitool.transfer.plan import Attachments
from tests.support.images import Built, build_artifact, build_image


def planned(built: Built, *names: str) -> PlannedImage:
    """Return an image as it is planned: its own document, and no blobs."""
    root = built.descriptor
    document = parse_manifest(built.blobs[root.digest], root.media_type)
    return PlannedImage(
        root=Root(descriptor=root, names=names),
        closure=Closure(root=root, documents=((root, document),), blobs=()),
    )


def digests(images: list[PlannedImage]) -> list[Digest]:
    return [image.root.descriptor.digest for image in images]


def test_to_any_depth_the_nearest_first_and_in_the_order_given() -> None:
    image, other = build_image([{"a": b"1"}]), build_image([{"a": b"2"}])
    first = build_artifact(image.descriptor, b"1")
    second = build_artifact(image.descriptor, b"2")
    deep = build_artifact(first.descriptor, b"deep")
    foreign = build_artifact(other.descriptor, b"foreign")
    found = Attachments([planned(one) for one in (deep, second, foreign, first)])
    expected = [one.descriptor.digest for one in (second, first, deep)]
    assert digests(found.of(planned(image))) == expected
    assert digests(found.of(planned(first))) == [deep.descriptor.digest]


def test_a_tag_that_has_a_part_of_a_long_digest_is_enough() -> None:
    image = build_image([{"a": b"1"}], algorithm="sha512")
    tag = f"sha512-{image.descriptor.digest.hex[:64]}.sig"
    signature = planned(build_artifact(None), f"reg.example/a:{tag}")
    assert Attachments([signature]).of(planned(image)) == [signature]


def test_one_that_is_attached_to_itself_is_found_once() -> None:
    """A digest cannot contain itself; two that name each other by annotations can."""
    one, two = build_artifact(None, b"1"), build_artifact(None, b"2")

    def annotated(built: Built, subject: Descriptor) -> PlannedImage:
        image = planned(built)
        key = "vnd.docker.reference.digest"
        kind = {"vnd.docker.reference.type": "attestation-manifest", key: str(subject.digest)}
        root = Descriptor(
            media_type=built.descriptor.media_type,
            digest=built.descriptor.digest,
            size=built.descriptor.size,
            annotations=kind,
        )
        return PlannedImage(root=Root(descriptor=root), closure=image.closure)

    found = Attachments([annotated(one, two.descriptor), annotated(two, one.descriptor)])
    assert digests(found.of(planned(one))) == [two.descriptor.digest]


def test_twice_as_many_take_about_twice_as_long() -> None:
    def seconds(count: int) -> float:
        images = [build_image([{"n": b"%d" % n}]) for n in range(count)]
        attached = [planned(build_artifact(image.descriptor, b"x")) for image in images]
        ready = [planned(image) for image in images]
        began = time.process_time()
        found = Attachments(attached)
        assert all(len(found.of(image)) == 1 for image in ready)
        return time.process_time() - began

    few, many = (min(seconds(count) for _ in range(3)) for count in (100, 400))
    assert many < 10 * few
