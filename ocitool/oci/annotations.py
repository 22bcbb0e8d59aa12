"""Annotations that give an entry of an index.json its name (image-spec annotations.md).

`org.opencontainers.image.ref.name` is what most tools look up; `io.containerd.image.name` is
containerd's full name. They disagree in the wild: the first may be a full reference, or only a
tag. Reading prefers the second.
"""

from collections.abc import Mapping
from functools import lru_cache

from ocitool.errors import UsageError
from ocitool.oci.reference import Reference

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
SUBJECT = "io.containerd.manifest.subject"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"


def full_name(annotations: Mapping[str, str]) -> str | None:
    """Return the full reference that an entry's annotations hold, or None.

    A bare word in `ref.name` is a tag without a repository and no name: none is invented.
    """
    image_name = annotations.get(IMAGE_NAME)
    if image_name and (name := _normalized(image_name)):
        return name
    ref_name = annotations.get(REF_NAME, "")
    if "/" in ref_name or ":" in ref_name:
        return _normalized(ref_name)
    return None


def label(annotations: Mapping[str, str]) -> str | None:
    """Return what an entry is called when that is no full reference, or None."""
    return annotations.get(REF_NAME) or annotations.get(IMAGE_NAME) or None


def without_names(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that do not name the entry."""
    return {key: value for key, value in annotations.items() if key not in (REF_NAME, IMAGE_NAME)}


# One command asks for the same names of a large store several times.
@lru_cache(maxsize=1 << 15)
def _normalized(text: str) -> str | None:
    try:
        return Reference.parse(text).name
    except UsageError:
        return None
