"""What media types say."""

import pytest

from ocitool.oci import mediatype


def test_the_three_kinds_of_document_are_told_apart() -> None:
    assert mediatype.is_index(mediatype.DOCKER_LIST)
    assert not mediatype.is_index(mediatype.OCI_MANIFEST)
    assert mediatype.is_manifest(mediatype.DOCKER_MANIFEST)
    assert not mediatype.is_manifest(mediatype.DOCKER_SCHEMA1_SIGNED)
    assert mediatype.is_schema1(mediatype.DOCKER_SCHEMA1_SIGNED)
    assert not mediatype.is_image_config(mediatype.OCI_EMPTY)


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (mediatype.OCI_LAYER, "none"),
        (mediatype.OCI_LAYER_ZSTD, "zstd"),
        (mediatype.DOCKER_LAYER_GZIP, "gzip"),
        (mediatype.DOCKER_FOREIGN_LAYER_GZIP, "gzip"),
        (mediatype.OCI_NONDISTRIBUTABLE_LAYER, "none"),
        (mediatype.OCI_LAYER_GZIP + "+encrypted", None),
        (mediatype.IN_TOTO, None),
    ],
)
def test_the_compression_is_what_the_type_declares(
    media_type: str, compression: mediatype.Compression | None
) -> None:
    assert mediatype.declared_compression(media_type) == compression


def test_foreign_layers_are_layers_too() -> None:
    assert mediatype.is_layer(mediatype.DOCKER_FOREIGN_LAYER_GZIP)
    assert mediatype.is_foreign_layer(mediatype.OCI_NONDISTRIBUTABLE_LAYER_ZSTD)
    assert not mediatype.is_foreign_layer(mediatype.OCI_LAYER)


def test_an_encrypted_layer_is_no_layer_to_look_into() -> None:
    assert mediatype.is_encrypted_layer(mediatype.OCI_LAYER_ZSTD + "+encrypted")
    assert not mediatype.is_layer(mediatype.OCI_LAYER_ZSTD + "+encrypted")
    assert not mediatype.is_encrypted_layer("text/plain+encrypted")


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_layer_type_declares_its_compression(
    compression: mediatype.Compression, docker: bool
) -> None:
    media_type = mediatype.layer_type(compression, docker=docker)
    assert mediatype.declared_compression(media_type) == compression
    assert ("docker" in media_type) == docker


@pytest.mark.parametrize(
    "media_type",
    [
        mediatype.OCI_INDEX,
        mediatype.OCI_MANIFEST,
        mediatype.DOCKER_LIST,
        mediatype.DOCKER_MANIFEST,
        mediatype.DOCKER_SCHEMA1,
        mediatype.DOCKER_SCHEMA1_SIGNED,
    ],
)
def test_manifests_and_indexes_of_any_format_are_documents(media_type: str) -> None:
    assert mediatype.is_document(media_type)


@pytest.mark.parametrize("media_type", [mediatype.OCI_LAYER, mediatype.OCI_CONFIG, ""])
def test_blobs_are_no_documents(media_type: str) -> None:
    assert not mediatype.is_document(media_type)
