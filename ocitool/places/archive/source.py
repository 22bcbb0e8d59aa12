"""An image archive as a place to read from: the union of manifest.json and index.json.

Where the archive holds an OCI manifest for an image, its bytes and digests are kept. Where it does
not, a manifest is made up at once: the layers are named by what the config promises of them (a
plain layer's digest is its diff ID), so everything read through it is still verified.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    MalformedArchive,
    MalformedDocument,
    NotFound,
    SizeMismatch,
)
from ocitool.formats.compression import Codec, sniff
from ocitool.image.content import Blob, Root
from ocitool.oci import (
    DEFAULT_LIMITS,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Limits,
    Manifest,
    build_manifest,
    mediatype,
    parse_manifest,
)
from ocitool.oci.annotations import full_name, label
from ocitool.oci.document import array, decode_object, structure
from ocitool.oci.quoting import quoted
from ocitool.oci.version import check_layout_version
from ocitool.places.archive.docker import MANIFEST_FILE, DockerImage, parse_docker_manifest
from ocitool.places.archive.manifest_merger import Holders, Joining
from ocitool.places.archive.members import Member, Members, read_document_member, read_member

INDEX_FILE = "index.json"
LAYOUT_FILE = "oci-layout"
_CODEC_BYTES = 16
_BLOB_PATH = re.compile(r"blobs/([a-z0-9]+)/([0-9a-f]+)")
_LAYER_TYPES = {
    Codec.NONE: mediatype.OCI_LAYER,
    Codec.GZIP: mediatype.OCI_LAYER_GZIP,
    Codec.ZSTD: mediatype.OCI_LAYER_ZSTD,
    # No registered type tells of these two; such a layer is converted before it is kept.
    Codec.BZIP2: mediatype.OCI_LAYER,
    Codec.XZ: mediatype.OCI_LAYER,
}


class LayerOrigin(Struct, frozen=True, kw_only=True):
    """A layer of an image that came without a manifest: stored bytes and the promise of them."""

    descriptor: Descriptor
    diff_id: Digest
    codec: Codec
    where: str


class DockerOrigin(Struct, frozen=True, kw_only=True):
    """An image whose manifest is made up: the archive's manifest.json alone describes it."""

    config: Descriptor
    layers: tuple[LayerOrigin, ...]


class _Content(Struct, frozen=True, kw_only=True):
    """Where the bytes of a digest are, when not under blobs/ALGORITHM/HEX."""

    member: Member | None
    data: bytes
    where: str


class ArchiveSource:
    """An open image archive. `open` may be called from several threads.

    `origins` tells, by the digest of a root, which images had no manifest of their own.
    """

    def __init__(self, members: Members, limits: Limits = DEFAULT_LIMITS) -> None:
        self._members = members
        self._limits = limits
        self._contents: dict[Digest, _Content] = {}
        self._digests: dict[tuple[Member, str], Digest] = {}
        self.origins: dict[Digest, DockerOrigin] = {}
        self._roots = self._read_roots()

    @property
    def what(self) -> str:
        """What the user calls the archive, for messages."""
        return self._members.what

    def close(self) -> None:
        """Close the archive; harmless when repeated."""
        self._members.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def roots(self) -> tuple[Root, ...]:
        """Return the images of index.json, then those that only manifest.json knows."""
        return self._roots

    def resolve(self, name: str) -> Root:
        """Return the root with this name, label or digest; NotFound lists what there is."""
        found = [
            root
            for root in self._roots
            if name in root.names or name == root.label or name == str(root.descriptor.digest)
        ]
        if not found:
            names = [name for root in self._roots for name in root.names or (root.label,) if name]
            raise NotFound(
                f"there is no image {quoted(name)} in {self.what!r}",
                hint=f"it holds {', '.join(names)}" if names else "its images have no names",
            )
        if len(found) > 1:
            raise IntegrityError(f"{quoted(name)} names more than one image in {self.what!r}")
        return found[0]

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the archive holds content of that digest and size."""
        content = self._find(descriptor.digest)
        return content is not None and _size(content) == descriptor.size

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself; NotFound when absent."""
        content = self._find(descriptor.digest)
        if content is None:
            raise NotFound(
                f"blob {descriptor.digest} is missing from {self.what!r}",
                hint="the archive is incomplete: save it again where it came from",
            )
        if _size(content) != descriptor.size:
            raise SizeMismatch(
                f"{content.where} is {_size(content)} bytes; its descriptor promises "
                f"{descriptor.size}"
            )
        if content.member is None:
            return Blob.of(descriptor, content.data, where=content.where)
        read, close = self._members.opened(content.member)
        return Blob(descriptor, read, where=content.where, close=close)

    def _find(self, digest: Digest) -> _Content | None:
        known = self._contents.get(digest)
        if known is not None:
            return known
        path = f"blobs/{digest.algorithm}/{digest.hex}"
        member = self._members.find(path)
        if member is None:
            return None
        return _Content(member=member, data=b"", where=f"{path} in {self.what!r}")

    def _read_roots(self) -> tuple[Root, ...]:
        roots = self._index_roots()
        docker = self._docker_images()
        if docker is None and not roots:
            raise MalformedDocument(f"index.json of {self.what!r} lists no image")
        merged = _merged(self._joined(docker or (), roots))
        _refuse_ambiguous_names(merged, self.what)
        return merged

    def _index_roots(self) -> list[Root]:
        data = read_document_member(self._members, INDEX_FILE, self._limits)
        if data is None:
            return []
        version = read_document_member(self._members, LAYOUT_FILE, self._limits)
        if version is not None:
            check_layout_version(version, f"{LAYOUT_FILE} of {self.what!r}")
        what = f"{INDEX_FILE} of {self.what!r}"
        document = decode_object(data, what=what, limit=self._limits.manifest_bytes)
        listed = document.get("manifests") is not None
        values = array(document, "manifests", what) if listed else []
        if len(values) > self._limits.index_descriptors:
            limit = self._limits.index_descriptors
            raise LimitExceeded(f"{what} lists {len(values)} images, more than {limit}")
        entries = [
            Descriptor.from_json(value, f"{what}: manifests[{position}]")
            for position, value in enumerate(values)
        ]
        return [_root_of(entry) for entry in entries]

    def _docker_images(self) -> tuple[DockerImage, ...] | None:
        data = read_document_member(self._members, MANIFEST_FILE, self._limits)
        if data is None:
            return None
        what = f"{MANIFEST_FILE} of {self.what!r}"
        return parse_docker_manifest(data, what=what, limits=self._limits)

    def _joined(self, images: Sequence[DockerImage], roots: Sequence[Root]) -> list[Root]:
        """Give OCI images the names that manifest.json has for them, or make up their manifests."""
        holders, damaged = self._holders(roots) if images else ({}, {})
        joining = Joining(roots, holders)
        for image in images:
            config = self._config_of(image)
            sound = {position for position, _ in holders.get(config, ())} if damaged else set()
            for position, error in damaged.items():
                if position not in sound:
                    # It may be this very image: nothing is made up in its place.
                    raise error
            if not joining.join(image, config):
                names = tuple(dict.fromkeys((*joining.take_over(image, config), *image.names)))
                joining.append(
                    self._made_up(replace(image, names=names), config),
                    image,
                    config,
                )
        return joining.roots()

    def _holders(self, roots: Sequence[Root]) -> tuple[Holders, dict[int, IntegrityError]]:
        """Return which roots hold which images, and the first damage found in each root."""
        holders: Holders = {}
        damaged: dict[int, IntegrityError] = {}
        read = 0
        for position, root in enumerate(roots):
            layers: dict[Digest, int] = {}
            try:
                for manifest in self._manifests_under(root.descriptor):
                    layers.setdefault(manifest.config.digest, len(manifest.layers))
                    read += structure(manifest.raw)
            except IntegrityError as error:
                damaged[position] = error
            for config, count in layers.items():
                holders.setdefault(config, []).append((position, count))
            if read > self._limits.planned_structure:
                raise LimitExceeded(
                    f"the images of {self.what!r} list each other's manifests too often"
                )
        return holders, damaged

    def _manifests_under(self, root: Descriptor) -> Iterator[Manifest]:
        stack, visited = [root], set[Digest]()
        while stack:
            descriptor = stack.pop()
            known = mediatype.is_index(descriptor.media_type) or mediatype.is_manifest(
                descriptor.media_type
            )
            if descriptor.digest in visited or not known or not self.has(descriptor):
                continue
            visited.add(descriptor.digest)
            with self.open(descriptor) as blob:
                raw = blob.read_all(self._limits.manifest_bytes)
            what = f"manifest {descriptor.digest.short} of {self.what!r}"
            document = parse_manifest(raw, descriptor.media_type, limits=self._limits, what=what)
            if isinstance(document, Index):
                stack.extend(reversed(document.manifests))
            else:
                yield document

    def _config_of(self, image: DockerImage) -> Digest:
        member = self._member(image.config, image, "config")
        named = _BLOB_PATH.fullmatch(image.config)
        algorithm = "sha512" if named and named[1] == "sha512" else "sha256"
        digest = self._hash(member, algorithm, self._limits.config_bytes)
        self._check_blob_name(image.config, digest)
        where = f"config {quoted(image.config)} of {self.what!r}"
        self._contents.setdefault(digest, _Content(member=member, data=b"", where=where))
        return digest

    def _made_up(self, image: DockerImage, config_digest: Digest) -> Root:
        member = self._member(image.config, image, "config")
        data = read_member(self._members, member, self._limits.config_bytes)
        what = f"config {quoted(image.config)} of {self.what!r}"
        config = ImageConfig.parse(data, limits=self._limits, what=what)
        if len(config.diff_ids) != len(image.layers):
            raise MalformedArchive(
                f"{self.what!r}: {MANIFEST_FILE} lists {len(image.layers)} layers, but {what} "
                f"has {len(config.diff_ids)} diff IDs"
            )
        descriptor = Descriptor(
            media_type=mediatype.OCI_CONFIG, digest=config_digest, size=len(data)
        )
        layers = [
            self._layer(image, position, path, diff_id)
            for position, (path, diff_id) in enumerate(
                zip(image.layers, config.diff_ids, strict=True)
            )
        ]
        raw = build_manifest(descriptor, [layer.descriptor for layer in layers])
        root = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest.of(raw), size=len(raw))
        where = f"the manifest made for {image.config}"
        self._contents[root.digest] = _Content(member=None, data=raw, where=where)
        self.origins[root.digest] = DockerOrigin(config=descriptor, layers=tuple(layers))
        return Root(descriptor=root, names=image.names)

    def _layer(self, image: DockerImage, position: int, path: str, diff_id: Digest) -> LayerOrigin:
        number = f"layer {position + 1} of {len(image.layers)}"
        member = self._member(path, image, number)
        where = f"{number} ({quoted(path)}) of {self.what!r}"
        codec = self._codec(member)
        digest = diff_id if codec is Codec.NONE else self._hash(member, diff_id.algorithm)
        self._check_blob_name(path, digest)
        known = self._contents.setdefault(digest, _Content(member=member, data=b"", where=where))
        if _size(known) != member.size:
            raise MalformedArchive(
                f"{where} is {member.size} bytes, but {known.where}, of the same diff ID, is "
                f"{_size(known)}"
            )
        descriptor = Descriptor(media_type=_LAYER_TYPES[codec], digest=digest, size=member.size)
        return LayerOrigin(descriptor=descriptor, diff_id=diff_id, codec=codec, where=where)

    def _member(self, path: str, image: DockerImage, role: str) -> Member:
        member = self._members.find(path) if path else None
        if member is None:
            of = f" of {image.names[0]}" if image.names else ""
            raise NotFound(
                f"{role}{of} is missing from {self.what!r}: {MANIFEST_FILE} calls it "
                f"{quoted(path)}",
                hint="the archive is incomplete; docker loads such a one only where it has the "
                "layer already. Save it again where it came from",
            )
        return member

    def _check_blob_name(self, path: str, digest: Digest) -> None:
        match = _BLOB_PATH.fullmatch(path)
        if match and match[1] == digest.algorithm and match[2] != digest.hex:
            raise IntegrityError(
                f"{quoted(path)} in {self.what!r} holds {digest} instead; docker would not notice, "
                "for it never checks these names"
            )

    def _codec(self, member: Member) -> Codec:
        read, close = self._members.opened(member)
        try:
            return sniff(read(min(member.size, _CODEC_BYTES)))
        finally:
            close()

    def _hash(self, member: Member, algorithm: str, limit: int | None = None) -> Digest:
        """Return the digest of a member, however often an image names it; refuse above `limit`."""
        if limit is not None and member.size > limit:
            raise LimitExceeded(
                f"{self.what!r}: {quoted(member.path)} is {member.size} bytes; the limit is {limit}"
            )
        known = self._digests.get((member, algorithm))
        if known is not None:
            return known
        hasher = Digest.of(b"", algorithm).hasher()
        read, close = self._members.opened(member)
        try:
            while part := read(1 << 20):
                hasher.update(part)
        finally:
            close()
        digest = self._digests[member, algorithm] = Digest.from_hasher(algorithm, hasher)
        return digest


def _size(content: _Content) -> int:
    return len(content.data) if content.member is None else content.member.size


def _root_of(entry: Descriptor) -> Root:
    name = full_name(entry.annotations)
    return Root(
        descriptor=entry,
        names=(name,) if name else (),
        label=None if name else label(entry.annotations),
    )


def _merged(roots: list[Root]) -> tuple[Root, ...]:
    """Return one root per digest, with all its names; a label counts only without a name."""
    merged: dict[Digest, Root] = {}
    for root in roots:
        known = merged.setdefault(root.descriptor.digest, root)
        if known is not root:
            names = tuple(dict.fromkeys((*known.names, *root.names)))
            merged[root.descriptor.digest] = Root(
                # An entry of index.json may be of a type that says nothing.
                descriptor=known.descriptor if _is_document(known) else root.descriptor,
                names=names,
                label=None if names else known.label or root.label,
            )
    return tuple(merged.values())


def _is_document(root: Root) -> bool:
    media_type = root.descriptor.media_type
    return mediatype.is_index(media_type) or mediatype.is_manifest(media_type)


def _refuse_ambiguous_names(roots: tuple[Root, ...], what: str) -> None:
    owners: dict[str, Digest] = {}
    for root in roots:
        for name in root.names:
            owner = owners.setdefault(name, root.descriptor.digest)
            if owner != root.descriptor.digest:
                raise IntegrityError(
                    f"{what!r} gives the name {name} to two images, {owner} and "
                    f"{root.descriptor.digest}; docker would take the last one",
                    hint="save the archive again, or load one image under --tag NAME",
                )
