"""A28: manifest.json of imgpkg, whatever it holds, is read as it is or refused as ours."""

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import IntegrityError
from ocitool.oci import Digest
from ocitool.places.archive.imgpkg import PackedImages, parse_imgpkg
from tests.support.examples import part_of
from tests.support.foreign_bundles import imgpkg_entry
from tests.support.images import as_json, build_image, build_index

ONE = build_image([{"a": b"1"}])
TWO = build_image([{"b": b"2"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)
VALID = as_json(
    [
        imgpkg_entry("registry.example/a:1", ONE),
        imgpkg_entry("registry.example/i", build_index([TWO], others=[INDEX])),
    ]
)
KEYS = ["ImageIndex", "Image", "Refs", "Layers", "Config", "Manifest", "Digest", "Raw", "Tag"]
KEYS += ["Images", "Indexes", "Size"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(str(Digest.of(b"x"))),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


def parsed(data: bytes) -> PackedImages | None:
    """Return what is read, or None where it is refused; any other error fails the test."""
    with contextlib.suppress(IntegrityError):
        return parse_imgpkg(data, what="manifest.json")
    return None


def assert_true(images: PackedImages) -> None:
    """Every document is what its digest says, and each root is among them."""
    for digest, raw in images.documents.items():
        assert Digest.of(raw, digest.algorithm) == digest
    for root in images.roots:
        assert len(images.documents[root.descriptor.digest]) == root.descriptor.size


def test_what_imgpkg_writes_is_read() -> None:
    images = parsed(VALID)
    assert images is not None
    assert_true(images)
    assert len(images.roots) == 2
    assert len(images.layers) == 5


@settings(max_examples=part_of(200), deadline=None)
@given(st.lists(values, max_size=3))
def test_any_json_is_read_or_refused(document: list[object]) -> None:
    images = parsed(json.dumps(document).encode())
    if images is not None:
        assert_true(images)


@settings(max_examples=part_of(200), deadline=None)
@given(st.data())
def test_any_change_is_refused_or_leaves_true_documents(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(VALID) - 1))
    length = data.draw(st.integers(0, 4))
    changed = VALID[:position] + data.draw(st.binary(max_size=4)) + VALID[position + length :]
    images = parsed(changed)
    if images is not None:
        assert_true(images)
