"""Media types of OCI and Docker documents and layers. OCI image-spec, media-types.md."""

from collections.abc import Iterable
from typing import Literal

Compression = Literal["none", "gzip", "zstd"]

KEEP = "keep"
COMPRESSIONS = (KEEP, "gzip", "zstd", "none")
"""The choices of `--compression`."""

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
OCI_NONDISTRIBUTABLE_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_NONDISTRIBUTABLE_LAYER_GZIP = f"{OCI_NONDISTRIBUTABLE_LAYER}+gzip"
OCI_NONDISTRIBUTABLE_LAYER_ZSTD = f"{OCI_NONDISTRIBUTABLE_LAYER}+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"
DOCKER_LAYER_ZSTD = f"{DOCKER_LAYER}.zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_LAYER_GZIP = f"{DOCKER_FOREIGN_LAYER}.gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

BUILDKIT_CACHE = "application/vnd.buildkit.cacheconfig.v0"
IN_TOTO = "application/vnd.in-toto+json"

_ENCRYPTED = "+encrypted"

_FOREIGN: dict[str, Compression] = {
    OCI_NONDISTRIBUTABLE_LAYER: "none",
    OCI_NONDISTRIBUTABLE_LAYER_GZIP: "gzip",
    OCI_NONDISTRIBUTABLE_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_LAYER: "none",
    DOCKER_FOREIGN_LAYER_GZIP: "gzip",
}
_OCI_LAYERS: dict[Compression, str] = {
    "none": OCI_LAYER,
    "gzip": OCI_LAYER_GZIP,
    "zstd": OCI_LAYER_ZSTD,
}
_DOCKER_LAYERS: dict[Compression, str] = {
    "none": DOCKER_LAYER,
    "gzip": DOCKER_LAYER_GZIP,
    "zstd": DOCKER_LAYER_ZSTD,
}
_LAYERS: dict[str, Compression] = {
    **{media_type: compression for compression, media_type in _OCI_LAYERS.items()},
    **{media_type: compression for compression, media_type in _DOCKER_LAYERS.items()},
    **_FOREIGN,
}


_OCI_OF_DOCKER = {
    DOCKER_LIST: OCI_INDEX,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_CONFIG: OCI_CONFIG,
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
    DOCKER_FOREIGN_LAYER: OCI_NONDISTRIBUTABLE_LAYER,
    DOCKER_FOREIGN_LAYER_GZIP: OCI_NONDISTRIBUTABLE_LAYER_GZIP,
}
_DOCKER_OF_OCI = {oci: docker for docker, oci in _OCI_OF_DOCKER.items()}
_DOCUMENTS = frozenset(
    {
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_LIST,
        DOCKER_MANIFEST,
        DOCKER_SCHEMA1,
        DOCKER_SCHEMA1_SIGNED,
    }
)


def is_index(media_type: str) -> bool:
    """Tell whether it is an OCI index or a Docker manifest list."""
    return media_type in (OCI_INDEX, DOCKER_LIST)


def is_manifest(media_type: str) -> bool:
    """Tell whether it is the manifest of a single image or artifact."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_schema1(media_type: str) -> bool:
    """Tell whether it is a manifest in Docker's schema 1, which was abandoned in 2017."""
    return media_type in (DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED)


def is_document(media_type: str) -> bool:
    """Tell whether it is a manifest or an index of any format, so that what it names can be read.

    Registries keep these among their manifests; everything else is a blob.
    """
    return media_type in _DOCUMENTS


def is_image_config(media_type: str) -> bool:
    """Tell whether it is an image configuration, and not the config of an artifact."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_image(config: str, layers: Iterable[str]) -> bool:
    """Tell by the types of its config and layers whether a manifest is an image's.

    Signatures of cosign and attestations of BuildKit have the config of an image, too, and layers
    of which not a single one belongs to a file system.
    """
    if not is_image_config(config):
        return False
    has_layers = False
    for media_type in layers:
        if _is_of_file_system(media_type):
            return True
        has_layers = True
    return not has_layers


def _is_of_file_system(media_type: str) -> bool:
    # Other tools have types of their own there, such as stacker for squashfs.
    return ".image.layer." in media_type or ".image.rootfs." in media_type


def is_layer(media_type: str) -> bool:
    """Tell whether it is a layer tar of a known type, foreign ones included."""
    return media_type in _LAYERS


def is_foreign_layer(media_type: str) -> bool:
    """Tell whether it is a non-distributable layer, which may be only at its `urls` (layer.md)."""
    return media_type in _FOREIGN


def is_encrypted_layer(media_type: str) -> bool:
    """Tell whether it is an encrypted layer: it can be copied, but not read."""
    return media_type.endswith(_ENCRYPTED) and is_layer(media_type.removesuffix(_ENCRYPTED))


def declared_compression(media_type: str) -> Compression | None:
    """Return the compression that the type of a layer claims; None if it claims nothing.

    It may be wrong: Docker and podman write `tar.gzip` over plain tars.
    """
    return _LAYERS.get(media_type)


def layer_type(compression: Compression, *, docker: bool = False) -> str:
    """Return the media type of a layer with this compression."""
    return (_DOCKER_LAYERS if docker else _OCI_LAYERS)[compression]


def in_family(media_type: str, *, docker: bool) -> str:
    """Return the type of the same content among docker's types, or among OCI's.

    A type that has no other name there is returned as it is.
    """
    return (_DOCKER_OF_OCI if docker else _OCI_OF_DOCKER).get(media_type, media_type)
