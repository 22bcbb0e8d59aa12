"""bundle verify: prove that a bundle arrived whole, or say exactly what of it is lost."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from ocitool.bundles.extents import expected_size, located, members_of, told_size
from ocitool.bundles.files import BundleFile, BundleSet, Unreadable
from ocitool.bundles.inventory import Need, need_of
from ocitool.concurrency import DEFAULT_JOBS, Stop
from ocitool.errors import OcitoolError
from ocitool.events import SILENT, Observer
from ocitool.formats.tar.writing import padding
from ocitool.image.content import CHUNK, Root, Source
from ocitool.image.graph import closure_of
from ocitool.image.wholeness import require_whole
from ocitool.oci import Digest
from ocitool.operations.hashing import share_out
from ocitool.places.archive.bundle import DOCUMENT, BundleBlob, BundleList
from ocitool.places.archive.sections import Section, blob_path
from ocitool.places.archive.source import ArchiveSource, PromisedBlobs


class Damage(Struct, frozen=True, kw_only=True):
    """A member that is not what the list says, in which file, and the images that need it.

    `kind` is header, content, padding, cut, rest (behind the last member), list or document.
    """

    file: str
    member: str
    kind: str
    message: str
    images: tuple[str, ...] = ()


class BundleReport(Struct, frozen=True, kw_only=True):
    """What was found in the files of one bundle.

    `lost` are blobs that should be inside and are not, or are damaged; `lost_volumes` are the
    numbers of volumes that are not here; `whole` and `lost_images` are what the images are called
    that can be loaded from these files (with what a delta requires) and that cannot.
    """

    digest: Digest
    listing: BundleList
    files: tuple[str, ...]
    volumes: int
    damage: tuple[Damage, ...]
    lost_volumes: tuple[int, ...]
    lost: tuple[BundleBlob, ...]
    whole: tuple[str, ...]
    lost_images: tuple[str, ...]
    size: int
    seconds: float
    signer: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or lost."""
        return not (self.damage or self.lost or self.lost_volumes)

    @property
    def need(self) -> Need:
        """What a further bundle has to bring."""
        return need_of(self.digest, ((blob.digest, blob.size) for blob in self.lost))


def verify_bundle(
    bundle: BundleSet, *, jobs: int = DEFAULT_JOBS, observer: Observer = SILENT
) -> BundleReport:
    """Check every byte of the files of a bundle; nothing is changed. StorageError from the disk.

    The layers are not unpacked: `verify` of the loaded image checks their diff IDs.
    """
    begin = time.monotonic()
    listing = bundle.head.listing
    damage, unsound = _check_files(bundle, jobs, observer)
    archive = ArchiveSource(members_of(bundle, unsound))
    held = {blob.digest for blob in listing.blobs if archive.holds(Digest.parse(blob.digest))}
    lost = tuple(blob for blob in listing.blobs if blob.digest not in held)
    damage += _check_graph(archive, bundle, {blob.digest for blob in lost})
    needed_by = listing.needed_by()
    bad = {name for blob in lost for name in needed_by.get(blob.digest, ())}
    bad |= {name for one in damage if one.kind == DOCUMENT for name in one.images}
    return BundleReport(
        digest=bundle.head.digest,
        listing=listing,
        files=tuple(file.what for file in bundle.files),
        volumes=bundle.volumes,
        damage=tuple(damage),
        lost_volumes=bundle.lost_volumes,
        lost=lost,
        whole=tuple(name for name in listing.names if name not in bad),
        lost_images=tuple(name for name in listing.names if name in bad),
        size=sum(file.size for file in bundle.files),
        seconds=time.monotonic() - begin,
    )


def is_intact(file: BundleFile, *, jobs: int = DEFAULT_JOBS) -> bool:
    """Tell whether every byte of a file is what its list says."""
    damage, _ = _check_files(BundleSet([file]), jobs, SILENT)
    return not damage


def unreadable_report(files: Sequence[Unreadable]) -> list[Damage]:
    """Return files that could not even be opened as damage."""
    return [
        Damage(file=one.path, member="", kind="list", message=one.error.message) for one in files
    ]


class _Check(Struct, frozen=True):
    """One section to check: which file, where it begins, and which bytes it has."""

    number: int
    file: BundleFile
    section: Section
    position: int

    @property
    def size(self) -> int:
        return self.section.size


def _check_files(
    bundle: BundleSet, jobs: int, observer: Observer
) -> tuple[list[Damage], list[tuple[int, str]]]:
    """Check each section of each file; return what is wrong, and the contents that are unsound."""
    checks = [
        _Check(number, file, section, position)
        for number, file in enumerate(bundle.files)
        for section, position in located(file)
    ]
    found: list[tuple[_Check, str]] = []
    lock = threading.Lock()

    def check(one: _Check, stop: Stop) -> None:
        for kind in _wrong(one, stop, observer):
            with lock:
                found.append((one, kind))

    with observer.work("verifying", sum(one.size for one in checks)):
        share_out(checks, check, jobs)
    found.sort(key=lambda pair: (pair[0].number, pair[0].position))
    listing = bundle.head.listing
    needed_by = listing.needed_by() if found else {}
    damage = [_damage(one, kind, needed_by) for one, kind in found]
    for file in bundle.files:
        damage += _check_end(file)
    unsound = [(one.number, one.section.path) for one, kind in found if kind in _LOSES]
    return damage, unsound


_LOSES = ("content", "cut")
_TEXTS = {
    "header": "its header was changed",
    "content": "its content was changed",
    "padding": "the bytes behind it were changed",
    "cut": "the file ends before it, or within it",
}


def _wrong(one: _Check, stop: Stop, observer: Observer) -> Iterator[str]:
    """Yield what is wrong with a section: cut alone, or any of header, content, padding."""
    section, read_at = one.section, one.file.read_at
    header = section.header
    position = one.position + len(header)
    end = position + section.size
    if end > one.file.size:
        yield "cut"
        return
    if read_at(one.position, len(header)) != header:
        yield "header"
    if section.content is not None:
        hasher = section.content.digest.hasher()
        while position < end:
            stop.check()
            part = read_at(position, min(CHUNK, end - position))
            if not part:
                break
            hasher.update(part)
            position += len(part)
            observer.advance(len(part))
        if Digest.from_hasher(section.content.digest.algorithm, hasher) != section.content.digest:
            yield "content"
    fill = padding(section.size)
    if read_at(end, len(fill)) != fill:
        yield "padding"


def _damage(one: _Check, kind: str, needed_by: Mapping[str, tuple[str, ...]]) -> Damage:
    path = one.section.path
    digest = ":".join(path.split("/")[1:3])
    return Damage(
        file=one.file.what,
        member=path,
        kind=kind,
        message=f"{path} of {one.file.what}: {_TEXTS[kind]}",
        images=needed_by.get(digest, ()),
    )


def _check_end(file: BundleFile) -> Iterator[Damage]:
    """Look at what is behind the last member, and whether the file has the size that it says."""
    length = sum(section.length for section, _ in located(file))
    expected = expected_size(file)
    if told_size(file) != expected:
        told = told_size(file)
        message = f"the list of {file.what} says that it has {told} bytes, not {expected}"
        yield Damage(file=file.what, member="", kind="list", message=message)
    if file.size < expected:
        lacking = expected - file.size
        message = f"{file.what} is cut: {lacking} of its {expected} bytes are missing"
        yield Damage(file=file.what, member="", kind="cut", message=message)
    elif file.size > expected:
        message = f"{file.what} has {file.size - expected} bytes too many behind its end"
        yield Damage(file=file.what, member="", kind="rest", message=message)
    rest = file.read_at(length, max(0, min(file.size, expected) - length))
    if rest.strip(b"\0"):
        message = f"the end of {file.what} was changed"
        yield Damage(file=file.what, member="", kind="rest", message=message)


def _check_graph(archive: ArchiveSource, bundle: BundleSet, lost: set[str]) -> list[Damage]:
    """Follow the documents of each image: the bundle's list has to have all that they list.

    An image with a blob that is `lost` is told already.
    """
    source = PromisedBlobs(archive, bundle.head.listing)
    needed_by = bundle.head.listing.needed_by()
    told = {name for digest in lost for name in needed_by.get(digest, ())}
    found = []
    for root in bundle.head.listing.roots():
        names = needed_by.get(str(root.descriptor.digest), ())
        message = _problem(source, root) if not told & set(names) else None
        if message is not None:
            found.append(
                Damage(
                    file=bundle.what,
                    member=blob_path(root.descriptor.digest),
                    kind=DOCUMENT,
                    message=f"{root.called}: {message}",
                    images=names,
                )
            )
    return found


def _problem(source: Source, root: Root) -> str | None:
    try:
        closure = closure_of(source, root.descriptor)
        require_whole(source, root, closure)
    except OcitoolError as error:
        return error.message
    return None
