"""Manifests and indexes: recognised, strict, never ambiguous."""

import json

import pytest
from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import mediatype
from ocitool.oci.descriptor import Descriptor
from ocitool.oci.digest import Digest
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.oci.manifest import Index, Manifest, build_index, build_manifest, parse_manifest

CONFIG = Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(b"c"), size=1)
LAYER = Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.of(b"l"), size=1)
CHILD = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest.of(b"m"), size=1)


def manifest_json(**fields: object) -> bytes:
    obj = {"schemaVersion": 2, "config": CONFIG.to_json(), "layers": [LAYER.to_json()], **fields}
    return json.dumps(obj).encode()


def index_json(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": [CHILD.to_json()], **fields}).encode()


def manifest(raw: bytes, media_type: str | None = None) -> Manifest:
    parsed = parse_manifest(raw, media_type)
    assert isinstance(parsed, Manifest)
    return parsed


def index(raw: bytes, media_type: str | None = None) -> Index:
    parsed = parse_manifest(raw, media_type)
    assert isinstance(parsed, Index)
    return parsed


def test_a_manifest_keeps_the_bytes_it_came_as() -> None:
    raw = b" " + manifest_json(unknown=1) + b"\n"
    assert manifest(raw).raw == raw


def test_a_manifest_without_media_type_is_known_by_its_keys() -> None:
    assert manifest(manifest_json()).media_type == mediatype.OCI_MANIFEST


def test_an_index_without_media_type_is_known_by_its_keys() -> None:
    assert index(index_json()).media_type == mediatype.OCI_INDEX


def test_the_body_says_the_type_where_the_descriptor_does_not() -> None:
    raw = manifest_json(mediaType=mediatype.DOCKER_MANIFEST)
    assert manifest(raw).media_type == mediatype.DOCKER_MANIFEST


def test_the_descriptor_says_the_type_where_the_body_does_not() -> None:
    assert index(index_json(), mediatype.DOCKER_LIST).media_type == mediatype.DOCKER_LIST


def test_types_that_disagree_are_refused() -> None:
    raw = manifest_json(mediaType=mediatype.OCI_MANIFEST)
    with pytest.raises(MalformedDocument, match="is announced as"):
        parse_manifest(raw, mediatype.DOCKER_MANIFEST)


@pytest.mark.parametrize("media_type", [None, mediatype.OCI_INDEX, mediatype.OCI_MANIFEST])
@pytest.mark.parametrize("extra", [{"config": {}}, {"layers": []}, {"layers": None}])
def test_an_index_that_could_be_a_manifest_is_refused(
    extra: dict[str, object], media_type: str | None
) -> None:
    with pytest.raises(MalformedDocument, match="could be read as"):
        parse_manifest(index_json(**extra), media_type)


def test_a_manifest_announced_as_an_index_is_refused() -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.manifests is missing"):
        parse_manifest(manifest_json(), mediatype.OCI_INDEX)


def test_an_index_announced_as_a_manifest_is_refused() -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.layers is missing"):
        parse_manifest(index_json(), mediatype.OCI_MANIFEST)


def test_a_document_that_is_neither_is_refused() -> None:
    with pytest.raises(MalformedDocument, match="neither"):
        parse_manifest(b'{"schemaVersion":2}', None)


def test_a_document_of_another_type_is_refused() -> None:
    with pytest.raises(MalformedDocument, match="not a manifest or index"):
        parse_manifest(manifest_json(), mediatype.OCI_CONFIG)


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b'{"schemaVersion":1,"name":"x","fsLayers":[]}', None),
        (b'{"schemaVersion":1}', None),
        (b'{"fsLayers":[]}', None),
        (b"{}", mediatype.DOCKER_SCHEMA1_SIGNED),
    ],
)
def test_schema_1_is_refused_with_a_hint(raw: bytes, media_type: str | None) -> None:
    with pytest.raises(MalformedDocument, match="schema 1") as caught:
        parse_manifest(raw, media_type)
    assert caught.value.hint


@pytest.mark.parametrize("version", [3, 0, "2", True, 2.0])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(MalformedDocument, match="schemaVersion"):
        parse_manifest(manifest_json(schemaVersion=version), None)


def test_a_missing_schema_version_is_tolerated() -> None:
    raw = json.dumps({"config": CONFIG.to_json(), "layers": []}).encode()
    assert manifest(raw).config == CONFIG


def test_null_manifests_are_no_manifests() -> None:
    assert index(index_json(manifests=None)).manifests == ()


def test_null_layers_are_no_layers() -> None:
    assert manifest(manifest_json(layers=None)).layers == ()


@pytest.mark.parametrize("config", [None, {}, "x"])
def test_a_manifest_without_a_sound_config_is_refused(config: object) -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.config"):
        parse_manifest(manifest_json(config=config), None)


def test_a_manifest_without_config_is_refused() -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.config is missing"):
        parse_manifest(b'{"layers":[]}', None)


def test_a_malformed_layer_is_named_by_its_path() -> None:
    broken = {**LAYER.to_json(), "size": "1"}
    raw = manifest_json(layers=[LAYER.to_json(), broken])
    with pytest.raises(MalformedDocument, match=r"^m\.layers\[1\]\.size must be an integer"):
        parse_manifest(raw, None, what="m")


@pytest.mark.parametrize("key", ["Layers", "CONFIG", "Manifests", "MediaType", "fslayers"])
def test_a_key_that_only_go_would_know_is_refused(key: str) -> None:
    with pytest.raises(MalformedDocument, match="in place of"):
        parse_manifest(manifest_json(**{key: None}), None)


def test_a_thousand_layers_are_accepted_and_one_more_is_not() -> None:
    layers = [LAYER.to_json()] * 1000
    assert len(manifest(manifest_json(layers=layers)).layers) == 1000
    with pytest.raises(LimitExceeded, match="1001 layers"):
        parse_manifest(manifest_json(layers=[*layers, LAYER.to_json()]), None)


def test_an_index_above_the_limit_of_descriptors_is_refused() -> None:
    limits = replace(DEFAULT_LIMITS, index_descriptors=2)
    raw = index_json(manifests=[CHILD.to_json()] * 3)
    with pytest.raises(LimitExceeded, match="3 manifests"):
        parse_manifest(raw, None, limits=limits)


def test_a_manifest_above_the_limit_of_bytes_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        parse_manifest(manifest_json(), None, limits=replace(DEFAULT_LIMITS, manifest_bytes=99))


def test_unknown_descriptor_types_in_an_index_are_no_error() -> None:
    child = {**CHILD.to_json(), "mediaType": "application/vnd.example.unknown"}
    assert index(index_json(manifests=[child])).manifests[0].media_type.endswith("unknown")


def test_subject_type_and_annotations_are_read() -> None:
    raw = manifest_json(
        subject=CHILD.to_json(), artifactType="application/x", annotations={"a": "b"}
    )
    parsed = manifest(raw)
    assert parsed.subject == CHILD
    assert parsed.effective_artifact_type == "application/x"
    assert parsed.annotations == {"a": "b"}


def test_an_index_may_have_a_subject_too() -> None:
    assert index(index_json(subject=CHILD.to_json())).subject == CHILD


def test_the_config_tells_an_image_from_an_artifact() -> None:
    image = manifest(manifest_json())
    chart = {**CONFIG.to_json(), "mediaType": "application/vnd.cncf.helm.config.v1+json"}
    artifact = manifest(manifest_json(config=chart))
    assert image.is_image
    assert artifact.is_artifact
    assert artifact.effective_artifact_type == "application/vnd.cncf.helm.config.v1+json"


def test_a_built_manifest_reads_back() -> None:
    parsed = manifest(build_manifest(CONFIG, [LAYER, LAYER], annotations={"b": "1", "a": "2"}))
    assert parsed.config == CONFIG
    assert parsed.layers == (LAYER, LAYER)
    assert parsed.media_type == mediatype.OCI_MANIFEST


def test_a_built_manifest_is_compact_and_in_order() -> None:
    raw = build_manifest(CONFIG, [], annotations={"b": "1", "a": "2"})
    assert raw == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"'
        + str(CONFIG.digest).encode()
        + b'","size":1},"layers":[],"annotations":{"a":"2","b":"1"}}'
    )


def test_a_built_docker_manifest_has_no_annotations() -> None:
    assert manifest(build_manifest(CONFIG, [], docker=True)).media_type.startswith(
        "application/vnd.docker"
    )
    with pytest.raises(ValueError, match="annotations"):
        build_manifest(CONFIG, [], docker=True, annotations={"a": "b"})


def test_a_built_index_reads_back() -> None:
    parsed = index(build_index([CHILD], {"a": "b"}))
    assert parsed.manifests == (CHILD,)
    assert parsed.annotations == {"a": "b"}


def test_a_built_manifest_list_has_no_annotations() -> None:
    assert index(build_index([CHILD], media_type=mediatype.DOCKER_LIST)).manifests == (CHILD,)
    with pytest.raises(ValueError, match="annotations"):
        build_index([CHILD], {"a": "b"}, mediatype.DOCKER_LIST)
