"""Manifests and indexes among the blobs of a layout of which only the digest is known."""

import hashlib

from ocitool.errors import NotFound, OcitoolError
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Index, Manifest, parse_manifest
from ocitool.places.layout.layout import Layout


def stored_document(layout: Layout, digest: Digest) -> tuple[Descriptor, Manifest | Index] | None:
    """Return a manifest or index and its descriptor; None for any other or a damaged blob."""
    raw = _read(layout, digest)
    if raw is None:
        return None
    try:
        document = parse_manifest(raw, None)
    except OcitoolError:
        return None
    descriptor = Descriptor(media_type=document.media_type, digest=digest, size=len(raw))
    return descriptor, document


def _read(layout: Layout, digest: Digest) -> bytes | None:
    try:
        folder = layout.blob_folder(digest.algorithm)
    except NotFound:
        return None
    size = folder.size_of(digest.hex)
    if size is None or size > DEFAULT_LIMITS.manifest_bytes:
        return None
    raw = folder.read_exactly(digest.hex, size)
    # Most blobs are layers and configs: these need not be hashed.
    if raw is None or b'"schemaVersion"' not in raw:
        return None
    return raw if hashlib.new(digest.algorithm, raw).hexdigest() == digest.hex else None
