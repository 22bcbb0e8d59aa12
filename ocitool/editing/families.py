"""An image in the other family of media types; its configuration, so its image ID, stays."""

from collections.abc import Iterator

from ocitool.editing.parts import ImageParts
from ocitool.errors import Refused
from ocitool.oci import Index, mediatype
from ocitool.oci.document import encode
from ocitool.oci.family import use_family
from ocitool.oci.members import MANIFEST_ORDER, members_of, put

_ONLY_OCI = ("annotations", "subject", "artifactType")
"""What docker's format has no place for."""


def image_in_family(
    parts: ImageParts, *, docker: bool, drop: bool = False
) -> tuple[ImageParts, list[str]]:
    """Return an image with the media types of a family, and what was dropped for that.

    Refused for docker's format if a layer is zstd, which it does not know, and unless `drop`, if
    the manifest has annotations, a subject or a type of its own.
    """
    own = mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST
    if parts.manifest.media_type == own:
        return parts, []
    fields = members_of(parts.manifest.raw)
    dropped = []
    if docker:
        _refuse_zstd(parts)
        dropped = [*_drop(fields, "the manifest", drop=drop)]
    use_family(fields, docker=docker)
    return parts.with_members(manifest=fields), dropped


def index_in_family(
    index: Index, *, docker: bool, drop: bool = False
) -> tuple[bytes, str, list[str]]:
    """Return the bytes and the type of an index in a family, and what was dropped for that."""
    own = mediatype.DOCKER_LIST if docker else mediatype.OCI_INDEX
    if index.media_type == own:
        return index.raw, own, []
    fields = members_of(index.raw)
    dropped = [*_drop(fields, "the index", drop=drop)] if docker else []
    put(fields, "mediaType", own, MANIFEST_ORDER)
    return encode(fields), own, dropped


def _refuse_zstd(parts: ImageParts) -> None:
    for number, layer in enumerate(parts.manifest.layers, 1):
        if mediatype.declared_compression(layer.media_type) == "zstd":
            raise Refused(
                f"layer {number} is compressed with zstd, which docker's format does not know",
                hint="--compression gzip converts it",
            )


def _drop(fields: dict[str, object], what: str, *, drop: bool) -> Iterator[str]:
    for key in _ONLY_OCI:
        value = fields.get(key)
        if not value:
            continue
        if not drop:
            raise Refused(
                f"{what} has {key}, for which docker's format has no place",
                hint="--drop leaves it out",
            )
        del fields[key]
        names = f": {', '.join(value)}" if isinstance(value, dict) and key == "annotations" else ""
        yield f"{key} of {what} left out{names}"
