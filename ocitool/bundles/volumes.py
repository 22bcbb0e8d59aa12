"""A bundle in volumes: which blob goes into which, and the sections of each."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.bundles.volume_format import (
    FILES,
    PARITY,
    PARITY_NUMBER,
    VOLUME,
    Covered,
    Volume,
    VolumeMember,
    encode_volume,
)
from ocitool.errors import UsageError
from ocitool.formats.tar.writing import BLOCK, RECORD
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.oci.amounts import size_text
from ocitool.places.archive.bundle import (
    CONFIG,
    DOCUMENT,
    LIST_FILE,
    SIGNATURE_FILE,
    VOLUME_FILE,
)
from ocitool.places.archive.bundle_writer import BundleContents
from ocitool.places.archive.sections import Section, file_section, tar_size

SPARE: Final = 1 << 20
"""The least room for layers in a volume, beside the documents that each one has."""
_LONGEST_ENTRY: Final = 400
"""Bytes of one member in ocitool-volume.json, at most."""
_ANY: Final = Digest("sha256", "0" * 64)


class Piece(Struct, frozen=True, kw_only=True):
    """A blob, or a part of one: `size` bytes from `offset` on."""

    blob: Descriptor
    offset: int
    size: int

    @property
    def is_part(self) -> bool:
        """Whether the blob is larger than this."""
        return self.size != self.blob.size

    @property
    def path(self) -> str:
        """Where it stands in a volume."""
        digest = self.blob.digest
        if self.is_part:
            return f"parts/{digest.algorithm}/{digest.hex}/{self.offset}"
        return f"blobs/{digest.algorithm}/{digest.hex}"

    @property
    def length(self) -> int:
        """The bytes in a tar: header, content, padding, and its entry in the volume's own list."""
        content = Descriptor(media_type="", digest=_ANY, size=self.size)
        return Section(self.path, content).length + _LONGEST_ENTRY


class VolumePlan(Struct, frozen=True, kw_only=True):
    """One volume before it is written. Its sections are in the order of the file."""

    volume: Volume
    sections: tuple[Section, ...]
    pieces: dict[str, Piece]
    """The blobs and parts by their path."""


def plan_volumes(
    contents: BundleContents,
    signature: bytes | None,
    limit: int,
    part_digests: Callable[[Sequence[Piece]], Sequence[Digest]],
    *,
    parity: bool = False,
) -> list[VolumePlan]:
    """Distribute a bundle over volumes of at most `limit` bytes; the first that has room gets it.

    `part_digests` returns the digests of the parts of one blob, in their order. With `parity` the
    volumes are so much smaller that their parity volume has at most `limit` bytes as well.
    UsageError when even the documents do not fit.
    """
    fixed = _fixed_sections(contents, signature)
    bundle = Digest.of(contents.raw)
    volumes = _distribute(_blobs(contents), _room(fixed, limit))
    if parity:
        volumes = _distribute_below_parity(contents, signature, limit, fixed, len(volumes))
    digests = _part_digests(volumes, part_digests)
    return [
        _plan(contents, fixed, bundle, pieces, digests, number, len(volumes))
        for number, pieces in enumerate(volumes, start=1)
    ]


def _distribute_below_parity(
    contents: BundleContents,
    signature: bytes | None,
    limit: int,
    fixed: Sequence[Section],
    count: int,
) -> "list[list[Piece]]":
    """Distribute a bundle so that there is room for what a parity volume has beside its content.

    That grows with the number of volumes, which are more when there is less room.
    """
    while True:
        covered = [Covered(size=limit, sha256=_ANY.hex)] * count
        others = parity_plan(contents, signature, covered, _ANY).volume.size - limit
        volumes = _distribute(_blobs(contents), _room(fixed, limit, others + RECORD))
        if len(volumes) <= count:
            return volumes
        count = len(volumes)


def parity_plan(
    contents: BundleContents, signature: bytes | None, covers: Sequence[Covered], digest: Digest
) -> VolumePlan:
    """Return the parity volume of some volumes; `digest` is that of its one large member."""
    size = max(one.size for one in covers)
    section = Section(PARITY, Descriptor(media_type="", digest=digest, size=size))
    leading = [file_section(LIST_FILE, contents.raw)]
    volume, head = _with_size(
        Volume(
            format=VOLUME,
            bundle=str(Digest.of(contents.raw)),
            volume=PARITY_NUMBER,
            of=len(covers),
            members=(VolumeMember(path=PARITY, size=size, digest=str(digest)),),
            size=0,
            covers=tuple(covers),
        ),
        leading[0].length + section.length,
    )
    if signature is not None:
        leading.append(file_section(SIGNATURE_FILE, signature))
    return VolumePlan(volume=volume, sections=(head, *leading, section), pieces={})


def covered_by(plan: VolumePlan) -> Covered:
    """Return what a parity volume says of one that it covers."""
    length = sum(section.length for section in plan.sections)
    return Covered(size=tar_size(length), sha256=Digest.of(encode_volume(plan.volume)).hex)


def parity_name(path: str) -> str:
    """Return the file of a parity volume: NAME.parity.tar for NAME.tar."""
    return f"{path.removesuffix('.tar')}.parity.tar"


def volume_name(path: str, number: int, count: int) -> str:
    """Return the file of a volume: NAME.v01of03.tar for NAME.tar."""
    stem = path.removesuffix(".tar")
    width = max(2, len(str(count)))
    return f"{stem}.v{number:0{width}}of{count:0{width}}.tar"


def volume_sections(
    volume: Volume, volume_raw: bytes, raw: bytes, signature: bytes | None
) -> Iterator[Section]:
    """Yield the members of a volume in their order."""
    yield file_section(VOLUME_FILE, volume_raw)
    yield file_section(LIST_FILE, raw)
    if signature is not None:
        yield file_section(SIGNATURE_FILE, signature)
    for member in volume.members:
        digest = Digest.parse(member.digest)
        yield Section(member.path, Descriptor(media_type="", digest=digest, size=member.size))


def _fixed_sections(contents: BundleContents, signature: bytes | None) -> list[Section]:
    """Return what every volume has: the list, the signature, the files and the documents."""
    found = [file_section(LIST_FILE, contents.raw)]
    if signature is not None:
        found.append(file_section(SIGNATURE_FILE, signature))
    found += [file_section(f"{FILES}{path}", data) for path, data in contents.files.items()]
    kinds = {blob.digest: blob.type for blob in contents.listing.blobs}
    for section in contents.sections():
        if section.content is not None and kinds.get(str(section.content.digest)) in _SMALL:
            found.append(section)
    return found


_SMALL: Final = (DOCUMENT, CONFIG)


def _room(fixed: Sequence[Section], limit: int, spared: int = 0) -> int:
    """Return the bytes that a volume has for layers; UsageError when there are too few.

    `spared` are the bytes by which it has to stay below the limit.
    """
    needed = sum(section.length + _LONGEST_ENTRY for section in fixed) + 3 * BLOCK
    whole = limit - spared - (limit - spared) % RECORD - 2 * BLOCK
    if whole - needed < SPARE:
        least = -(-(needed + SPARE + spared + 2 * BLOCK) // RECORD) * RECORD
        raise UsageError(
            f"volumes of {size_text(limit)} are too small: each needs at least "
            f"{size_text(SPARE)} for layers, beside {size_text(needed)} of documents",
            hint=f"use at least {least} bytes",
        )
    return whole - needed


def _blobs(contents: BundleContents) -> list[Descriptor]:
    return [blob.descriptor for blob in contents.listing.blobs if blob.type not in _SMALL]


def _distribute(blobs: Sequence[Descriptor], room: int) -> list[list[Piece]]:
    volumes: list[list[Piece]] = [[]]
    free = [room]
    for blob in blobs:
        whole = Piece(blob=blob, offset=0, size=blob.size)
        if whole.length > room:
            _cut(blob, volumes, free, room)
            continue
        fitting = (number for number, rest in enumerate(free) if rest >= whole.length)
        number = next(fitting, len(free))
        if number == len(free):
            volumes.append([])
            free.append(room)
        volumes[number].append(whole)
        free[number] -= whole.length
    return volumes


def _cut(blob: Descriptor, volumes: list[list[Piece]], free: list[int], room: int) -> None:
    """Give a blob that is larger than a volume some volumes of its own; its rest leaves room."""
    if not volumes[-1]:
        volumes.pop()
        free.pop()
    overhead = Piece(blob=blob, offset=blob.size, size=BLOCK).length - BLOCK
    most = (room - overhead) // BLOCK * BLOCK
    for offset in range(0, blob.size, most):
        piece = Piece(blob=blob, offset=offset, size=min(most, blob.size - offset))
        volumes.append([piece])
        free.append(room - piece.length)


def _part_digests(
    volumes: Sequence[Sequence[Piece]],
    part_digests: Callable[[Sequence[Piece]], Sequence[Digest]],
) -> dict[str, Digest]:
    parts: dict[Digest, list[Piece]] = {}
    for piece in (piece for pieces in volumes for piece in pieces if piece.is_part):
        parts.setdefault(piece.blob.digest, []).append(piece)
    return {
        piece.path: digest
        for pieces in parts.values()
        for piece, digest in zip(pieces, part_digests(pieces), strict=True)
    }


def _plan(
    contents: BundleContents,
    fixed: Sequence[Section],
    bundle: Digest,
    pieces: Sequence[Piece],
    digests: dict[str, Digest],
    number: int,
    count: int,
) -> VolumePlan:
    carried = [section for section in fixed if section.path not in (LIST_FILE, SIGNATURE_FILE)]
    carried += [_section(piece, digests.get(piece.path)) for piece in pieces]
    by_path = {piece.path: piece for piece in pieces}
    members = tuple(_member(section, by_path.get(section.path)) for section in carried)
    volume = Volume(
        format=VOLUME, bundle=str(bundle), volume=number, of=count, members=members, size=0
    )
    others = (
        sum(section.length for section in carried) + file_section(LIST_FILE, contents.raw).length
    )
    volume, head = _with_size(volume, others)
    leading = [section for section in fixed if section.path in (LIST_FILE, SIGNATURE_FILE)]
    return VolumePlan(volume=volume, sections=(head, *leading, *carried), pieces=by_path)


def _with_size(volume: Volume, others: int) -> tuple[Volume, Section]:
    """Return a volume with its size, which depends on how long its own list is; and that list."""
    while True:
        head = file_section(VOLUME_FILE, encode_volume(volume))
        size = tar_size(others + head.length)
        if size == volume.size:
            return volume, head
        volume = replace(volume, size=size)


def _section(piece: Piece, digest: Digest | None) -> Section:
    content = Descriptor(media_type="", digest=digest or piece.blob.digest, size=piece.size)
    return Section(piece.path, content)


def _member(section: Section, piece: Piece | None) -> VolumeMember:
    if section.content is None:
        raise ValueError("a volume has no folders")
    is_part = piece is not None and piece.is_part
    return VolumeMember(
        path=section.path,
        size=section.content.size,
        digest=str(section.content.digest),
        offset=piece.offset if piece is not None and is_part else 0,
        of=piece.blob.size if piece is not None and is_part else 0,
    )


class Cutter:
    """Reads the parts of blobs in order, each blob once from its beginning on."""

    def __init__(self, open_blob: Callable[[Descriptor], Blob]) -> None:
        self._open = open_blob
        self._blob: Blob | None = None
        self._digest: Digest | None = None
        self._position = 0
        self._rest = b""

    def read(self, piece: Piece) -> Iterator[bytes]:
        """Yield the bytes of a part, verified with the whole blob by its last part."""
        if self._digest != piece.blob.digest or self._position > piece.offset:
            self.close()
            self._blob = self._open(piece.blob)
            self._digest = piece.blob.digest
        for _ in self._take(piece.offset - self._position):
            pass
        yield from self._take(piece.size)

    def _take(self, size: int) -> Iterator[bytes]:
        while size:
            part = self._rest or (self._blob.read() if self._blob is not None else b"")
            if not part:
                return
            part, self._rest = part[:size], part[size:]
            self._position += len(part)
            size -= len(part)
            yield part

    def close(self) -> None:
        """Close the blob that is open; harmless when repeated."""
        if self._blob is not None:
            self._blob.close()
        self._blob, self._digest, self._position, self._rest = None, None, 0, b""
