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


class VolumeMember(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of a volume. A part of a blob has its `offset` in it and the whole size: `of`."""

    path: str
    size: int
    digest: str
    offset: int = 0
    of: int = 0


class Volume(Struct, frozen=True, kw_only=True):
    """What a volume says of itself.

    `bundle` is the digest of the bundle's list, `volume` its number from 1 on, `of` how many there
    are, and `size` the bytes of the volume without a signature in it.
    """

    format: str
    bundle: str
    volume: int
    of: int
    members: tuple[VolumeMember, ...]
    size: int


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
        raise MalformedDocument(f"{VOLUME_FILE} of {what!r} is damaged")
    try:
        volume = msgspec.json.decode(raw, type=Volume)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"{VOLUME_FILE} of {what!r} is damaged: {error}") from error
    if volume.format != VOLUME:
        raise MalformedDocument(
            f"{what!r} has the format {quoted(volume.format)}, not {VOLUME}",
            hint="use a newer ocitool",
        )
    if not 1 <= volume.volume <= volume.of:
        raise MalformedDocument(f"{what!r} is volume {volume.volume} of {volume.of}")
    Digest.parse(volume.bundle)
    for member in volume.members:
        _check_member(member, what)
    return volume


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
