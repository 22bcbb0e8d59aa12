"""The children that an index lists: replaced by new ones, or left out, all else as it was."""

from collections.abc import Collection, Mapping
from typing import cast

from ocitool.oci import mediatype
from ocitool.oci.descriptor import Descriptor
from ocitool.oci.digest import Digest
from ocitool.oci.document import encode
from ocitool.oci.manifest import Index
from ocitool.oci.members import DESCRIPTOR_ORDER, MANIFEST_ORDER, members_of, put


def list_anew(
    index: Index, renamed: Mapping[Digest, Descriptor], without: Collection[Digest] = ()
) -> tuple[bytes, str]:
    """Return the bytes and the type of an index that lists new children; it may stay the same.

    `renamed` has the new descriptor by the digest of the old child: its type, digest and size are
    used, and its platform where it has one. Annotations that name the digest of an old child, as
    those of BuildKit's attestations do, then name the new one. `without` are children to leave out.
    Order and annotations stay. A docker list that gets an OCI child becomes an OCI index.
    """
    fields = members_of(index.raw)
    texts = {str(old): str(new.digest) for old, new in renamed.items()}
    kept = []
    for value, child in zip(_children(fields), index.manifests, strict=True):
        if child.digest in without:
            continue
        new = renamed.get(child.digest)
        if new is not None:
            _replace(value, new)
        _rename(value.get("annotations"), texts)
        kept.append(value)
    if len(kept) < len(index.manifests):
        fields["manifests"] = kept
    media_type = _family(fields, index, renamed)
    changed = fields != members_of(index.raw)
    return (encode(fields) if changed else index.raw), media_type


def _children(fields: dict[str, object]) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", fields["manifests"] or [])


def _replace(value: dict[str, object], new: Descriptor) -> None:
    value.update(mediaType=new.media_type, digest=str(new.digest), size=new.size)
    value.pop("data", None)
    if new.platform is not None:
        put(value, "platform", new.platform.to_json(), DESCRIPTOR_ORDER)


def _rename(annotations: object, texts: Mapping[str, str]) -> None:
    if isinstance(annotations, dict):
        for key, text in annotations.items():
            annotations[key] = texts.get(text, text)


def _family(fields: dict[str, object], index: Index, renamed: Mapping[Digest, Descriptor]) -> str:
    """Return the type of an index, made OCI's where a child of docker's list is so now."""
    is_docker = index.media_type == mediatype.DOCKER_LIST
    now_oci = any(
        child.digest in renamed
        and child.media_type == mediatype.DOCKER_MANIFEST
        and renamed[child.digest].media_type == mediatype.OCI_MANIFEST
        for child in index.manifests
    )
    if not (is_docker and now_oci):
        return index.media_type
    put(fields, "mediaType", mediatype.OCI_INDEX, MANIFEST_ORDER)
    return mediatype.OCI_INDEX
