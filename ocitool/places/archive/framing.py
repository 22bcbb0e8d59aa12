"""Tar framing for what ocitool writes: the same bytes for every user, place and time.

Plain ustar, with a PAX header only for what ustar cannot hold: sha512 names, members of 8 GiB.
Times and owners are zero. `tarfile` makes the headers.
"""

import tarfile
from collections.abc import Iterable, Iterator

BLOCK = 512
_RECORD = 20 * BLOCK


def header(path: str, size: int) -> bytes:
    """Return the header of a regular file of `size` bytes."""
    return _header(path, size, tarfile.REGTYPE, 0o644)


def folder(path: str) -> bytes:
    """Return the header of a folder."""
    return _header(path, 0, tarfile.DIRTYPE, 0o755)


def file(path: str, data: bytes) -> bytes:
    """Return a whole small member."""
    return header(path, len(data)) + data + padding(len(data))


def padding(size: int) -> bytes:
    """Return the zeros that follow a member's data."""
    return bytes(-size % BLOCK)


def end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an archive, and its end: two zero blocks, filled up to a record."""
    position = 0
    for piece in pieces:
        if piece:
            position += len(piece)
            yield piece
    position += 2 * BLOCK
    yield bytes(2 * BLOCK + -position % _RECORD)


def _header(path: str, size: int, kind: bytes, mode: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.size = kind, mode, size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
