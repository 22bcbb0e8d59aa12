"""Make the list of a bundle, and the sections of its tar."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import LimitExceeded
from ocitool.image.content import PlannedImage
from ocitool.oci import Descriptor, Digest, Manifest, Reference, mediatype
from ocitool.oci.annotations import without_names
from ocitool.places.archive.bundle import (
    CONFIG,
    DELTA,
    DOCUMENT,
    FORMAT,
    FULL,
    LAYER,
    LIST_FILE,
    MOST_BLOBS,
    OTHER,
    SIGNATURE_FILE,
    AttachedEntry,
    BlobType,
    BundleBlob,
    BundleFile,
    BundleImage,
    BundleList,
    ClosureReport,
    Required,
    encode_list,
)
from ocitool.places.archive.sections import (
    Section,
    blob_folders,
    blob_section,
    file_section,
    tar_size,
)
from ocitool.places.archive.writer import archive_contents, archive_files


class Packing(Struct, frozen=True, kw_only=True):
    """An image for a bundle, what is attached to it with their subjects, and what was missing."""

    image: PlannedImage
    attached: tuple[tuple[PlannedImage, str], ...]
    closure: ClosureReport

    @property
    def planned(self) -> tuple[PlannedImage, ...]:
        """The image and what is attached to it."""
        return (self.image, *(one for one, _ in self.attached))


class BundleContents(Struct, frozen=True, kw_only=True):
    """A bundle before it is written: its list, the bytes of that, and its other small members."""

    listing: BundleList
    raw: bytes
    files: Mapping[str, bytes]
    documents: Mapping[Digest, bytes]

    def sections(self, signature: bytes | None = None) -> Iterator[Section]:
        """Yield the members in their order."""
        return bundle_sections(self.listing, self.raw, signature, self.files, self.documents)


def bundle_contents(
    packings: Sequence[Packing],
    *,
    left_out: Callable[[Descriptor], bool] | None = None,
    holders: Mapping[Digest, Sequence[str]] | None = None,
    builds_on: Iterable[Digest] = (),
) -> BundleContents:
    """Return the bundle of some images; the same images give the same bytes.

    `left_out` tells of each layer whether the other side has it: the bundle is then a delta.
    Documents and configurations always travel. `holders` are further repositories that have a blob,
    `builds_on` the lists of the bundles that the other side has.
    """
    ordered = sorted(packings, key=lambda one: _order(one.image))
    images = _once(image for packing in ordered for image in packing.planned)
    documents, others = archive_contents(images)
    if len(documents) + len(others) > MOST_BLOBS:
        raise LimitExceeded(
            f"the images have {len(documents) + len(others)} blobs; a bundle holds {MOST_BLOBS}",
            hint="make several bundles",
        )
    configs = _configs(images)
    outside = [b for b in others if left_out and b.digest not in configs and left_out(b)]
    absent = {blob.digest for blob in outside}
    inside = [*documents, *(blob for blob in others if blob.digest not in absent)]
    outside.sort(key=lambda blob: blob.digest)
    files = archive_files([image for image in images if _is_whole(image, absent)])
    positions = {blob.digest: number for number, blob in enumerate((*inside, *outside))}
    listing = BundleList(
        format=FORMAT,
        kind=FULL if left_out is None else DELTA,
        files=tuple(_bundle_file(path, data) for path, data in files.items()),
        blobs=tuple(
            BundleBlob(digest=str(b.digest), size=b.size, type=_type(b, documents, configs))
            for b in inside
        ),
        requires=tuple(_required(outside, _repositories(images, absent, holders or {}))),
        images=tuple(entry for packing in ordered for entry in _images(packing, positions)),
        size=0,
        builds_on=tuple(sorted(map(str, builds_on))),
    )
    listing, raw = _with_size(listing, files)
    raws = {descriptor.digest: data for descriptor, data in documents.items()}
    return BundleContents(listing=listing, raw=raw, files=files, documents=raws)


def _is_whole(image: PlannedImage, absent: set[Digest]) -> bool:
    """Tell whether all of an image is inside: other tools see only such images."""
    return not any(blob.digest in absent for blob in image.closure.blobs)


def _bundle_file(path: str, data: bytes) -> BundleFile:
    return BundleFile(path=path, size=len(data), sha256=Digest.of(data).hex)


def _required(blobs: Sequence[Descriptor], known: Mapping[Digest, set[str]]) -> Iterator[Required]:
    for blob in blobs:
        places = tuple(sorted(known[blob.digest]))
        yield Required(digest=str(blob.digest), size=blob.size, from_=places)


def bundle_sections(
    listing: BundleList,
    raw: bytes,
    signature: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    documents: Mapping[Digest, bytes] | None = None,
) -> Iterator[Section]:
    """Yield the members of a bundle in their order.

    `raw` is the list as it stands in the bundle. `files` and `documents` have the bytes of some
    members, for whoever writes them.
    """
    described = [_file(file, files or {}) for file in listing.files]
    yield described[0]
    yield file_section(LIST_FILE, raw)
    if signature is not None:
        yield file_section(SIGNATURE_FILE, signature)
    yield from described[1:]
    blobs = [blob.descriptor for blob in listing.blobs]
    yield from blob_folders(blob.digest for blob in blobs)
    for blob in blobs:
        yield blob_section(blob, (documents or {}).get(blob.digest))


def _file(file: BundleFile, files: Mapping[str, bytes]) -> Section:
    content = Descriptor(media_type="", digest=Digest("sha256", file.sha256), size=file.size)
    return Section(file.path, content, files.get(file.path))


def _with_size(listing: BundleList, files: Mapping[str, bytes]) -> tuple[BundleList, bytes]:
    """Return the list with the size of its tar, which has the list in it."""
    others = [s for s in bundle_sections(listing, b"", None, files) if s.path != LIST_FILE]
    length = sum(section.length for section in others)
    while True:
        raw = encode_list(listing)
        size = tar_size(length + file_section(LIST_FILE, raw).length)
        if size == listing.size:
            return listing, raw
        # A larger number never makes the list shorter, so this comes to an end.
        listing = replace(listing, size=size)


def _order(image: PlannedImage) -> tuple[tuple[str, ...], str]:
    return tuple(sorted(image.root.names)), str(image.root.descriptor.digest)


def _once(images: Iterable[PlannedImage]) -> list[PlannedImage]:
    return list({image.root.descriptor.digest: image for image in images}.values())


def _configs(images: Sequence[PlannedImage]) -> set[Digest]:
    return {
        document.config.digest
        for image in images
        for _, document in image.closure.documents
        if isinstance(document, Manifest)
    }


def _type(
    blob: Descriptor, documents: Mapping[Descriptor, bytes], configs: set[Digest]
) -> BlobType:
    if blob in documents:
        return DOCUMENT
    if blob.digest in configs:
        return CONFIG
    return LAYER if mediatype.is_layer(blob.media_type) else OTHER


def _repositories(
    images: Sequence[PlannedImage],
    absent: set[Digest],
    holders: Mapping[Digest, Sequence[str]],
) -> dict[Digest, set[str]]:
    """Return for each blob that is left out the repositories that have it."""
    found = {digest: set(holders.get(digest, ())) for digest in absent}
    for image in images:
        repositories = {Reference.parse(name).repository for name in image.root.names}
        for blob in image.closure.blobs:
            if blob.digest in absent:
                found[blob.digest] |= repositories
    return found


def _images(packing: Packing, positions: Mapping[Digest, int]) -> Iterator[BundleImage]:
    root = packing.image.root
    digests = {d.digest for image in packing.planned for d in image.closure.descriptors}
    platforms = {str(facts.platform) for facts in packing.image.configs.values()}
    for name in sorted(root.names) or (None,):
        yield BundleImage(
            name=name,
            digest=str(root.descriptor.digest),
            media_type=root.descriptor.media_type,
            size=root.descriptor.size,
            annotations=_annotations(root.descriptor),
            platforms=tuple(sorted(platforms)),
            blobs=tuple(sorted(positions[digest] for digest in digests)),
            attached=tuple(_attached(image, subject) for image, subject in packing.attached),
            closure=packing.closure,
            label=root.label if name is None else None,
        )


def _attached(image: PlannedImage, subject: str) -> AttachedEntry:
    root = image.root
    document = image.closure.document(root.descriptor.digest)
    return AttachedEntry(
        digest=str(root.descriptor.digest),
        media_type=root.descriptor.media_type,
        size=root.descriptor.size,
        subject=subject,
        artifact_type=document.effective_artifact_type if isinstance(document, Manifest) else None,
        names=tuple(sorted(root.names)),
        annotations=_annotations(root.descriptor),
    )


def _annotations(descriptor: Descriptor) -> dict[str, str]:
    return dict(sorted(without_names(descriptor.annotations).items()))
