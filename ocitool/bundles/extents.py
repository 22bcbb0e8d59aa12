"""Where the members of a bundle are in its files, by what their lists say."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ocitool.bundles.files import BundleFile, BundleMembers, BundleSet, Extent
from ocitool.bundles.volume_format import FILES, VolumeMember
from ocitool.bundles.volumes import volume_sections
from ocitool.oci import Descriptor, Digest
from ocitool.oci.amounts import size_text
from ocitool.places.archive.bundle import SIGNATURE_FILE
from ocitool.places.archive.bundle_writer import bundle_sections
from ocitool.places.archive.sections import Section, file_section, tar_size
from ocitool.places.archive.source import ArchiveSource


def sections_of(file: BundleFile) -> Iterator[Section]:
    """Yield the members that a file has to have, in their order."""
    head = file.head
    if head.volume is None:
        return bundle_sections(head.listing, head.raw, head.signature)
    return volume_sections(head.volume, head.volume_raw, head.raw, head.signature)


def located(file: BundleFile) -> Iterator[tuple[Section, int]]:
    """Yield the members with the offset of their header."""
    position = 0
    for section in sections_of(file):
        yield section, position
        position += section.length


def expected_size(file: BundleFile) -> int:
    """Return how many bytes a file has to have by its members."""
    return tar_size(sum(section.length for section in sections_of(file)))


def told_size(file: BundleFile) -> int:
    """Return how many bytes a file has to have by what its list says."""
    head = file.head
    told = head.volume.size if head.volume is not None else head.listing.size
    if head.signature is None:
        return told
    length = sum(section.length for section in sections_of(file))
    signed = file_section(SIGNATURE_FILE, head.signature).length
    return told + tar_size(length) - tar_size(length - signed)


def cut_files(bundle: BundleSet) -> Iterator[str]:
    """Yield, for each file that is shorter than its list says, how much of it is missing."""
    for file in bundle.files:
        told = told_size(file)
        if file.size < told:
            missing = size_text(told - file.size)
            yield f"{file.what} is cut: {missing} of its {size_text(told)} are missing"


class Piece(Struct, frozen=True):
    """A part of the blob `whole`: its bytes in a file, their digest, and where they begin."""

    whole: Descriptor
    offset: int
    extent: Extent
    digest: Digest


def members_of(bundle: BundleSet) -> BundleMembers:
    """Return the members of a bundle, without those that were found to be unsound.

    A blob in parts counts only when all of its parts are here.
    """
    extents: dict[str, list[Extent]] = {}
    for path, extent, part in _sound_members(bundle):
        if part is None:
            extents.setdefault(path.removeprefix(FILES), [extent])
    for whole, pieces in _by_blob(pieces_of(bundle)).items():
        joined = _joined(pieces)
        if joined:
            extents.setdefault(f"blobs/{whole.digest.algorithm}/{whole.digest.hex}", joined)
    return BundleMembers(bundle, extents)


def pieces_of(bundle: BundleSet) -> list[Piece]:
    """Return the sound parts that the volumes here have of blobs that were cut."""
    found = []
    for path, extent, part in _sound_members(bundle):
        if part is not None:
            _, algorithm, hex_digits, _ = path.split("/")
            digest = Digest(algorithm, hex_digits)
            whole = Descriptor(media_type="", digest=digest, size=part.of)
            found.append(Piece(whole, part.offset, extent, Digest.parse(part.digest)))
    return found


def open_set(bundle: BundleSet) -> ArchiveSource:
    """Return a bundle as a place to read from: its images are those that its list names."""
    return ArchiveSource(members_of(bundle))


def _sound_members(bundle: BundleSet) -> Iterator[tuple[str, Extent, VolumeMember | None]]:
    """Yield each member's path and place, with what a volume says of it if it is a part."""
    for number, file in enumerate(bundle.all_files):
        volume = file.head.volume
        parts = {one.path: one for one in volume.members if one.of} if volume is not None else {}
        for section, position in located(file):
            offset = position + len(section.header)
            is_here = section.content is not None and offset + section.size <= file.size
            if is_here and (number, section.path) not in bundle.unsound:
                yield section.path, Extent(number, offset, section.size), parts.get(section.path)


def _by_blob(pieces: Sequence[Piece]) -> dict[Descriptor, list[Piece]]:
    found: dict[Descriptor, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.whole, []).append(piece)
    return found


def _joined(pieces: Sequence[Piece]) -> list[Extent]:
    """Return the places of a blob's bytes in order; nothing when some are missing."""
    first = {piece.offset: piece for piece in reversed(pieces)}
    order, position = [], 0
    for offset, piece in sorted(first.items()):
        if offset != position:
            return []
        order.append(piece.extent)
        position += piece.extent.size
    return order if position == pieces[0].whole.size else []
