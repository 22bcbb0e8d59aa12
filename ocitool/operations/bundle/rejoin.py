"""bundle join and split: the same bundle in another number of files, bit for bit the same."""

from collections.abc import Callable, Mapping

from ocitool.bundles.extents import members_of
from ocitool.bundles.files import BundleMembers, BundleSet
from ocitool.errors import NotFound
from ocitool.events import SILENT, Observer
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.oci.amounts import counted
from ocitool.operations.bundle.create import BundlePlan
from ocitool.operations.bundle.mending import mending
from ocitool.operations.bundle.write import Written, write_bundle, write_volumes
from ocitool.places.archive.bundle import DOCUMENT
from ocitool.places.archive.bundle_writer import BundleContents
from ocitool.places.archive.members import read_member
from ocitool.places.archive.sections import blob_path

_LARGEST = 64 << 20
"""Bytes of index.json and its like, and of one document."""


@mending
def join_bundle(bundle: BundleSet, path: str, *, observer: Observer = SILENT) -> Written:
    """Write a bundle that is in volumes as one file. NotFound when a volume is missing."""
    return write_bundle(_plan(bundle, observer), path, signature=bundle.head.signature)


@mending
def split_bundle(
    bundle: BundleSet,
    path: str,
    limit: int,
    *,
    parity: bool = False,
    observer: Observer = SILENT,
) -> list[Written]:
    """Write a bundle as volumes of at most `limit` bytes. See `write_volumes`."""
    plan = _plan(bundle, observer)
    return write_volumes(plan, path, limit, signature=bundle.head.signature, parity=parity)


def _plan(bundle: BundleSet, observer: Observer) -> BundlePlan:
    """Return a bundle that exists as a plan to write it again."""
    head = bundle.head
    members = members_of(bundle)
    absent = [blob for blob in head.listing.blobs if members.find(_path(blob.digest)) is None]
    if absent:
        lost = ", ".join(str(number) for number in bundle.lost_volumes)
        count = counted(len(absent), "blob") + (" is" if len(absent) == 1 else " are")
        volumes = "volume" if len(bundle.lost_volumes) == 1 else "volumes"
        are = "is" if len(bundle.lost_volumes) == 1 else "are"
        raise NotFound(
            f"{bundle.what}: {count} not in these files, or damaged"
            + (f": {volumes} {lost} of {bundle.volumes} {are} missing" if lost else ""),
            hint="bring a sound copy of what is missing or damaged, or their parity volume; or "
            "`ocitool bundle load` the images that are whole",
        )
    files = {file.path: _read(members, file.path) for file in head.listing.files}
    documents = {
        Digest.parse(blob.digest): _read(members, _path(blob.digest))
        for blob in head.listing.blobs
        if blob.type == DOCUMENT
    }
    _check(files, documents, bundle)
    contents = BundleContents(listing=head.listing, raw=head.raw, files=files, documents=documents)
    return BundlePlan(contents=contents, open_blob=_opener(members, observer), observer=observer)


def _check(
    files: Mapping[str, bytes], documents: Mapping[Digest, bytes], bundle: BundleSet
) -> None:
    """Verify what is written from memory; blobs verify themselves on their way."""
    wanted = {file.path: Digest("sha256", file.sha256) for file in bundle.head.listing.files}
    for path, data in files.items():
        Blob.of(_descriptor(wanted[path], data), data, where=path).read_all(_LARGEST)
    for digest, data in documents.items():
        where = f"{blob_path(digest)} of {bundle.what!r}"
        Blob.of(_descriptor(digest, data), data, where=where).read_all(_LARGEST)


def _descriptor(digest: Digest, data: bytes) -> Descriptor:
    return Descriptor(media_type="", digest=digest, size=len(data))


def _path(digest: str) -> str:
    return blob_path(Digest.parse(digest))


def _read(members: BundleMembers, path: str) -> bytes:
    member = members.find(path)
    if member is None:
        raise NotFound(f"{path} is not in {members.what!r}")
    return read_member(members, member, _LARGEST)


def _opener(members: BundleMembers, observer: Observer) -> Callable[[Descriptor], Blob]:
    def open_blob(descriptor: Descriptor) -> Blob:
        path = blob_path(descriptor.digest)
        member = members.find(path)
        if member is None:
            raise NotFound(f"{path} is not in {members.what!r}")
        read, close = members.open(member)
        where = f"{path} of {members.what!r}"
        return Blob(descriptor, read, where=where, close=close).watched(observer.advance)

    return open_blob
