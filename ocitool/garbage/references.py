"""What one stored document leads to, for whoever has to read very many of them.

A document whose digests are all where the specification puts them is decoded in one step. Any
other one is read strictly, and then every object in it that looks like a descriptor counts.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from ocitool.errors import IntegrityError, MalformedDocument, NotFound
from ocitool.image.graph import read_document
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Manifest, decode_object, mediatype
from ocitool.places.layout import Layout

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Edge(NamedTuple):
    """A descriptor inside a document. What is `optional` may be absent: the index is sparse."""

    media_type: str
    digest: str
    size: int
    optional: bool

    @classmethod
    def to(cls, descriptor: Descriptor, *, optional: bool) -> "Edge":
        """Return the edge that leads to a descriptor."""
        return cls(descriptor.media_type, str(descriptor.digest), descriptor.size, optional)


class Document(NamedTuple):
    """What a document leads to, and what it is attached to, if to anything.

    `is_image` is False for an artifact, that is, for a manifest whose config is no image's.
    """

    edges: tuple[Edge, ...]
    subject: str | None = None
    is_image: bool = True


class _Link(Struct):
    digest: str
    size: int
    media_type: str = field(name="mediaType")


class _Plain(Struct):
    config: _Link | None = None
    layers: tuple[_Link, ...] = ()
    manifests: tuple[_Link, ...] = ()
    subject: _Link | None = None
    version: int = field(default=2, name="schemaVersion")
    media_type: str | None = field(default=None, name="mediaType")


_KEYS = (b'"config"', b'"layers"', b'"manifests"')
_DECODER = msgspec.json.Decoder(_Plain)


def read_edges(layout: Layout, edge: Edge) -> Document | None:
    """Return what a stored blob leads to; None for one that is no document.

    NotFound when it is absent, IntegrityError when it is damaged or makes no sense.
    """
    known = mediatype.is_document(edge.media_type)
    raw = _verified(layout, edge)
    if raw is not None and known:
        document = _at_once(raw, edge.media_type)
        if document is not None:
            return document
    if known and not mediatype.is_schema1(edge.media_type):
        return _strictly(layout, edge)
    return _unknown(layout, edge, raw)


def _verified(layout: Layout, edge: Edge) -> bytes | None:
    """Return the bytes of a small blob that is plainly all right, else None."""
    if edge.size > DEFAULT_LIMITS.manifest_bytes:
        return None
    algorithm, _, hex_digits = edge.digest.partition(":")
    try:
        raw = layout.blob_folder(algorithm).read_exactly(hex_digits, edge.size)
    except NotFound:
        return None
    if raw is None or hashlib.new(algorithm, raw).hexdigest() != hex_digits:
        return None
    return raw


def _at_once(raw: bytes, media_type: str) -> Document | None:
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
    counted = len(links) + (plain.subject is not None)
    if raw.count(b"sha256:") + raw.count(b"sha512:") != counted or not links:
        return None
    if plain.version != 2 or plain.media_type not in (None, media_type):
        return None
    keys = (0, 0, 1) if index else (1, 1, 0)
    if (
        any(raw.count(k) > n for k, n in zip(_KEYS, keys, strict=True))
        or raw.count(b'"subject"') > 1
    ):
        return None
    is_image = index or (
        plain.config is not None and mediatype.is_image_config(plain.config.media_type)
    )
    return Document(
        tuple(
            Edge(
                link.media_type,
                link.digest,
                link.size,
                index or mediatype.is_foreign_layer(link.media_type),
            )
            for link in links
        ),
        plain.subject.digest if plain.subject is not None else None,
        is_image,
    )


def _strictly(layout: Layout, edge: Edge) -> Document:
    descriptor = Descriptor(
        media_type=edge.media_type, digest=Digest.parse(edge.digest), size=edge.size
    )
    document = read_document(layout, descriptor)
    if isinstance(document, Manifest):
        edges = [Edge.to(document.config, optional=False)]
        edges += [
            Edge.to(layer, optional=mediatype.is_foreign_layer(layer.media_type))
            for layer in document.layers
        ]
    else:
        edges = [Edge.to(child, optional=True) for child in document.manifests]
    named = {known.digest for known in edges}
    fields = decode_object(document.raw, what=f"manifest {descriptor.digest.short}")
    more = [found for found in _descriptors(fields) if found.digest not in named]
    is_image = not isinstance(document, Manifest) or document.is_image
    subject = str(document.subject.digest) if document.subject is not None else None
    return Document((*edges, *more), subject, is_image)


def _unknown(layout: Layout, edge: Edge, raw: bytes | None) -> Document | None:
    """Read what may be a document of a type that nobody here knows; anything in it counts."""
    if raw is None:
        if edge.size <= DEFAULT_LIMITS.manifest_bytes:
            # The layout says best what is wrong with it.
            digest = Digest.parse(edge.digest)
            with layout.open(
                Descriptor(media_type=edge.media_type, digest=digest, size=edge.size)
            ) as blob:
                blob.read_all(DEFAULT_LIMITS.manifest_bytes)
        return None
    if not raw.lstrip().startswith(b"{"):
        return None
    if mediatype.is_schema1(edge.media_type):
        found = {match.decode() for match in _DIGEST.findall(raw)}
        return Document(tuple(Edge("", digest, 0, True) for digest in sorted(found)))
    try:
        fields = decode_object(raw, what=f"blob {edge.digest}", limit=len(raw))
    except IntegrityError:
        return None
    subject = fields.get("subject")
    attached = subject.get("digest") if isinstance(subject, dict) else None
    return Document(
        tuple(_descriptors(fields)), attached if isinstance(attached, str) else None, False
    )


def _descriptors(fields: dict[str, object]) -> Iterator[Edge]:
    """Yield every object below that looks like a descriptor, but for what it is attached to."""
    stack: list[object] = [value for key, value in fields.items() if key != "subject"]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()
            edge = _looks_like_one(value)
            if edge is not None:
                yield edge


def _looks_like_one(value: dict[str, object]) -> Edge | None:
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not isinstance(size, int):
        return None
    try:
        Digest.parse(digest)
    except MalformedDocument:
        return None
    return Edge(media_type if isinstance(media_type, str) else "", digest, size, True)
