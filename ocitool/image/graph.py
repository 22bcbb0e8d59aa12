"""What an image is made of: children, closures, platforms, and what lives with what.

Image graphs are shallow and their manifests small, so a closure is read as a whole before any
layer moves. Every walk is iterative and visits a digest once, so an index that lists itself, or
ten times the next one, costs no more than its blobs.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from msgspec import Struct, field

from ocitool.errors import IntegrityError, LimitExceeded, NotFound, OcitoolError
from ocitool.image.content import Closure, Inventory, Root, Source
from ocitool.oci import (
    DEFAULT_LIMITS,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Limits,
    Manifest,
    mediatype,
    parse_manifest,
)
from ocitool.oci.annotations import ATTESTATION, REFERENCE_DIGEST, REFERENCE_TYPE, SUBJECT

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


def closure_of(source: Source, root: Descriptor, limits: Limits = DEFAULT_LIMITS) -> Closure:
    """Read all manifests under a root into a closure.

    A child of an index that is absent, or lacks one of its blobs, is `missing`; so is nothing
    else: a root without its own blobs raises NotFound. IntegrityError for a damaged graph,
    LimitExceeded for one that is too deep.
    """
    if not mediatype.is_document(root.media_type):
        return Closure(root=root, documents=(), blobs=(root,))
    return _Planner(source, limits).plan(root)


@functools.cache
def _is_inventory(kind: type[Source]) -> bool:
    # Asking what a source can do costs more than asking whether it has a blob.
    return issubclass(kind, Inventory)


class _Planner:
    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._has = cast("Inventory", source).has if _is_inventory(type(source)) else None
        self._known: dict[tuple[str, int], bool] = {}
        self._limits = limits
        self._sizes: dict[Digest, int] = {}
        self._documents: dict[Digest, tuple[Descriptor, Document]] = {}
        self._blobs: dict[Digest, Descriptor] = {}
        self._missing: dict[Digest, Descriptor] = {}

    def plan(self, root: Descriptor) -> Closure:
        # A stack of (descriptor, depth, decoded document once its children were visited).
        stack: list[tuple[Descriptor, int, Document | None]] = [(root, 0, None)]
        visited: set[Digest] = set()
        while stack:
            descriptor, depth, document = stack.pop()
            if document is not None:
                self._documents[descriptor.digest] = (descriptor, document)
                continue
            self._check_size(descriptor)
            if descriptor.digest in visited:
                continue
            visited.add(descriptor.digest)
            if depth > self._limits.index_depth:
                raise LimitExceeded(f"indexes are nested deeper than {self._limits.index_depth}")
            document = self._read(descriptor, optional=depth > 0)
            if document is not None:
                stack.append((descriptor, depth, document))
                if isinstance(document, Index):
                    self._push_children(document, depth, stack)
        return Closure(
            root=root,
            documents=tuple(self._documents.values()),
            blobs=tuple(self._blobs.values()),
            missing=tuple(self._missing.values()),
        )

    def _push_children(
        self, index: Index, depth: int, stack: list[tuple[Descriptor, int, Document | None]]
    ) -> None:
        for child in reversed(index.manifests):
            if mediatype.is_document(child.media_type):
                stack.append((child, depth + 1, None))
            elif self._is_present(child):
                self._add_blobs([child])
            else:
                self._missing[child.digest] = child

    def _read(self, descriptor: Descriptor, *, optional: bool) -> Document | None:
        try:
            document = read_document(self._source, descriptor, self._limits)
            if isinstance(document, Manifest):
                self._require_content(descriptor, document)
        except NotFound:
            if not optional:
                raise
            self._missing[descriptor.digest] = descriptor
            return None
        if isinstance(document, Manifest):
            self._add_blobs(content_of(document))
        return document

    def _require_content(self, descriptor: Descriptor, manifest: Manifest) -> None:
        for blob in content_of(manifest):
            if not self._is_present(blob) and not mediatype.is_foreign_layer(blob.media_type):
                # The place itself says best whether it is absent or has another size.
                self._source.open(blob).close()
                raise NotFound(
                    f"blob {blob.digest} is missing; manifest {descriptor.digest.short} needs it"
                )

    def _is_present(self, descriptor: Descriptor) -> bool:
        if self._has is None:
            return True
        # Two algorithms give names of different lengths, so the digits alone tell digests apart.
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
                "bytes; one of them lies"
            )


def is_attestation(descriptor: Descriptor) -> bool:
    """Tell whether a child of an index is BuildKit's attestation of another child."""
    return descriptor.annotations.get(REFERENCE_TYPE) == ATTESTATION


def attested(descriptor: Descriptor) -> str | None:
    """Return the digest text of the image that an attestation is about, or None."""
    if not is_attestation(descriptor):
        return None
    return descriptor.annotations.get(REFERENCE_DIGEST)


def image_children(index: Index) -> tuple[Descriptor, ...]:
    """Return the children of an index that can be images: no attestation, no unknown platform."""
    return tuple(
        child
        for child in index.manifests
        if mediatype.is_document(child.media_type)
        and not is_attestation(child)
        and not (child.platform is not None and child.platform.is_unknown)
    )


def images_of(closure: Closure) -> tuple[tuple[Descriptor, Manifest], ...]:
    """Return the image manifests of a closure, in the order in which its indexes list them."""
    found: dict[Digest, tuple[Descriptor, Manifest]] = {}
    documents = {descriptor.digest: document for descriptor, document in closure.documents}
    stack: list[Descriptor] = [closure.root]
    visited: set[Digest] = set()
    while stack:
        descriptor = stack.pop()
        document = documents.get(descriptor.digest)
        if document is None or descriptor.digest in visited:
            continue
        visited.add(descriptor.digest)
        if isinstance(document, Index):
            stack.extend(reversed(image_children(document)))
        elif document.is_image:
            found[descriptor.digest] = (descriptor, document)
    return tuple(found.values())


def subject_of(root: Root, document: Document | None) -> Digest | None:
    """Return the digest that a root is attached to, or None (image-spec manifest.md, subject)."""
    text = root.descriptor.annotations.get(SUBJECT)
    if text:
        return Digest.parse(text)
    subject = document.subject if document is not None else None
    return subject.digest if subject is not None else None


def root_subject(source: Source, root: Root) -> Digest | None:
    """Read what a root is attached to; None also when its manifest cannot be read."""
    try:
        document = read_document(source, root.descriptor)
    except OcitoolError:
        document = None
    return subject_of(root, document)


class Reached(Struct):
    """What walks came to: all digests, and those of the documents whose children were followed.

    The two differ: one image may hold as a layer what another image has for its manifest.
    """

    digests: set[Digest] = field(default_factory=set)
    followed: set[Digest] = field(default_factory=set)


def reach(
    source: Source,
    roots: Iterable[Descriptor],
    reached: Reached,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Add everything under the roots to `reached`.

    An absent child of an index is a sparse index and skipped; any other manifest that is absent
    or unreadable raises, so that nothing is deleted because of a read error.
    """
    stack: list[tuple[Descriptor, bool]] = [(root, False) for root in roots]
    while stack:
        descriptor, optional = stack.pop()
        reached.digests.add(descriptor.digest)
        if descriptor.digest in reached.followed:
            continue
        if not mediatype.is_document(descriptor.media_type):
            continue
        try:
            document = read_document(source, descriptor, limits)
        except NotFound:
            if optional:
                continue
            raise
        reached.followed.add(descriptor.digest)
        stack.extend(_children(document))


def _children(document: Document) -> Iterator[tuple[Descriptor, bool]]:
    if isinstance(document, Index):
        return ((child, True) for child in document.manifests)
    return ((blob, False) for blob in content_of(document))
