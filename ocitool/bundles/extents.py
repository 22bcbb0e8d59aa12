"""Where the members of a bundle are in its files, by what their lists say."""

from collections.abc import Iterator

from ocitool.bundles.files import BundleFile, BundleMembers, BundleSet, Extent
from ocitool.bundles.volume_format import FILES, Volume
from ocitool.bundles.volumes import volume_sections
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
            yield f"{file.what} is cut: {told - file.size} of its {told} bytes are missing"


def members_of(bundle: BundleSet) -> BundleMembers:
    """Return the members of a bundle, without those that were found to be unsound.

    A blob in parts counts only when all of its parts are here.
    """
    extents: dict[str, list[Extent]] = {}
    parts: dict[str, dict[int, tuple[Extent, int]]] = {}
    for number, file in enumerate(bundle.all_files):
        by_path = _by_path(file.head.volume)
        for section, position in located(file):
            offset = position + len(section.header)
            extent = Extent(number, offset, section.size)
            if section.content is None or (number, section.path) in bundle.unsound:
                continue
            if offset + section.size > file.size:
                continue
            if section.path in by_path:
                path, begin, whole = by_path[section.path]
                parts.setdefault(path, {}).setdefault(begin, (extent, whole))
            else:
                extents.setdefault(section.path.removeprefix(FILES), [extent])
    for path, found in parts.items():
        joined = _joined(found)
        if joined:
            extents.setdefault(path, joined)
    return BundleMembers(bundle, extents)


def open_set(bundle: BundleSet) -> ArchiveSource:
    """Return a bundle as a place to read from: its images are those that its list names."""
    return ArchiveSource(members_of(bundle))


def _by_path(volume: Volume | None) -> dict[str, tuple[str, int, int]]:
    """Return, for the path of each part, the path of its blob, its offset and the whole size."""
    found = {}
    for member in volume.members if volume is not None else ():
        if member.of:
            _, algorithm, hex_digits, _ = member.path.split("/")
            path = f"blobs/{algorithm}/{hex_digits}"
            found[member.path] = (path, member.offset, member.of)
    return found


def _joined(parts: dict[int, tuple[Extent, int]]) -> list[Extent]:
    """Return the parts of a blob in order; nothing when one is missing."""
    order = []
    position = 0
    for offset, (extent, _) in sorted(parts.items()):
        if offset != position:
            return []
        order.append(extent)
        position += extent.size
    is_whole = all(position == whole for _, whole in parts.values())
    return order if is_whole else []
