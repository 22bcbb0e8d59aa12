"""What an image is made of: children, closures, platforms, and attached artifacts.

Image graphs are shallow and their manifests small, so a closure is read as a whole before any
layer is copied. One function walks the graph, and each caller gives it a reader. It is iterative
and visits a digest once, so an index that lists itself, or ten times the next one, costs no more
than its blobs.
"""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    MalformedDocument,
    NotFound,
    OcitoolError,
)
from ocitool.image import attached
from ocitool.image.attached import Content, is_attestation
from ocitool.image.content import Closure, Inventory, Root, Source
from ocitool.oci import (
    DEFAULT_LIMITS,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Limits,
    Manifest,
    decode_object,
    mediatype,
    parse_manifest,
)
from ocitool.oci.annotations import full_name, label

Document = Manifest | Index


def read_document(
    source: Source, descriptor: Descriptor, limits: Limits = DEFAULT_LIMITS
) -> Document:
    """Read and decode a manifest or index, verified."""
    with source.open(descriptor) as blob:
        raw = blob.read_all(limits.manifest_bytes)
    what = f"manifest {descriptor.digest.short}"
    return parse_manifest(raw, descriptor.media_type or None, limits=limits, what=what)


def read_config(source: Source, manifest: Manifest, limits: Limits = DEFAULT_LIMITS) -> ImageConfig:
    """Read and decode an image's configuration, verified."""
    with source.open(manifest.config) as blob:
        raw = blob.read_all(limits.config_bytes)
    what = f"config {manifest.config.digest.short}"
    return ImageConfig.parse(raw, limits=limits, what=what)


def content_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the config and the layers of a manifest, in order."""
    return (manifest.config, *manifest.layers)


def absence_rule(document_type: str) -> Callable[[str], bool]:
    """Return a function that tells by media type whether a place may lack a listed blob.

    An index may list platforms that were not copied, and a foreign layer is where its `urls` lead
    (image-spec image-index.md; layer.md, "Non-Distributable Layers"). Everything else is needed.
    """
    return _always if mediatype.is_index(document_type) else mediatype.is_foreign_layer


def _always(_media_type: str) -> bool:
    return True


def is_build_cache(document: Document) -> bool:
    """Tell whether a document is a cache that BuildKit exported: layers, and how to reuse them."""
    listed = document.manifests if isinstance(document, Index) else (document.config,)
    return any(child.media_type == mediatype.BUILDKIT_CACHE for child in listed)


def kind_of(document: Document | None) -> str:
    """Return what a document is instead of an image, to follow "is not an image" in a message."""
    if document is not None and is_build_cache(document):
        return " but a cache that BuildKit exported"
    if not isinstance(document, Manifest):
        return ""
    if document.artifact_type is None and mediatype.is_image_config(document.config.media_type):
        return ": none of its layers is a file system"
    return f" but an artifact of type {document.effective_artifact_type}"


def children(document: Document) -> list[tuple[Descriptor, bool]]:
    """Return what a document lists, in order, each with whether it may be absent."""
    listed = document.manifests if isinstance(document, Index) else content_of(document)
    may_be_absent = absence_rule(document.media_type)
    return [(child, may_be_absent(child.media_type)) for child in listed]


def unlisted(document: Document) -> list[Descriptor]:
    """Return the descriptors in a document at places where the specification has none.

    Their blobs are kept but not copied: a later specification may define these places.
    """
    listed = {child.digest for child, _ in children(document)}
    fields = decode_object(document.raw, what="manifest")
    return [found for found in descriptors_in(fields) if found.digest not in listed]


def read_unknown(source: Source, descriptor: Descriptor) -> list[Descriptor]:
    """Read a blob that may be a document of an unknown type; return the descriptors in it."""
    if descriptor.size > DEFAULT_LIMITS.manifest_bytes:
        return []
    with source.open(descriptor) as blob:
        fields = fields_of_unknown(blob.read_all(DEFAULT_LIMITS.manifest_bytes))
    return list(descriptors_in(fields)) if fields is not None else []


def fields_of_unknown(raw: bytes) -> dict[str, object] | None:
    """Decode what may be a document of an unknown type; None for a blob that is not JSON."""
    if not raw.lstrip().startswith(b"{"):
        return None
    try:
        return decode_object(raw, what="document", limit=len(raw))
    except IntegrityError:
        return None


def descriptors_in(fields: Mapping[str, object]) -> Iterator[Descriptor]:
    """Yield every object in a decoded document that looks like a descriptor, its subject aside."""
    stack = [value for key, value in fields.items() if key != "subject"]
    while stack:
        inner = stack.pop()
        if isinstance(inner, list):
            stack += inner
        elif isinstance(inner, dict):
            stack += inner.values()
            descriptor = _as_descriptor(inner)
            if descriptor is not None:
                yield descriptor


def _as_descriptor(fields: Mapping[str, object]) -> Descriptor | None:
    media_type, digest, size = fields.get("mediaType"), fields.get("digest"), fields.get("size")
    if not isinstance(digest, str) or not isinstance(size, int):
        return None
    try:
        parsed = Digest.parse(digest)
    except MalformedDocument:
        return None
    known_type = media_type if isinstance(media_type, str) else ""
    return Descriptor(media_type=known_type, digest=parsed, size=size)


class Node(Protocol):
    """A descriptor, in whatever form a walk reads it."""

    @property
    def media_type(self) -> str:
        """What it says about the content."""

    @property
    def digest(self) -> Hashable:
        """The name of the content."""

    @property
    def size(self) -> int:
        """The bytes of the content, as promised."""


N = TypeVar("N", bound=Node)


class Visit(NamedTuple, Generic[N]):
    """One stop of a walk. The roots have depth 0; a root must be there."""

    node: N
    may_be_absent: bool
    depth: int


def walk(
    read: Callable[[Visit[N]], Sequence[tuple[N, bool]]],
    roots: Iterable[N],
    on_missing: Callable[[Visit[N], NotFound], None],
) -> Iterator[N]:
    """Visit everything under some roots, and yield what was read: children before parents.

    `read` returns what a visited node lists, with whether each may be absent, and nothing for a
    blob that lists nothing. It raises NotFound for what is not there; `on_missing` then decides
    whether that is an error. A node is visited once, however many documents list it, but again
    where it has another size or role: one of two descriptors may lie, and what is absent here may
    be needed there.
    """
    visited: set[tuple[Hashable, int, bool, bool]] = set()
    for root in roots:
        stack = [(Visit(root, False, 0), False)]
        while stack:
            visit, is_read = stack.pop()
            node, optional, depth = visit
            if is_read:
                yield node
                continue
            key = (node.digest, node.size, mediatype.is_document(node.media_type), optional)
            if key in visited:
                continue
            visited.add(key)
            try:
                found = read(visit)
            except NotFound as error:
                on_missing(visit, error)
                continue
            if not found:
                yield node
                continue
            stack.append((visit, True))
            stack += [(Visit(child, absent, depth + 1), False) for child, absent in reversed(found)]


def closure_of(
    source: Source,
    root: Descriptor,
    limits: Limits = DEFAULT_LIMITS,
    *,
    without_layers: bool = False,
) -> Closure:
    """Read all manifests under a root into a closure.

    Only a child of an index can be `missing`: it is absent itself, or one of its blobs is. A root
    without its own blobs raises NotFound; where it may be `without_layers`, only without its
    configuration. IntegrityError for a damaged graph, LimitExceeded for one that is too deep.
    """
    if not mediatype.is_document(root.media_type):
        return Closure(root=root, documents=(), blobs=(root,))
    return _ClosureReader(source, limits, without_layers=without_layers).closure(root)


@functools.cache
def _is_inventory(kind: type[Source]) -> bool:
    # Cached: this check takes longer than looking for a blob.
    return issubclass(kind, Inventory)


class _ClosureReader:
    def __init__(self, source: Source, limits: Limits, *, without_layers: bool) -> None:
        self._source = source
        self._without_layers = without_layers
        self._has = cast("Inventory", source).has if _is_inventory(type(source)) else None
        self._known: dict[tuple[str, int], bool] = {}
        self._limits = limits
        self._sizes: dict[Digest, int] = {}
        self._documents: dict[Digest, Document] = {}
        self._blobs: dict[Digest, Descriptor] = {}
        self._missing: dict[Digest, Descriptor] = {}
        self._reasons: dict[Digest, str] = {}

    def closure(self, root: Descriptor) -> Closure:
        order = {d.digest: d for d in walk(self._read, [root], self._miss)}
        return Closure(
            root=root,
            documents=tuple((order[d], self._documents[d]) for d in order if d in self._documents),
            blobs=tuple(self._blobs.values()),
            missing=tuple(self._missing.values()),
            reasons=self._reasons,
        )

    def _read(self, visit: Visit[Descriptor]) -> Sequence[tuple[Descriptor, bool]]:
        descriptor = visit.node
        self._check_size(descriptor)
        if not mediatype.is_document(descriptor.media_type):
            # A child of an index whose type is unknown is copied as a blob.
            if not self._is_present(descriptor):
                raise NotFound(f"blob {descriptor.digest} is missing")
            self._add_blobs([descriptor])
            return ()
        if visit.depth > self._limits.index_depth:
            raise LimitExceeded(f"indexes are nested deeper than {self._limits.index_depth}")
        document = read_document(self._source, descriptor, self._limits)
        listed = children(document)
        if isinstance(document, Manifest):
            if visit.depth or not self._without_layers or not self._is_present(document.config):
                self._require_content(descriptor, document)
            self._add_blobs(content_of(document))
            listed = []
        self._documents[descriptor.digest] = document
        return listed

    def _miss(self, visit: Visit[Descriptor], error: NotFound) -> None:
        if not visit.may_be_absent:
            raise error
        self._missing[visit.node.digest] = visit.node
        there = self._is_present(visit.node)
        reason = error.message if there else f"{_called(visit.node)} is missing"
        self._reasons[visit.node.digest] = reason

    def _require_content(self, descriptor: Descriptor, document: Manifest) -> None:
        for blob, absent in children(document):
            if not absent and not self._is_present(blob):
                # If it has another size, or the place knows more, this raises the better error.
                reason = f"blob {blob.digest}"
                hint = "save, copy or pull it again, whole, where it came from"
                try:
                    self._source.open(blob).close()
                except NotFound as error:
                    reason, hint = error.message, error.hint or hint
                part = _part(document, blob)
                raise NotFound(f"{part} of {_called(descriptor)} is missing: {reason}", hint=hint)

    def _is_present(self, descriptor: Descriptor) -> bool:
        if self._has is None:
            return True
        # The algorithms have digests of different lengths, so the hex digits alone are unique.
        key = (descriptor.digest.hex, descriptor.size)
        present = self._known.get(key)
        if present is None:
            present = self._known[key] = self._has(descriptor)
        return present

    def _add_blobs(self, blobs: Sequence[Descriptor]) -> None:
        for blob in blobs:
            self._check_size(blob)
            if self._is_present(blob):
                self._blobs.setdefault(blob.digest, blob)

    def _check_size(self, descriptor: Descriptor) -> None:
        known = self._sizes.setdefault(descriptor.digest, descriptor.size)
        if known != descriptor.size:
            raise IntegrityError(
                f"two descriptors of {descriptor.digest} promise {known} and {descriptor.size} "
                "bytes; one of them is wrong"
            )


def _part(document: Manifest, blob: Descriptor) -> str:
    """Return what a blob is in an image: its configuration, or which layer."""
    if blob.digest == document.config.digest:
        return "the configuration"
    number = [layer.digest for layer in document.layers].index(blob.digest) + 1
    return f"layer {number} of {len(document.layers)}"


def _called(descriptor: Descriptor) -> str:
    """Return what to call an image of which only the descriptor is known."""
    name = full_name(descriptor.annotations) or label(descriptor.annotations)
    platform = f" ({descriptor.platform})" if descriptor.platform is not None else ""
    return (name or f"image {descriptor.digest.short}") + platform


def image_children(index: Index) -> tuple[Descriptor, ...]:
    """Return the children of an index that can be images, without attestations and the like."""
    return tuple(
        child
        for child in index.manifests
        if mediatype.is_document(child.media_type)
        and not is_attestation(child)
        and not (child.platform is not None and child.platform.is_unknown)
    )


def images_of(closure: Closure) -> tuple[tuple[Descriptor, Manifest], ...]:
    """Return the image manifests of a closure, in the order in which its indexes list them."""
    documents = {descriptor.digest: document for descriptor, document in closure.documents}

    def read(visit: Visit[Descriptor]) -> Sequence[tuple[Descriptor, bool]]:
        document = documents.get(visit.node.digest)
        listed = image_children(document) if isinstance(document, Index) else ()
        return [(child, True) for child in listed]

    found: dict[Digest, tuple[Descriptor, Manifest]] = {}
    for descriptor in walk(read, [closure.root], lambda _visit, _error: None):
        document = documents.get(descriptor.digest)
        if not isinstance(document, Manifest) or attached.is_attached_kind(descriptor):
            continue
        if document.is_image:
            found.setdefault(descriptor.digest, (descriptor, document))
    return tuple(found.values())


def root_subject(source: Source, root: Root) -> str | None:
    """Return what a root is attached to; read its document only if nothing else decides."""

    def read() -> Content | None:
        try:
            return attached.content_of(read_document(source, root.descriptor))
        except OcitoolError:
            return None

    return attached.subject_of(root.descriptor.annotations, attached.names_of(root), read)
