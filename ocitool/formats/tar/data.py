"""The data of one member of a tar, to be read like a file."""

from collections.abc import Callable

from ocitool.formats.tar.entry import Entry


class MemberData:
    """The data of one member as a one-pass stream, valid until its reader moves on."""

    __slots__ = ("_entry", "_read")

    def __init__(self, read: Callable[[Entry, int], bytes], entry: Entry) -> None:
        self._read = read
        self._entry = entry

    def read(self, size: int, /) -> bytes:
        """Return the next data, at most `size` bytes; `b""` only at the end."""
        return self._read(self._entry, size)
