"""The list of a bundle: what a file that crosses an air gap holds, and what it requires.

A bundle is the universal tar with one more member, `ocitool-bundle.json`, right after oci-layout.
It names every other member by size and digest, so that the list, which can be signed, covers the
whole file. A full bundle holds all that its images need. A delta leaves blobs out that the other
side has, and names each of them. The same images give the same list: no time, host, user or path
is in it.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from ocitool.errors import LimitExceeded, MalformedDocument, UsageError
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.oci.quoting import quoted
from ocitool.places.archive.sections import LAYOUT_FILE

LIST_FILE: Final = "ocitool-bundle.json"
VOLUME_FILE: Final = "ocitool-volume.json"
"""The first member of a volume, which is a part of a bundle."""
SIGNATURE_FILE: Final = "ocitool-bundle.json.sig"
FORMAT: Final = "ocitool-bundle/1"
BundleKind = Literal["full", "delta"]
FULL: Final = "full"
DELTA: Final = "delta"
BlobType = Literal["document", "config", "layer", "other"]
DOCUMENT: Final = "document"
CONFIG: Final = "config"
LAYER: Final = "layer"
OTHER: Final = "other"
LARGEST_LIST: Final = 64 << 20
MOST_BLOBS: Final = 200_000
"""Of a list, as an archive may have so many members; ten thousand images have half of that."""
LARGEST_SIGNATURE: Final = 64 << 10

_JSON_NAMES: Final = {
    "media_type": "mediaType",
    "artifact_type": "artifactType",
    "from_": "from",
    "builds_on": "buildsOn",
}
_FILES: Final = (LAYOUT_FILE, "index.json", "manifest.json")


def _bare_descriptor(digest: str, size: int) -> Descriptor:
    return Descriptor(media_type="", digest=Digest.parse(digest), size=size)


class BundleFile(Struct, frozen=True, kw_only=True):
    """A member that is not a blob: its path, its bytes, and their sha256 in hex digits."""

    path: str
    size: int
    sha256: str


class BundleBlob(Struct, frozen=True, kw_only=True):
    """A blob inside the bundle; `type` is document, config, layer or other."""

    digest: str
    size: int
    type: BlobType

    @property
    def descriptor(self) -> Descriptor:
        """Its size and digest; the media type is not told here."""
        return _bare_descriptor(self.digest, self.size)


class Required(Struct, frozen=True, kw_only=True, rename=_JSON_NAMES):
    """A blob that the other side has to have; `from_` are repositories that hold it."""

    digest: str
    size: int
    from_: tuple[str, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """Its size and digest; the media type is not told here."""
        return _bare_descriptor(self.digest, self.size)


class AttachedEntry(Struct, frozen=True, kw_only=True, rename=_JSON_NAMES, omit_defaults=True):
    """A signature, SBOM or attestation of an image, or of another one of these: its `subject`."""

    digest: str
    media_type: str
    size: int
    subject: str | None = None
    artifact_type: str | None = None
    names: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)


class ClosureReport(Struct, frozen=True, kw_only=True):
    """Where was looked for what belongs to an image, and what of it could not be had."""

    asked: tuple[str, ...]
    complete: bool
    missing: tuple[str, ...]


class BundleImage(Struct, frozen=True, kw_only=True, rename=_JSON_NAMES, omit_defaults=True):
    """One name of an image, or an image without a full name, which may have a `label`.

    `blobs` are the positions of all its blobs in `blobs` followed by `requires` of the list; those
    of what is attached to it are among them.
    """

    name: str | None
    digest: str
    media_type: str
    size: int
    annotations: dict[str, str]
    platforms: tuple[str, ...]
    blobs: tuple[int, ...]
    attached: tuple[AttachedEntry, ...]
    closure: ClosureReport
    label: str | None = None

    @property
    def called(self) -> str:
        """Its name, label or digest."""
        return self.name or self.label or self.digest


class BundleList(Struct, frozen=True, kw_only=True, rename=_JSON_NAMES, omit_defaults=True):
    """The list of a bundle.

    `size` are the bytes of the whole tar without the member that holds a signature; it tells a file
    that was cut from one that was damaged. `builds_on` are the digests of the lists of the bundles
    that a delta was made against.
    """

    format: str
    kind: BundleKind
    files: tuple[BundleFile, ...]
    blobs: tuple[BundleBlob, ...]
    requires: tuple[Required, ...]
    images: tuple[BundleImage, ...]
    size: int
    builds_on: tuple[str, ...] = ()

    @property
    def is_delta(self) -> bool:
        """Whether blobs were left out that the other side has."""
        return self.kind == DELTA

    @property
    def names(self) -> tuple[str, ...]:
        """What the images are called, each once; the digest of one without a name."""
        return tuple(dict.fromkeys(image.called for image in self.images))

    def digests(self) -> frozenset[Digest]:
        """Return all blobs that a place holds in which this bundle was loaded."""
        texts = [blob.digest for blob in self.blobs] + [one.digest for one in self.requires]
        return frozenset(map(Digest.parse, texts))

    def needed_by(self) -> dict[str, tuple[str, ...]]:
        """Return what the images are called that need each blob, by its digest."""
        found: dict[int, dict[str, None]] = {}
        for image in self.images:
            for position in image.blobs:
                found.setdefault(position, {})[image.called] = None
        order = [*(blob.digest for blob in self.blobs), *(one.digest for one in self.requires)]
        return {order[position]: tuple(names) for position, names in found.items()}

    def roots(self) -> tuple[Root, ...]:
        """Return the images, each once with all its names, then what is attached to them."""
        return tuple(_roots(self))


def encode_list(listing: BundleList) -> bytes:
    """Return the bytes of a list: compact ASCII JSON, its keys in the order of the fields."""
    text = json.dumps(msgspec.to_builtins(listing), ensure_ascii=True, separators=(",", ":"))
    return text.encode("ascii")


def parse_list(raw: bytes, what: str = LIST_FILE) -> BundleList:
    """Decode a list and check that it does not contradict itself.

    MalformedDocument, LimitExceeded for more than LARGEST_LIST bytes or MOST_BLOBS. Unknown keys
    are ignored, another major version of the format is refused.
    """
    if len(raw) > LARGEST_LIST:
        raise LimitExceeded(f"{what} is larger than {LARGEST_LIST} bytes")
    try:
        told = msgspec.json.decode(raw, type=_Version).format
        _check_version(told, what)
        listing = msgspec.json.decode(raw, type=BundleList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"{what} is not the list of a bundle: {error}") from error
    _check(listing, what)
    return listing


class _Version(Struct):
    format: str


def _check_version(text: str, what: str) -> None:
    kind, _, version = text.partition("/")
    if kind != "ocitool-bundle":
        raise MalformedDocument(f"{what} is not the list of a bundle but {quoted(text)}")
    if version.partition(".")[0] != "1":
        raise MalformedDocument(
            f"{what} has the format {quoted(text)}, which this version of ocitool does not know",
            hint="use a newer ocitool",
        )


def _check(listing: BundleList, what: str) -> None:
    files = [file.path for file in listing.files]
    if len(set(files)) != len(files) or set(files) - set(_FILES) or files[:1] != [LAYOUT_FILE]:
        raise MalformedDocument(f"{what} lists other files than a bundle has: {quoted(str(files))}")
    for file in listing.files:
        Digest("sha256", file.sha256)
    for digest in listing.builds_on:
        Digest.parse(digest)
    if listing.requires and not listing.is_delta:
        raise MalformedDocument(f"{what} of a full bundle requires blobs")
    sizes = [(blob.digest, blob.size) for blob in listing.blobs]
    sizes += [(blob.digest, blob.size) for blob in listing.requires]
    if len(sizes) > MOST_BLOBS:
        raise LimitExceeded(f"{what} names {len(sizes)} blobs, more than {MOST_BLOBS}")
    if len({Digest.parse(digest) for digest, _ in sizes}) != len(sizes):
        raise MalformedDocument(f"{what} lists a blob twice")
    if min((listing.size, *(size for _, size in sizes), *(f.size for f in listing.files))) < 0:
        raise MalformedDocument(f"{what} has a negative size")
    documents = {blob.digest: blob.size for blob in listing.blobs if blob.type == DOCUMENT}
    for image in listing.images:
        _check_image(image, documents, len(sizes), what)


def _check_image(image: BundleImage, documents: Mapping[str, int], blobs: int, what: str) -> None:
    manifests = [(image.digest, image.size)]
    manifests += [(entry.digest, entry.size) for entry in image.attached]
    for digest, size in manifests:
        if documents.get(digest) != size:
            raise MalformedDocument(
                f"{what}: the manifest {quoted(digest)} is not among its documents"
            )
    if any(not 0 <= position < blobs for position in image.blobs):
        raise MalformedDocument(f"{what} gives an image a blob that it does not list")
    _check_name(image.name, what)


def _check_name(name: str | None, what: str) -> None:
    if name is None:
        return
    try:
        reference = Reference.parse(name)
    except UsageError as error:
        raise MalformedDocument(f"{what}: {quoted(name)} is not the name of an image") from error
    if reference.name != name:
        raise MalformedDocument(f"{what}: {quoted(name)} is not the full name of an image")


def _roots(listing: BundleList) -> "list[Root]":
    images: dict[str, Root] = {}
    for image in listing.images:
        known = images.get(image.digest)
        names = (*(known.names if known is not None else ()), *([image.name] if image.name else ()))
        label = image.label if known is None else known.label
        images[image.digest] = Root(descriptor=_descriptor(image), names=names, label=label)
    for image in listing.images:
        for entry in image.attached:
            if entry.digest not in images:
                images[entry.digest] = Root(descriptor=_descriptor(entry), names=entry.names)
    return list(images.values())


def _descriptor(entry: BundleImage | AttachedEntry) -> Descriptor:
    return Descriptor(
        media_type=entry.media_type,
        digest=Digest.parse(entry.digest),
        size=entry.size,
        annotations=entry.annotations,
        artifact_type=entry.artifact_type if isinstance(entry, AttachedEntry) else None,
    )
