"""What files bring of images that are not whole: stored, for the missing volumes to complete."""

import functools

from msgspec import Struct

from ocitool.bundles.extents import Piece, pieces_of
from ocitool.bundles.files import BundleMembers, BundleSet
from ocitool.concurrency import Stop, run_all
from ocitool.events import Observer
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.operations.bundle.check import CheckReport, Readable, parts_of
from ocitool.places.archive.members import Member
from ocitool.places.layout import Writing


class Pieces(Struct, frozen=True, kw_only=True):
    """What became of parts of blobs: those that are whole now, and the bytes of the others."""

    completed: frozenset[Digest]
    size: int


def store_pieces(
    bundle: BundleSet, report: CheckReport, writing: Writing, observer: Observer
) -> Pieces:
    """Store the parts that are here of blobs of which others are not.

    A blob is whole when its last part has come, in whatever order they do. IntegrityError for a
    part that is damaged.
    """
    lacking = {blob.digest for blob in report.lacking}
    pieces = [piece for piece in pieces_of(bundle) if str(piece.whole.digest) in lacking]
    total = sum(piece.extent.size for piece in pieces)
    with observer.work("storing parts of layers", total):
        for piece in pieces:
            _store_piece(bundle, piece, writing, observer)
    wholes = {piece.whole for piece in pieces if writing.layout.has(piece.whole)}
    return Pieces(
        completed=frozenset(whole.digest for whole in wholes),
        size=sum(piece.extent.size for piece in pieces if piece.whole not in wholes),
    )


def _store_piece(bundle: BundleSet, piece: Piece, writing: Writing, observer: Observer) -> None:
    ingest = None if writing.has(piece.whole) else writing.ingest(piece.whole)
    # None: another process is storing this blob; what it lacks of it comes with the next run.
    if ingest is None:
        return
    try:
        end = piece.offset + piece.extent.size
        if any(first < end and piece.offset < last for first, last in ingest.missing()):
            position = piece.offset
            with _bytes_of(bundle, piece).watched(observer.advance) as part:
                while data := part.read():
                    ingest.write(position, data)
                    position += len(data)
        if not ingest.missing():
            ingest.commit()
    finally:
        ingest.close()


def _bytes_of(bundle: BundleSet, piece: Piece) -> Blob:
    """Return a part as a stream that verifies itself by the part's own digest."""
    descriptor = Descriptor(media_type="", digest=piece.digest, size=piece.extent.size)
    member = Member(path=str(piece.digest), size=piece.extent.size)
    read, _ = BundleMembers(bundle, {member.path: [piece.extent]}).open(member)
    return Blob(descriptor, read, where=bundle.all_files[piece.extent.file].what)


def store_blobs(
    bundle: BundleSet,
    archive: Readable,
    report: CheckReport,
    writing: Writing,
    *,
    jobs: int,
    observer: Observer,
) -> int:
    """Store the blobs that are here of images that are not whole; return their bytes."""
    blobs = [blob for blob in parts_of(bundle.head.listing, report) if archive.has(blob)]
    writing.announce(blobs)

    def store(blob: Descriptor, stop: Stop) -> None:
        stop.check()
        writing.put(blob, lambda: archive.open(blob).watched(observer.advance))

    with observer.work("storing what is here of the others", sum(blob.size for blob in blobs)):
        run_all([functools.partial(store, blob) for blob in blobs], jobs)
    return sum(blob.size for blob in blobs)
