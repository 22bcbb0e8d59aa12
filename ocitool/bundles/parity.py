"""The parity volume: from it and all other volumes but one, that one is made again.

It holds the exclusive or of all volumes, each taken to be followed by zeros. So each byte of a
volume is the exclusive or of the bytes at the same place in the parity and in all others. Nothing
here checks anything: a volume that is made again proves itself, as every volume does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from ocitool.bundles.head import Head
from ocitool.bundles.volume_format import PARITY, Covered
from ocitool.bundles.volumes import volume_sections
from ocitool.image.content import ReadAt
from ocitool.oci import Digest

_PIECE: Final = 1 << 20


class Opened(Protocol):
    """An open file of a bundle: its beginning, and how to read at any offset of it."""

    @property
    def what(self) -> str:
        """What to call it in messages."""

    @property
    def head(self) -> Head:
        """Its beginning."""

    @property
    def read_at(self) -> ReadAt:
        """Return some bytes from an offset on, fewer only at the end."""


class Rebuilt:
    """A volume made again from the parity volume and all others, as it is read. Thread-safe.

    It has the bytes of the lost one only if those files are sound. A `Readable`.
    """

    def __init__(self, parity: Opened, number: int, others: Sequence[Opened]) -> None:
        self.what = f"volume {number} as {parity.what} gives it back"
        self.size = _covers(parity)[number - 1].size
        self._begin = _begin_of_parity(parity)
        self._parity = parity
        self._others = [other.read_at for other in others]

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset on, fewer only at the end."""
        count = max(0, min(size, self.size - offset))
        found = bytearray()
        while len(found) < count:
            at, piece = offset + len(found), min(_PIECE, count - len(found))
            parts = [self._parity.read_at(self._begin + at, piece)]
            parts += [read_at(at, piece) for read_at in self._others]
            found += exclusive_or(parts, piece)
        return bytes(found)

    def close(self) -> None:
        """Do nothing: the files belong to whoever opened them."""


def rebuilt(parity: Opened, number: int, volumes: Mapping[int, Opened]) -> Rebuilt | None:
    """Return a volume as the others give it back; None if one of them is not among `volumes`.

    Only volumes count that the parity was made of. The caller has to check what comes of it.
    """
    covers = _covers(parity)
    others = {n: volumes.get(n) for n in range(1, len(covers) + 1) if n != number}
    found = [one for n, one in others.items() if one is not None and _is(one, covers[n - 1])]
    return Rebuilt(parity, number, found) if len(found) == len(others) else None


def is_covered(parity: Opened, number: int, volume: Opened) -> bool:
    """Tell whether a file says of itself what the volume of this number has to say."""
    return _is(volume, _covers(parity)[number - 1])


def parity_pieces(volumes: Sequence[ReadAt], size: int) -> Iterator[bytes]:
    """Yield the exclusive or of some files, to the length of the largest: `size`."""
    for offset in range(0, size, _PIECE):
        count = min(_PIECE, size - offset)
        yield exclusive_or([read_at(offset, count) for read_at in volumes], count)


def exclusive_or(parts: Sequence[bytes], size: int) -> bytes:
    """Return the exclusive or of some bytes, each at most `size` and followed by zeros."""
    found = 0
    for part in parts:
        found ^= int.from_bytes(part, "little")
    return found.to_bytes(size, "little")


def _covers(parity: Opened) -> tuple[Covered, ...]:
    return parity.head.volume.covers if parity.head.volume is not None else ()


def _is(volume: Opened, covered: Covered) -> bool:
    return Digest.of(volume.head.volume_raw).hex == covered.sha256


def _begin_of_parity(parity: Opened) -> int:
    """Return where the content of its large member begins."""
    head, position = parity.head, 0
    if head.volume is not None:
        for section in volume_sections(head.volume, head.volume_raw, head.raw, head.signature):
            position += len(section.header)
            if section.path == PARITY:
                break
            position += section.length - len(section.header)
    return position
