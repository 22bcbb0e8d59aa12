"""Tar framing for what ocitool writes: the same bytes for every user, place and time.

Plain ustar, with a PAX header only for what ustar cannot hold: sha512 names, members of 8 GiB.
Times and owners are zero.
"""

from ocitool.formats.tar import EntryType
from ocitool.formats.tar.writing import Member, member_header, padding


def header(path: str, size: int) -> bytes:
    """Return the header of a regular file of `size` bytes."""
    return member_header(Member(name=path, type=EntryType.FILE, size=size))


def folder(path: str) -> bytes:
    """Return the header of a folder."""
    return member_header(Member(name=path, type=EntryType.DIRECTORY, mode=0o755))


def file(path: str, data: bytes) -> bytes:
    """Return a whole small member."""
    return header(path, len(data)) + data + padding(len(data))
