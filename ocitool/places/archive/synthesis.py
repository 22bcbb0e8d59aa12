"""Manifests for images that have none: a docker archive describes them in manifest.json alone.

The manifest names each layer by what the config promises of it: the digest of a plain layer is its
diff ID. Nothing has to be read to describe such an image, and everything that is read through the
manifest is still verified. Only a compressed layer must be hashed: its digest stands nowhere.
"""

import re

from msgspec import Struct

from ocitool.errors import IntegrityError, LimitExceeded, MalformedArchive, NotFound
from ocitool.formats.compression import Codec, sniff
from ocitool.image.content import Root, SynthesizedImage, SynthesizedLayer
from ocitool.oci import Descriptor, Digest, ImageConfig, Limits, build_manifest, mediatype
from ocitool.oci.annotations import IMAGE_NAME
from ocitool.oci.quoting import quoted
from ocitool.places.archive.docker import MANIFEST_FILE, DockerImage
from ocitool.places.archive.members import Member, Members, read_head, read_member

_CODEC_BYTES = 16
_BLOB_PATH = re.compile(r"blobs/([a-z0-9]+)/([0-9a-f]+)")
_LAYER_TYPES = {
    Codec.NONE: mediatype.OCI_LAYER,
    Codec.GZIP: mediatype.OCI_LAYER_GZIP,
    Codec.ZSTD: mediatype.OCI_LAYER_ZSTD,
    # These two have no registered media type; such a layer is converted before it is stored.
    Codec.BZIP2: mediatype.OCI_LAYER,
    Codec.XZ: mediatype.OCI_LAYER,
}


class Content(Struct, frozen=True, kw_only=True):
    """Where the bytes of a digest are, when they are not under blobs/ALGORITHM/HEX."""

    member: Member | None
    data: bytes
    where: str

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data) if self.member is None else self.member.size


class ManifestSynthesizer:
    """Makes manifests for images of manifest.json.

    `contents` tells where the bytes of the digests in them are; `synthesized` holds the images, by
    the digest of the manifest that was made.
    """

    def __init__(self, members: Members, limits: Limits) -> None:
        self._members = members
        self._limits = limits
        self._what = members.what
        self._digests: dict[tuple[Member, str], Digest] = {}
        self.contents: dict[Digest, Content] = {}
        self.synthesized: dict[Digest, SynthesizedImage] = {}

    def config_digest(self, image: DockerImage) -> Digest:
        """Return the digest of an image's config; NotFound when the archive lacks it."""
        member = self._member(image.config, image, "config")
        named = _BLOB_PATH.fullmatch(image.config)
        algorithm = "sha512" if named and named[1] == "sha512" else "sha256"
        digest = self._hash(member, algorithm, self._limits.config_bytes)
        self._check_blob_name(image.config, digest)
        where = f"config {quoted(image.config)} of {self._what!r}"
        self.contents.setdefault(digest, Content(member=member, data=b"", where=where))
        return digest

    def root(self, image: DockerImage, config_digest: Digest) -> Root:
        """Make the manifest of an image. NotFound or MalformedArchive where layers do not fit."""
        member = self._member(image.config, image, "config")
        data = read_member(self._members, member, self._limits.config_bytes)
        what = f"config {quoted(image.config)} of {self._what!r}"
        config = ImageConfig.parse(data, limits=self._limits, what=what)
        if len(config.diff_ids) != len(image.layers):
            raise MalformedArchive(
                f"{self._what!r}: {MANIFEST_FILE} lists {len(image.layers)} layers, but {what} "
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
        label = None if image.names else next(iter(image.refused), None)
        root = Descriptor(
            media_type=mediatype.OCI_MANIFEST,
            digest=Digest.of(raw),
            size=len(raw),
            annotations={IMAGE_NAME: label} if label else {},
        )
        self.add_document(root.digest, raw)
        self.synthesized[root.digest] = SynthesizedImage(config=descriptor, layers=tuple(layers))
        return Root(descriptor=root, names=image.names, label=label)

    def add_document(self, digest: Digest, raw: bytes) -> None:
        """Offer a document that the archive does not hold."""
        where = f"manifest {digest.short}, which was made for {self._what!r}"
        self.contents[digest] = Content(member=None, data=raw, where=where)

    def _layer(
        self, image: DockerImage, position: int, path: str, diff_id: Digest
    ) -> SynthesizedLayer:
        number = f"layer {position + 1} of {len(image.layers)}"
        member = self._member(path, image, number)
        where = f"{number} ({quoted(path)}) of {self._what!r}"
        codec = self._codec(member)
        digest = diff_id if codec is Codec.NONE else self._hash(member, diff_id.algorithm)
        self._check_blob_name(path, digest)
        known = self.contents.setdefault(digest, Content(member=member, data=b"", where=where))
        if known.size != member.size:
            raise MalformedArchive(
                f"{where} is {member.size} bytes, but {known.where}, of the same diff ID, is "
                f"{known.size}"
            )
        descriptor = Descriptor(media_type=_LAYER_TYPES[codec], digest=digest, size=member.size)
        return SynthesizedLayer(descriptor=descriptor, diff_id=diff_id, codec=codec, where=where)

    def _member(self, path: str, image: DockerImage, role: str) -> Member:
        member = self._members.find(path) if path else None
        if member is None:
            of = f" of {image.names[0]}" if image.names else ""
            raise NotFound(
                f"{role}{of} is missing from {self._what!r}: {MANIFEST_FILE} calls it "
                f"{quoted(path)}",
                hint="the archive is incomplete: docker loads it only where the layer is stored "
                "already. Save the image again where it came from",
            )
        return member

    def _check_blob_name(self, path: str, digest: Digest) -> None:
        match = _BLOB_PATH.fullmatch(path)
        if match and match[1] == digest.algorithm and match[2] != digest.hex:
            raise IntegrityError(
                f"{quoted(path)} in {self._what!r} holds {digest} instead; docker would not "
                "notice: it never checks these names"
            )

    def _codec(self, member: Member) -> Codec:
        return sniff(read_head(self._members, member, _CODEC_BYTES))

    def _hash(self, member: Member, algorithm: str, limit: int | None = None) -> Digest:
        """Return the digest of a member, however often an image names it; refuse above `limit`."""
        if limit is not None and member.size > limit:
            raise LimitExceeded(
                f"{self._what!r}: {quoted(member.path)} is {member.size} bytes; "
                f"the limit is {limit}"
            )
        known = self._digests.get((member, algorithm))
        if known is not None:
            return known
        hasher = Digest.of(b"", algorithm).hasher()
        read, close = self._members.open(member)
        try:
            while part := read(1 << 20):
                hasher.update(part)
        finally:
            close()
        digest = self._digests[member, algorithm] = Digest.from_hasher(algorithm, hasher)
        return digest
