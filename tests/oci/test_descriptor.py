"""Descriptors, strict on what is used and careful with the rest."""

import base64

import pytest

from ocitool.errors import DigestMismatch, MalformedDocument, SizeMismatch
from ocitool.oci.descriptor import Descriptor
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform

CONTENT = b"{}"


def json_of(**fields: object) -> dict[str, object]:
    required: dict[str, object] = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": str(Digest.of(CONTENT)),
        "size": len(CONTENT),
    }
    return {**required, **fields}


def test_a_full_descriptor_survives_with_unknown_fields_in_specified_order() -> None:
    obj = json_of(
        urls=["https://example.com/x"],
        annotations={"a": "b"},
        data=base64.b64encode(CONTENT).decode(),
        artifactType="application/x",
        platform={"architecture": "arm64", "os": "linux"},
        future={"kept": [1, None]},
    )
    descriptor = Descriptor.from_json(obj, "d")
    assert descriptor.platform == Platform(os="linux", architecture="arm64")
    assert descriptor.data == CONTENT
    assert list(descriptor.to_json().items()) == list(obj.items())


def test_optional_fields_may_be_null() -> None:
    obj = json_of(urls=None, annotations=None, data=None, artifactType=None, platform=None)
    assert Descriptor.from_json(obj, "d").to_json() == json_of()


def test_annotations_are_written_sorted() -> None:
    descriptor = Descriptor.from_json(json_of(annotations={"b": "1", "a": "2"}), "d")
    assert list(descriptor.to_json()["annotations"]) == ["a", "b"]  # type: ignore[call-overload]


@pytest.mark.parametrize("key", ["mediaType", "digest", "size"])
def test_a_descriptor_without_a_required_field_is_refused(key: str) -> None:
    obj = json_of()
    del obj[key]
    with pytest.raises(MalformedDocument, match=rf"^manifest\.layers\[2\]\.{key} is missing"):
        Descriptor.from_json(obj, "manifest.layers[2]")


@pytest.mark.parametrize(
    "fields",
    [
        {"mediaType": ""},
        {"mediaType": 1},
        {"size": True},
        {"size": -1},
        {"size": 2.0},
        {"size": "2"},
        {"size": 2**63},
        {"digest": "sha256:" + "A" * 64},
        {"digest": str(Digest.of(b"")) + "\n"},
        {"digest": ["x"]},
        {"annotations": {"a": 1}},
        {"annotations": []},
        {"urls": "x"},
        {"urls": [None]},
        {"platform": "linux/amd64"},
        {"artifactType": 3},
        {"data": "not base64!"},
        {"data": "é"},
        {"Digest": "x"},
        {"MediaType": "x"},
    ],
)
def test_a_malformed_field_is_refused_with_its_path(fields: dict[str, object]) -> None:
    with pytest.raises(MalformedDocument, match=r"^d[. ]"):
        Descriptor.from_json(json_of(**fields), "d")


def test_annotation_keys_are_no_case_twins() -> None:
    descriptor = Descriptor.from_json(json_of(annotations={"a": "1", "A": "2"}), "d")
    assert len(descriptor.annotations) == 2


def test_embedded_data_of_another_size_is_refused() -> None:
    with pytest.raises(SizeMismatch):
        Descriptor.from_json(json_of(data=base64.b64encode(b"{} ").decode()), "d")


def test_embedded_data_of_another_digest_is_refused() -> None:
    with pytest.raises(DigestMismatch):
        Descriptor.from_json(json_of(data=base64.b64encode(b"[]").decode()), "d")


def test_equal_descriptors_have_equal_hashes() -> None:
    obj = json_of(annotations={"a": "b"}, platform={"os": "linux", "architecture": "arm"}, x=[])
    assert len({Descriptor.from_json(obj, "a"), Descriptor.from_json(obj, "b")}) == 1
