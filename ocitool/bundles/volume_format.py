"""One volume of a bundle: a tar that proves itself, and says what of the bundle is in it.

A volume has the list and all documents of the bundle, so that each one tells alone which images
it helps with. Bundles are cut between blobs. Only a blob that is larger than a volume is cut
itself, into parts.
"""

import json
import re
from typing import Final

import msgspec
from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted
from ocitool.places.archive.bundle import LARGEST_LIST, VOLUME_FILE

VOLUME: Final = "ocitool-volume/1"
FILES: Final = "bundle/"
"""The folder of a volume for index.json and its like, so that no other tool takes them for its."""


PARITY: Final = "parity"
"""The member of a parity volume: the exclusive or of all volumes, as long as the largest."""
PARITY_NUMBER: Final = 0


class VolumeMember(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of a volume. A part of a blob has its `offset` in it and the whole size: `of`."""

    path: str
    size: int
    digest: str
    offset: int = 0
    of: int = 0


class Covered(Struct, frozen=True, kw_only=True):
    """A volume that a parity volume covers: its bytes, and the sha256 of ocitool-volume.json in it.

    What a volume says of itself has the digest of each of its members: that tells it exactly.
    """

    size: int
    sha256: str


class Volume(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a volume says of itself.

    `bundle` is the digest of the bundle's list, `volume` its number from 1 on, `of` how many there
    are, and `size` the bytes of the volume without a signature in it. The parity volume has the
    number 0, one member, and what it covers: all volumes in their order.
    """

    format: str
    bundle: str
    volume: int
    of: int
    members: tuple[VolumeMember, ...]
    size: int
    covers: tuple[Covered, ...] = ()

    @property
    def is_parity(self) -> bool:
        """Whether this is the parity volume, from which any one of the others is made again."""
        return self.volume == PARITY_NUMBER


def encode_volume(volume: Volume) -> bytes:
    """Return the bytes of what a volume says of itself: compact ASCII JSON.

    Its last field is the sha256 of all before that: nothing else covers these bytes.
    """
    text = json.dumps(msgspec.to_builtins(volume), ensure_ascii=True, separators=(",", ":"))
    return _sealed(text[:-1].encode("ascii"))


def _sealed(body: bytes) -> bytes:
    return b'%s,"sha256":"%s"}' % (body, Digest.of(body).hex.encode())


_SEAL: Final = len(_sealed(b""))


def parse_volume(raw: bytes, what: str) -> Volume:
    """Decode what a volume says of itself; MalformedDocument, LimitExceeded."""
    if len(raw) > LARGEST_LIST:
        raise LimitExceeded(f"{VOLUME_FILE} of {what!r} is larger than {LARGEST_LIST} bytes")
    if raw != _sealed(raw[:-_SEAL]):
        raise MalformedDocument(
            f"{VOLUME_FILE} of {what!r} is damaged",
            hint="copy the volume again from where it is whole",
        )
    try:
        volume = msgspec.json.decode(raw, type=Volume)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"{VOLUME_FILE} of {what!r} is damaged: {error}") from error
    if volume.format != VOLUME:
        raise MalformedDocument(
            f"{what!r} has the format {quoted(volume.format)}, not {VOLUME}",
            hint="use a newer ocitool",
        )
    if not PARITY_NUMBER <= volume.volume <= volume.of or volume.of < 1:
        raise MalformedDocument(f"{what!r} is volume {volume.volume} of {volume.of}")
    Digest.parse(volume.bundle)
    if volume.is_parity or volume.covers:
        _check_parity(volume, what)
        return volume
    for member in volume.members:
        _check_member(member, what)
    return volume


def _check_parity(volume: Volume, what: str) -> None:
    largest = max((one.size for one in volume.covers), default=-1)
    members = [(member.path, member.size, member.of) for member in volume.members]
    is_sound = volume.is_parity and len(volume.covers) == volume.of
    is_sound = is_sound and members == [(PARITY, largest, 0)]
    if not is_sound or min(one.size for one in volume.covers) < 0:
        raise MalformedDocument(f"{VOLUME_FILE} of {what!r} contradicts itself")
    Digest.parse(volume.members[0].digest)


def _check_member(member: VolumeMember, what: str) -> None:
    digest = Digest.parse(member.digest)
    if member.of:
        part = _PART.fullmatch(member.path)
        is_sound = part is not None and Digest(part[1], part[2]) is not None
        is_sound = is_sound and member.path.endswith(f"/{member.offset}")
        is_sound = is_sound and member.offset + member.size <= member.of
    else:
        blob = f"blobs/{digest.algorithm}/{digest.hex}"
        is_sound = member.path == blob or _FILE.fullmatch(member.path) is not None
    if not is_sound or member.size < 0 or member.offset < 0:
        raise MalformedDocument(f"{what!r} lists {quoted(member.path)}, which is no part of it")


_PART: Final = re.compile(r"parts/([a-z0-9]+)/([0-9a-f]+)/([0-9]+)")
_FILE: Final = re.compile(rf"{FILES}(oci-layout|index\.json|manifest\.json)")
