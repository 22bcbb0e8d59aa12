"""The beginning of a bundle or a volume: its list and signature, read without the rest.

A file that ocitool wrote can be checked header by header: each is the one that the member's path
and size make. Nothing is searched for, so a changed byte is found where it is.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ocitool.bundles.volume_format import VOLUME, Volume, parse_volume
from ocitool.errors import MalformedArchive, MalformedDocument, OcitoolError
from ocitool.formats.tar.writing import BLOCK, padding
from ocitool.image.content import ReadAt
from ocitool.oci import Digest
from ocitool.places.archive import framing
from ocitool.places.archive.bundle import (
    DELTA,
    FORMAT,
    FULL,
    LARGEST_LIST,
    LARGEST_SIGNATURE,
    LIST_FILE,
    SIGNATURE_FILE,
    VOLUME_FILE,
    BundleList,
    parse_list,
)
from ocitool.places.archive.sections import LAYOUT, LAYOUT_FILE, file_section

_SIZE_FIELD: Final = slice(124, 135)
_NAME_FIELD: Final = slice(0, 100)
_INFO: Final = ".info.json"
_FIRST: Final = file_section(LAYOUT_FILE, LAYOUT).length
"""Where the list begins in a bundle that is no volume."""
HEAD: Final = _FIRST + BLOCK + len(b'{"format":"ocitool-bundle/1","kind":"delta"')
"""How many bytes tell what kind of bundle a file is."""


class NotABundle(MalformedArchive):
    """A file that does not begin like a bundle or a volume."""


class Head(Struct, frozen=True, kw_only=True):
    """What stands at the beginning of a bundle, or of one of its volumes.

    `raw` are the bytes of the list, which the signature is about.
    """

    listing: BundleList
    raw: bytes
    signature: bytes | None
    volume: Volume | None = None
    volume_raw: bytes = b""

    @property
    def digest(self) -> Digest:
        """The digest of the list, which tells bundles apart."""
        return Digest.of(self.raw)


def kind_of(begin: bytes) -> str | None:
    """Return what a file is by its first HEAD bytes: "full", "delta" or "volume"; None: no bundle.

    It may be damaged all the same.
    """

    def read_at(offset: int, size: int) -> bytes:
        return begin[offset : offset + size]

    if _is_at(read_at, 0, VOLUME_FILE, VOLUME):
        return "volume"
    if not _is_at(read_at, _FIRST, LIST_FILE, FORMAT):
        return None
    return DELTA if b'"kind":"delta"' in begin[_FIRST + BLOCK :] else FULL


def read_head(read_at: ReadAt, what: str) -> Head:
    """Read the list of a bundle or volume from its first bytes.

    NotABundle when the file is neither; MalformedArchive and MalformedDocument when it is damaged.
    """
    volume, volume_raw = None, b""
    position = _FIRST
    if _is_at(read_at, 0, VOLUME_FILE, VOLUME):
        volume_raw, position = _member(read_at, 0, VOLUME_FILE, LARGEST_LIST, what)
        volume = parse_volume(volume_raw, what)
    elif not _is_at(read_at, position, LIST_FILE, FORMAT):
        raise _not_a_bundle(read_at, what)
    raw, position = _member(read_at, position, LIST_FILE, LARGEST_LIST, what)
    if volume is not None and volume.bundle != str(Digest.of(raw)):
        raise MalformedArchive(f"{LIST_FILE} of {what!r} is damaged", hint=_ANEW)
    signature = None
    if _header(read_at, position)[0] == SIGNATURE_FILE:
        signature, _ = _member(read_at, position, SIGNATURE_FILE, LARGEST_SIGNATURE, what)
    return Head(
        listing=_list(raw, what),
        raw=raw,
        signature=signature,
        volume=volume,
        volume_raw=volume_raw,
    )


def _list(raw: bytes, what: str) -> BundleList:
    """Return the list of a bundle; an error names the file and says what to do."""
    try:
        return parse_list(raw, "it")
    except MalformedDocument as error:
        raise MalformedDocument(
            f"the list of {what!r} cannot be used: {error.message}", hint=error.hint or _ANEW
        ) from error


def _is_at(read_at: ReadAt, position: int, path: str, form: str) -> bool:
    """Tell whether a member begins here: by its name, or by its content if that was damaged."""
    content = b'{"format":"%s/' % form.partition("/")[0].encode()
    return (
        _header(read_at, position)[0] == path or read_at(position + BLOCK, len(content)) == content
    )


def _not_a_bundle(read_at: ReadAt, what: str) -> OcitoolError:
    begin = read_at(0, _FIRST + BLOCK)
    if not begin:
        return MalformedArchive(f"{what!r} is empty", hint=_ANEW)
    names = (LAYOUT_FILE, VOLUME_FILE)
    if len(begin) < _FIRST + BLOCK and any(_agree(begin, name.encode()) for name in names):
        return MalformedArchive(f"{what!r} is cut: it ends before the list of a bundle", hint=_ANEW)
    hint = "`ocitool bundle create` makes bundles; `ocitool load` reads other archives"
    if what.endswith(_INFO):
        hint = f"it describes a bundle: name that, {what.removesuffix(_INFO)}.tar"
    return NotABundle(f"{what!r} is not a bundle", hint=hint)


def _agree(one: bytes, other: bytes) -> bool:
    """Tell whether one of the two begins with the other."""
    return one.startswith(other) or other.startswith(one)


def _header(read_at: ReadAt, position: int) -> tuple[str, int]:
    """Return the name and the size in a header, whatever else is in it; -1 for no size."""
    block = read_at(position, BLOCK)
    name = block[_NAME_FIELD].rstrip(b"\0").decode("ascii", "replace")
    digits = block[_SIZE_FIELD]
    return name, int(digits, 8) if digits.isdigit() and not set(digits) - set(b"01234567") else -1


def _member(read_at: ReadAt, position: int, path: str, limit: int, what: str) -> tuple[bytes, int]:
    """Return the bytes of a small member, and where the next one begins."""
    name, size = _header(read_at, position)
    header = framing.header(path, size) if name == path and 0 <= size <= limit else b""
    if not header or read_at(position, len(header)) != header:
        raise MalformedArchive(f"{what!r} is damaged in the header of {path}", hint=_ANEW)
    data = _read_all(read_at, position + len(header), size)
    if len(data) != size:
        raise MalformedArchive(f"{what!r} ends within {path}", hint=_ANEW)
    if read_at(position + len(header) + size, -size % BLOCK) != padding(size):
        raise MalformedArchive(f"{what!r} is damaged behind {path}", hint=_ANEW)
    return data, position + len(header) + size + -size % BLOCK


def _read_all(read_at: Callable[[int, int], bytes], position: int, size: int) -> bytes:
    parts = []
    while size and (part := read_at(position, size)):
        parts.append(part)
        position += len(part)
        size -= len(part)
    return b"".join(parts)


_ANEW: Final = "copy the file again from where it is whole"
