"""The tar of `imgpkg copy --to-tar`: manifest.json holds all documents, the layers are files.

manifest.json is a list of `{"Image": …}` and `{"ImageIndex": …}` (pkg/imgpkg/imagedesc/types.go of
imgpkg 0.4x). Manifests, indexes and configs stand in it as text, byte for byte, so the digests of
images are kept. A layer is the file `sha256-HEX.tar.gz`, whatever its compression.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ocitool.errors import DigestMismatch, LimitExceeded, MalformedDocument, UsageError
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Index, Limits, Manifest, Reference, parse_manifest
from ocitool.oci.document import (
    array,
    as_object,
    decode_array,
    optional_array,
    optional_integer,
    optional_object,
    optional_string,
    string,
    strings,
)
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.oci.quoting import quoted
from ocitool.places.archive.docker import MANIFEST_FILE
from ocitool.places.archive.foreign import ForeignImages
from ocitool.places.archive.members import Members, read_head, read_member
from ocitool.places.archive.synthesis import Content

_BEGINNING = re.compile(rb'\s*\[\s*\{\s*"(?:Image|ImageIndex)"\s*:')
_HEAD = 64


class _Node(NamedTuple):
    """An index or an image of the document."""

    fields: Mapping[str, object]
    path: str
    is_index: bool


class PackedImages:
    """The images of one manifest.json of imgpkg.

    `roots` are its entries with their names. `documents` are the bytes of all manifests, indexes
    and configs; `layers` are the digests of files that the archive has to have. `refused` is what
    is wrong with names, by the digest of a root.
    """

    def __init__(self, what: str, limits: Limits) -> None:
        self._what = what
        self._limits = limits
        self.roots: list[Root] = []
        self.documents: dict[Digest, bytes] = {}
        self.layers: dict[Digest, None] = {}
        self.refused: dict[Digest, list[str]] = {}
        self._images = 0

    def add(self, value: object, path: str) -> None:
        """Take in one entry: an image, or an index with everything below it."""
        entry = as_object(value, path)
        found = [
            _Node(fields, f"{path}.{key}", key == "ImageIndex")
            for key in ("ImageIndex", "Image")
            if (fields := optional_object(entry, key, path)) is not None
        ]
        if len(found) != 1:
            raise MalformedDocument(f"{path} must be either an image or an index")
        root = self._add_document(found[0])
        names = self._names(found[0], root.digest)
        self.roots.append(Root(descriptor=root, names=names))
        todo = found if found[0].is_index else []
        while todo:
            for child in _children(todo.pop()):
                self._add_document(child)
                todo += [child] if child.is_index else []

    def _add_document(self, node: _Node) -> Descriptor:
        self._images += 1
        if self._images > self._limits.index_descriptors:
            limit = self._limits.index_descriptors
            raise LimitExceeded(f"{self._what} lists more than {limit} images")
        path = node.path if node.is_index else f"{node.path}.Manifest"
        fields = node.fields if node.is_index else _object(node, "Manifest")
        digest, raw = self._add_raw(fields, path)
        media_type = optional_string(fields, "MediaType", path) or None
        document = parse_manifest(raw, media_type, limits=self._limits, what=f"{path}.Raw")
        if isinstance(document, Index) != node.is_index:
            raise MalformedDocument(f"{path}.Raw is not what its place says: an index or an image")
        if isinstance(document, Manifest):
            self._add_image(node, document)
        return Descriptor(media_type=document.media_type, digest=digest, size=len(raw))

    def _add_image(self, node: _Node, manifest: Manifest) -> None:
        config, _ = self._add_raw(_object(node, "Config"), f"{node.path}.Config")
        if config != manifest.config.digest:
            raise MalformedDocument(f"{node.path}.Config is not the one that its manifest names")
        path = f"{node.path}.Layers"
        listed = [
            as_object(value, f"{path}[{number}]")
            for number, value in enumerate(array(node.fields, "Layers", node.path))
        ]
        digests = [_digest(layer, path) for layer in listed]
        if digests != [layer.digest for layer in manifest.layers]:
            raise MalformedDocument(f"{path} are not the layers that the manifest names")
        for layer, told in zip(manifest.layers, listed, strict=True):
            if optional_integer(told, "Size", path) not in (None, layer.size):
                raise MalformedDocument(f"{path}: the manifest has another size of {layer.digest}")
            self.layers[layer.digest] = None

    def _add_raw(self, fields: Mapping[str, object], path: str) -> tuple[Digest, bytes]:
        """Take in the text of a document; DigestMismatch if it is not what its digest says."""
        digest, raw = _digest(fields, path), string(fields, "Raw", path).encode()
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            raise DigestMismatch(f"{path}.Raw hashes to {actual}, not {digest}")
        self.documents[digest] = raw
        return digest, raw

    def _names(self, node: _Node, digest: Digest) -> tuple[str, ...]:
        """Return the names of an entry: its repositories with its tag, or else its digest."""
        tag = optional_string(node.fields, "Tag", node.path)
        names: dict[str, None] = {}
        for text in strings(node.fields, "Refs", node.path):
            try:
                reference = Reference.parse(text)
                named = reference.with_tag(tag) if tag else reference
            except UsageError as error:
                self.refused.setdefault(digest, []).append(error.message)
                continue
            if reference.digest not in (None, digest):
                reason = f"{quoted(text)}: the image has another digest, {digest}"
                self.refused.setdefault(digest, []).append(reason)
                continue
            names[named.name] = None
        return tuple(names)


def parse_imgpkg(data: bytes, *, what: str, limits: Limits = DEFAULT_LIMITS) -> PackedImages:
    """Decode manifest.json of imgpkg; every document in it is verified.

    MalformedDocument when it is wrong, DigestMismatch when a document is not what its digest says,
    LimitExceeded.
    """
    values: Sequence[object] = decode_array(data, what=what, limit=limits.imgpkg_manifest_bytes)
    if not values:
        raise MalformedDocument(f"{what} is empty: the archive holds no image")
    images = PackedImages(what, limits)
    for position, value in enumerate(values):
        images.add(value, f"{what}: [{position}]")
    return images


def read_imgpkg(members: Members, limits: Limits = DEFAULT_LIMITS) -> ForeignImages | None:
    """Return the images of a tar of imgpkg, or None if the archive is not one."""
    member = members.find(MANIFEST_FILE)
    if member is None or not _BEGINNING.match(read_head(members, member, _HEAD)):
        return None
    what = f"{MANIFEST_FILE} of {members.what!r}"
    data = read_member(members, member, limits.imgpkg_manifest_bytes)
    packed = parse_imgpkg(data, what=what, limits=limits)
    contents: dict[Digest, Content] = {}
    for digest in packed.layers:
        path = f"{digest.algorithm}-{digest.hex}.tar.gz"
        if (layer := members.find(path)) is not None:
            where = f"{path} in {members.what!r}"
            contents[digest] = Content(member=layer, data=b"", where=where)
    for digest, raw in packed.documents.items():
        contents[digest] = Content(member=None, data=raw, where=f"{digest.short} in {what}")
    return ForeignImages(roots=packed.roots, contents=contents, refused=packed.refused)


def _children(node: _Node) -> list[_Node]:
    return [
        _Node(as_object(value, path), path, key == "Indexes")
        for key in ("Indexes", "Images")
        for number, value in enumerate(optional_array(node.fields, key, node.path))
        for path in (f"{node.path}.{key}[{number}]",)
    ]


def _object(node: _Node, key: str) -> Mapping[str, object]:
    return as_object(node.fields.get(key), f"{node.path}.{key}")


def _digest(fields: Mapping[str, object], path: str) -> Digest:
    text = string(fields, "Digest", path)
    try:
        return Digest.parse(text)
    except MalformedDocument as error:
        raise MalformedDocument(f"{path}.Digest: {error.message}") from error
