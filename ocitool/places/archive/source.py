"""An image archive as a place to read from: the union of manifest.json and index.json.

Where the archive holds an OCI manifest for an image, its bytes and digests are kept. Where it does
not, `synthesis` makes one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from msgspec.structs import replace

from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    MalformedDocument,
    NotFound,
    SizeMismatch,
)
from ocitool.image.content import Blob, ReadAt, Root, Source, SynthesizedImage
from ocitool.image.entries import Entries, arrange, entry_root
from ocitool.image.graph import Visit, children, read_document, walk
from ocitool.oci import (
    DEFAULT_LIMITS,
    Descriptor,
    Digest,
    Index,
    Limits,
    Manifest,
    mediatype,
)
from ocitool.oci.document import array, decode_object, structure
from ocitool.oci.version import check_layout_version
from ocitool.places.archive.bundle import (
    LARGEST_LIST,
    LARGEST_SIGNATURE,
    LIST_FILE,
    SIGNATURE_FILE,
    BundleList,
    parse_list,
)
from ocitool.places.archive.diagnosis import DAMAGED
from ocitool.places.archive.docker import MANIFEST_FILE, DockerImage, parse_docker_manifest
from ocitool.places.archive.foreign_forms import read_foreign
from ocitool.places.archive.manifest_merger import Holders, ManifestMerger
from ocitool.places.archive.members import (
    INDEX_FILE,
    Members,
    TarMembers,
    read_document_member,
    read_member,
)
from ocitool.places.archive.sections import LAYOUT_FILE
from ocitool.places.archive.synthesis import Content, ManifestSynthesizer

_INCOMPLETE = "the archive is incomplete: save it again where it came from"
_DELTA = (
    "the bundle is a delta: `ocitool bundle load` takes what it requires from where it goes, and "
    "`ocitool bundle check` tells whether that is there"
)
BUNDLE_HINT = "`ocitool bundle create` makes bundles; `ocitool load` reads other archives"


class ArchiveSource:
    """An open image archive. `open` may be called from several threads."""

    def __init__(self, members: Members, limits: Limits = DEFAULT_LIMITS) -> None:
        self._members = members
        self._limits = limits
        self._synthesizer = ManifestSynthesizer(members, limits)
        self.bundle = self._read_bundle()
        """The list of a bundle; None for any other archive."""
        self._entries = self._read_entries() if self.bundle is None else _listed(self.bundle)

    @property
    def what(self) -> str:
        """What the user calls the archive, for messages."""
        return self._members.what

    @property
    def is_cut(self) -> bool:
        """Whether the archive has become shorter since it was opened."""
        return isinstance(self._members, TarMembers) and self._members.is_cut

    @property
    def is_delta(self) -> bool:
        """Whether this is a bundle from which layers were left out."""
        return self.bundle is not None and self.bundle.is_delta

    @property
    def promised(self) -> Source:
        """The same place, in which blobs count as present that the list of a delta names."""
        return self if self.bundle is None else PromisedBlobs(self, self.bundle)

    @property
    def synthesized(self) -> Mapping[Digest, SynthesizedImage]:
        """The images that have no manifest in the archive, by the digest of the one made here."""
        return self._synthesizer.synthesized

    @property
    def remarks(self) -> Mapping[Digest, tuple[str, ...]]:
        """What was made or left out to offer a root, by its digest."""
        return self._entries.remarks

    def close(self) -> None:
        """Close the archive; harmless when repeated."""
        self._members.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def roots(self) -> tuple[Root, ...]:
        """Return the images of index.json, then those that only manifest.json knows."""
        return self._entries.roots

    def resolve(self, name: str) -> Root:
        """Return the root with this name, label or digest.

        NotFound lists what there is; Refused when the name stands for several images.
        """
        return self._entries.resolve(name, self.what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the archive holds content of that digest and size."""
        content = self._find(descriptor.digest)
        return content is not None and content.size == descriptor.size

    def holds(self, digest: Digest) -> bool:
        """Tell whether the archive holds content of that digest, whatever its size."""
        return self._find(digest) is not None

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself; NotFound when absent."""
        content = self._content(descriptor)
        if content.member is None:
            return Blob.of(descriptor, content.data, where=content.where)
        read, close = self._members.open(content.member)
        return Blob(descriptor, read, where=content.where, close=close, hint=DAMAGED)

    def positioned(self, descriptor: Descriptor) -> AbstractContextManager[ReadAt]:
        """Return a block in which content can be read at any offset, not verified."""
        content = self._content(descriptor)
        if content.member is None:
            data = content.data
            return nullcontext(lambda offset, size: data[offset : offset + size])
        return self._members.positioned(content.member)

    def stamp(self, descriptor: Descriptor) -> str | None:
        """Return a text that changes whenever the stored content may; None for what was made."""
        member = self._content(descriptor).member
        return self._members.stamp(member) if member is not None else None

    def located(self, digest: Digest) -> tuple[int, int, int] | bytes | None:
        """Return where the bytes of a digest are: (file descriptor, offset, size), or themselves.

        The caller closes the descriptor. None if they are not here; nothing is verified.
        """
        content = self._find(digest)
        if content is None or content.member is None:
            return None if content is None else content.data
        return *self._members.located(content.member), content.size

    def size_of(self, digest: Digest) -> int | None:
        """Return the size of content of that digest; None if it is not here."""
        content = self._find(digest)
        return None if content is None else content.size

    def _content(self, descriptor: Descriptor) -> Content:
        content = self._find(descriptor.digest)
        if content is None:
            raise NotFound(
                f"blob {descriptor.digest} is missing from {self.what!r}",
                hint=_DELTA if self.is_delta else _INCOMPLETE,
            )
        if content.size != descriptor.size:
            raise SizeMismatch(
                f"{content.where} is {content.size} bytes; its descriptor promises "
                f"{descriptor.size}",
                hint=DAMAGED,
            )
        return content

    def _find(self, digest: Digest) -> Content | None:
        known = self._synthesizer.contents.get(digest)
        if known is not None:
            return known
        path = f"blobs/{digest.algorithm}/{digest.hex}"
        member = self._members.find(path)
        if member is None:
            return None
        where = f"{path} in {member.chunks or repr(self.what)}"
        return Content(member=member, data=b"", where=where)

    def _read_bundle(self) -> BundleList | None:
        member = self._members.find(LIST_FILE)
        if member is None:
            return None
        return parse_list(
            read_member(self._members, member, LARGEST_LIST), f"the list of {self.what!r}"
        )

    @property
    def bundle_signature(self) -> tuple[bytes, bytes | None]:
        """The bytes of the bundle's list, and of the signature in it; NotFound without a list."""
        member, signature = self._members.find(LIST_FILE), self._members.find(SIGNATURE_FILE)
        if member is None:
            raise NotFound(f"{self.what!r} is not a bundle", hint=BUNDLE_HINT)
        raw = read_member(self._members, member, LARGEST_LIST)
        if signature is None:
            return raw, None
        return raw, read_member(self._members, signature, LARGEST_SIGNATURE)

    def _read_entries(self) -> Entries:
        foreign = read_foreign(self._members, self._limits)
        if foreign is not None:
            self._synthesizer.contents.update(foreign.contents)
            return foreign.entries()
        roots = self._index_roots()
        docker = self._docker_images()
        if docker is None and not roots:
            raise MalformedDocument(f"index.json of {self.what!r} lists no image")
        refused: dict[Digest, list[str]] = {}
        merged = self._merge_docker(docker or (), roots, refused)
        entries = arrange(merged, join_nameless=docker is None, refused=refused)
        for digest, raw in entries.indexes.items():
            self._synthesizer.add_document(digest, raw)
        return entries

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
        return [entry_root(entry) for entry in entries]

    def _docker_images(self) -> tuple[DockerImage, ...] | None:
        data = read_document_member(self._members, MANIFEST_FILE, self._limits)
        if data is None:
            return None
        what = f"{MANIFEST_FILE} of {self.what!r}"
        return parse_docker_manifest(data, what=what, limits=self._limits)

    def _merge_docker(
        self,
        images: Sequence[DockerImage],
        roots: Sequence[Root],
        refused: dict[Digest, list[str]],
    ) -> list[Root]:
        """Give OCI images the names that manifest.json has for them, or make their manifests.

        `refused` gets what is wrong with names of the latter.
        """
        holders, damaged = self._holders(roots) if images else ({}, {})
        merger = ManifestMerger(roots, holders)
        for image in images:
            config = self._synthesizer.config_digest(image)
            sound = {position for position, _ in holders.get(config, ())} if damaged else set()
            for position, error in damaged.items():
                if position not in sound:
                    # It may be this very image: nothing is made in its place.
                    raise error
            if not merger.merge(image, config):
                names = tuple(dict.fromkeys((*merger.take_over(image, config), *image.names)))
                root = self._synthesizer.root(replace(image, names=names), config)
                refused.setdefault(root.descriptor.digest, []).extend(image.refused.values())
                merger.append(root, image, config)
        return merger.roots()

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
        documents: dict[Digest, Manifest | Index] = {}

        def read(visit: Visit[Descriptor]) -> list[tuple[Descriptor, bool]]:
            if not mediatype.is_document(visit.node.media_type) or not self.has(visit.node):
                return []
            document = read_document(self, visit.node, self._limits)
            documents[visit.node.digest] = document
            return children(document) if isinstance(document, Index) else []

        for descriptor in walk(read, [root], lambda _visit, _error: None):
            document = documents.get(descriptor.digest)
            if isinstance(document, Manifest):
                yield document


class PromisedBlobs:
    """The documents of a bundle, with all blobs that its list names, here or on the other side."""

    def __init__(self, archive: Source, listing: BundleList) -> None:
        self._archive = archive
        self._sizes = {blob.digest: blob.size for blob in listing.blobs}
        self._sizes |= {blob.digest: blob.size for blob in listing.requires}

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the list names the blob with this size."""
        return self._sizes.get(str(descriptor.digest)) == descriptor.size

    def open(self, descriptor: Descriptor) -> Blob:
        """Return a blob that is inside; NotFound for one that the list does not name."""
        if not self.has(descriptor):
            raise NotFound(f"{descriptor.digest} is not in the list of the bundle")
        return self._archive.open(descriptor)


def _listed(listing: BundleList) -> Entries:
    """Return the images of a bundle: its list names them, whatever index.json says."""
    roots = listing.roots()
    return Entries(roots=roots, originals=roots, indexes={}, remarks={})
