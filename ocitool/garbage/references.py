"""What one stored document leads to, for a walk that reads very many of them.

A document whose digests are all where the specification puts them is decoded in one step. Any
other document is read strictly, and then every object in it that looks like a descriptor counts.
"""

import hashlib
import re
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from ocitool.errors import NotFound
from ocitool.image.graph import (
    absence_rule,
    children,
    descriptors_in,
    fields_of_unknown,
    read_document,
    unlisted,
)
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, mediatype
from ocitool.places.layout import Layout

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class DescriptorRef(NamedTuple):
    """A descriptor inside a document, with its digest as text: there may be a million of them."""

    media_type: str
    digest: str
    size: int
    may_be_absent: bool

    @classmethod
    def to(cls, descriptor: Descriptor, *, may_be_absent: bool) -> "DescriptorRef":
        """Return the reference that leads to a descriptor."""
        return cls(descriptor.media_type, str(descriptor.digest), descriptor.size, may_be_absent)

    @property
    def descriptor(self) -> Descriptor:
        """The same as other parts of ocitool know it."""
        digest = Digest.parse(self.digest)
        return Descriptor(media_type=self.media_type, digest=digest, size=self.size)


class Document(NamedTuple):
    """What a stored document leads to, and the digest that it is attached to, or None.

    `leaves` are the digests of what is needed and leads to nothing itself: most references are
    such, and there are many. `is_image` is False for an artifact.
    """

    references: tuple[DescriptorRef, ...]
    subject: str | None = None
    is_image: bool = True
    leaves: tuple[str, ...] = ()


class _Link(Struct):
    digest: str
    size: int
    media_type: str = field(name="mediaType")
    artifact_type: str | None = field(default=None, name="artifactType")


class _Plain(Struct):
    config: _Link | None = None
    layers: tuple[_Link, ...] = ()
    manifests: tuple[_Link, ...] = ()
    subject: _Link | None = None
    version: int = field(default=2, name="schemaVersion")
    media_type: str | None = field(default=None, name="mediaType")


_LEAVES = frozenset(
    {
        mediatype.OCI_CONFIG,
        mediatype.DOCKER_CONFIG,
        *(mediatype.layer_type(c) for c in ("none", "gzip", "zstd")),
        *(mediatype.layer_type(c, docker=True) for c in ("none", "gzip", "zstd")),
    }
)
_DECODER = msgspec.json.Decoder(_Plain)


def read_references(layout: Layout, ref: DescriptorRef) -> Document | None:
    """Return what a stored blob leads to; None for a blob that is not a document.

    NotFound when it is absent, IntegrityError when it is damaged or makes no sense.
    """
    known = mediatype.is_document(ref.media_type)
    raw = _read_verified(layout, ref)
    if raw is not None and known:
        document = _decode_fast(raw, ref.media_type)
        if document is not None:
            return document
    if known and not mediatype.is_schema1(ref.media_type):
        return _decode_strictly(layout, ref)
    return _decode_unknown(layout, ref, raw)


def _read_verified(layout: Layout, ref: DescriptorRef) -> bytes | None:
    """Return the bytes of a small blob that is plainly all right, else None."""
    if ref.size > DEFAULT_LIMITS.manifest_bytes:
        return None
    algorithm, _, hex_digits = ref.digest.partition(":")
    try:
        raw = layout.blob_folder(algorithm).read_exactly(hex_digits, ref.size)
    except NotFound:
        return None
    if raw is None or hashlib.new(algorithm, raw).hexdigest() != hex_digits:
        return None
    return raw


def _decode_fast(raw: bytes, media_type: str) -> Document | None:
    """Return what a document leads to if every digest in it is accounted for, else None."""
    if b"\\" in raw:
        return None
    try:
        plain = _DECODER.decode(raw)
    except msgspec.DecodeError:
        return None
    index = mediatype.is_index(media_type)
    config = () if plain.config is None else (plain.config, *plain.layers)
    links = plain.manifests if index else config
    if not (links and _accounts_for_all(plain, raw, media_type, len(links))):
        return None
    may_be_absent = absence_rule(media_type)
    references = [
        DescriptorRef(link.media_type, link.digest, link.size, may_be_absent(link.media_type))
        for link in links
        if index or link.media_type not in _LEAVES
    ]
    return Document(
        tuple(references),
        plain.subject.digest if plain.subject is not None else None,
        _is_image(links, index=index),
        () if index else tuple(link.digest for link in links if link.media_type in _LEAVES),
    )


def _is_image(links: tuple[_Link, ...], *, index: bool) -> bool:
    if index:
        return not all(link.artifact_type for link in links)
    return mediatype.is_image(links[0].media_type, (link.media_type for link in links[1:]))


def _accounts_for_all(plain: _Plain, raw: bytes, media_type: str, links: int) -> bool:
    """Tell whether the decoded fields hold every digest of a document, and none stands twice."""
    counted = links + (plain.subject is not None)
    if raw.count(b"sha256:") + raw.count(b"sha512:") != counted:
        return False
    if plain.version != 2 or plain.media_type not in (None, media_type):
        return False
    lists, parts = (1, 0) if mediatype.is_index(media_type) else (0, 1)
    return (
        raw.count(b'"config"') <= parts
        and raw.count(b'"layers"') <= parts
        and raw.count(b'"manifests"') <= lists
        and raw.count(b'"subject"') <= 1
    )


def _decode_strictly(layout: Layout, ref: DescriptorRef) -> Document:
    document = read_document(layout, ref.descriptor)
    listed = [DescriptorRef.to(child, may_be_absent=absent) for child, absent in children(document)]
    known = {child.digest for child in listed}
    more = (ref for ref in map(_may_be_absent, unlisted(document)) if ref.digest not in known)
    subject = str(document.subject.digest) if document.subject is not None else None
    return Document((*listed, *more), subject, document.is_image)


def _decode_unknown(layout: Layout, ref: DescriptorRef, raw: bytes | None) -> Document | None:
    """Read what may be a document of an unknown type; every descriptor in it counts."""
    if raw is None:
        if ref.size <= DEFAULT_LIMITS.manifest_bytes:
            # The layout says best what is wrong with it.
            with layout.open(ref.descriptor) as blob:
                blob.read_all(DEFAULT_LIMITS.manifest_bytes)
        return None
    if mediatype.is_schema1(ref.media_type):
        found = {match.decode() for match in _DIGEST.findall(raw)}
        return Document(tuple(DescriptorRef("", digest, 0, True) for digest in sorted(found)))
    fields = fields_of_unknown(raw)
    if fields is None:
        return None
    subject = fields.get("subject")
    attached = subject.get("digest") if isinstance(subject, dict) else None
    return Document(
        tuple(map(_may_be_absent, descriptors_in(fields))),
        attached if isinstance(attached, str) else None,
        False,
    )


def _may_be_absent(descriptor: Descriptor) -> DescriptorRef:
    return DescriptorRef.to(descriptor, may_be_absent=True)
