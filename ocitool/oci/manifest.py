"""Manifests and indexes. OCI image-spec, manifest.md and image-index.md; Docker schema 2.

The bytes that were read are kept, and these are copied: encoding a document again could change its
digest.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import document, mediatype
from ocitool.oci.descriptor import Descriptor
from ocitool.oci.limits import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted

_SCHEMA_VERSION = 2
_KNOWN_KEYS = frozenset(
    {
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
    }
)


class Manifest(Struct, frozen=True, kw_only=True):
    """The manifest of an image or an artifact (manifest.md), with the bytes it was read from."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def is_image(self) -> bool:
        """Whether config and layers are those of an image, so that a runtime could start it."""
        layers = (layer.media_type for layer in self.layers)
        return mediatype.is_image(self.config.media_type, layers)

    @property
    def is_artifact(self) -> bool:
        """Whether this is something other than an image."""
        return not self.is_image

    @property
    def effective_artifact_type(self) -> str:
        """The type of the artifact: `artifactType`, else the config's media type (manifest.md)."""
        return self.artifact_type or self.config.media_type


class Index(Struct, frozen=True, kw_only=True):
    """An image index: usually a manifest for each platform (image-index.md), with its bytes."""

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def is_image(self) -> bool:
        """Whether this is an image for several platforms, and not a list of artifacts."""
        listed = self.manifests
        return not listed or not all(child.artifact_type for child in listed)


def parse_manifest(
    raw: bytes,
    media_type: str | None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    what: str = "manifest",
) -> Manifest | Index:
    """Read a manifest or an index.

    `media_type` is the type in the descriptor or the Content-Type header. If it is None, the
    document's own `mediaType` decides, then its keys. Raises `LimitExceeded`, and
    `MalformedDocument` for a document that could be read as either, for Docker's schema 1, and for
    types that disagree.
    """
    limit, depth = limits.manifest_bytes, limits.json_depth
    obj = document.decode_object(raw, what=what, limit=limit, depth=depth)
    document.refuse_case_twins(obj, _KNOWN_KEYS, what)
    declared = _declared_type(obj, media_type, what)
    _check_version(obj, declared, what)
    if _is_index(obj, declared, what):
        return _index(raw, obj, declared or mediatype.OCI_INDEX, limits, what)
    return _manifest(raw, obj, declared or mediatype.OCI_MANIFEST, limits, what)


def build_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Encode a manifest: equal arguments give equal bytes.

    Docker's format has no annotations; asking for both is a `ValueError`.
    """
    if docker and annotations:
        raise ValueError("a Docker manifest has no annotations")
    fields: dict[str, object] = {
        "schemaVersion": _SCHEMA_VERSION,
        "mediaType": mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return _encode(fields, annotations)


def build_index(
    manifests: Sequence[Descriptor],
    annotations: Mapping[str, str] | None = None,
    media_type: str = mediatype.OCI_INDEX,
) -> bytes:
    """Encode an index or a manifest list: equal arguments give equal bytes.

    Docker's format has no annotations; asking for both is a `ValueError`.
    """
    if media_type == mediatype.DOCKER_LIST and annotations:
        raise ValueError("a Docker manifest list has no annotations")
    fields: dict[str, object] = {
        "schemaVersion": _SCHEMA_VERSION,
        "mediaType": media_type,
        "manifests": [manifest.to_json() for manifest in manifests],
    }
    return _encode(fields, annotations)


def _encode(fields: dict[str, object], annotations: Mapping[str, str] | None) -> bytes:
    if annotations:
        fields["annotations"] = dict(sorted(annotations.items()))
    return document.encode(fields)


def _declared_type(obj: Mapping[str, object], media_type: str | None, what: str) -> str | None:
    own = document.optional_string(obj, "mediaType", what) or None
    if media_type and own and media_type != own:
        message = f"{what} says it is {quoted(own)}, but is announced as {quoted(media_type)}"
        raise MalformedDocument(message)
    return media_type or own


def _check_version(obj: Mapping[str, object], declared: str | None, what: str) -> None:
    version = document.optional_integer(obj, "schemaVersion", what)
    if version == 1 or "fsLayers" in obj or (declared and mediatype.is_schema1(declared)):
        hint = "push the image to the registry again with a newer tool, or rebuild it"
        message = (
            f"{what} is in Docker's schema 1 format, abandoned in 2017, which is not supported"
        )
        raise MalformedDocument(message, hint=hint)
    if version not in (None, _SCHEMA_VERSION):
        where = document.field(what, "schemaVersion")
        raise MalformedDocument(f"{where} is {version}, not {_SCHEMA_VERSION}")


def _is_index(obj: Mapping[str, object], declared: str | None, what: str) -> bool:
    """Tell an index from a manifest; a document with the keys of both is an attack."""
    has_manifests = "manifests" in obj
    has_layers = "layers" in obj or "config" in obj
    if has_manifests and has_layers:
        raise MalformedDocument(f"{what} could be read as an index and as a manifest")
    if declared is None:
        if not has_manifests and not has_layers:
            raise MalformedDocument(f"{what} is neither a manifest nor an index")
        return has_manifests
    if not mediatype.is_index(declared) and not mediatype.is_manifest(declared):
        message = f"{what} is of type {quoted(declared)}, which is not a manifest or index"
        raise MalformedDocument(message)
    return mediatype.is_index(declared)


def _index(
    raw: bytes, obj: Mapping[str, object], media_type: str, limits: Limits, what: str
) -> Index:
    items = document.array(obj, "manifests", what)
    if len(items) > limits.index_descriptors:
        message = f"{what} lists {len(items)} manifests, more than {limits.index_descriptors}"
        raise LimitExceeded(message)
    return Index(
        raw=raw,
        media_type=media_type,
        manifests=_descriptors(items, document.field(what, "manifests")),
        subject=_subject(obj, what),
        artifact_type=document.optional_string(obj, "artifactType", what),
        annotations=document.mapping_of_strings(obj, "annotations", what),
    )


def _manifest(
    raw: bytes, obj: Mapping[str, object], media_type: str, limits: Limits, what: str
) -> Manifest:
    items = document.array(obj, "layers", what)
    if len(items) > limits.layers:
        raise LimitExceeded(f"{what} lists {len(items)} layers, more than {limits.layers}")
    if "config" not in obj:
        raise MalformedDocument(f"{document.field(what, 'config')} is missing")
    return Manifest(
        raw=raw,
        media_type=media_type,
        config=Descriptor.from_json(obj["config"], document.field(what, "config")),
        layers=_descriptors(items, document.field(what, "layers")),
        subject=_subject(obj, what),
        artifact_type=document.optional_string(obj, "artifactType", what),
        annotations=document.mapping_of_strings(obj, "annotations", what),
    )


def _descriptors(items: Sequence[object], path: str) -> tuple[Descriptor, ...]:
    return tuple(
        Descriptor.from_json(item, f"{path}[{number}]") for number, item in enumerate(items)
    )


def _subject(obj: Mapping[str, object], what: str) -> Descriptor | None:
    value = obj.get("subject")
    return None if value is None else Descriptor.from_json(value, document.field(what, "subject"))
