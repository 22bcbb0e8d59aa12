"""A bundle that arrives through a pipe, read in one pass: its list first, then blob after blob."""

import os
from collections.abc import Callable, Iterator
from typing import Final

from ocitool.bundles.head import Head, read_head
from ocitool.errors import MalformedArchive
from ocitool.formats.compression import Codec, sniff
from ocitool.formats.tar.writing import padding
from ocitool.fsops import translated
from ocitool.image.content import Blob
from ocitool.places.archive.bundle_writer import bundle_sections
from ocitool.places.archive.sections import LAYOUT_FILE, Section, tar_size

_PIECE: Final = 1 << 20
_HEAD: Final = 512
_CUT: Final = "load it again, and what has arrived is kept"


class BundleStream:
    """A bundle in a pipe. Look at `is_whole` and `head` first, then read `blobs` once.

    `what` is what to call it in messages.
    """

    def __init__(self, descriptor: int, what: str) -> None:
        self.what = what
        self._descriptor = descriptor
        self._begin = b""
        self._position = 0
        self._head: Head | None = None

    @property
    def is_whole(self) -> bool:
        """Whether this is a bundle in one plain tar: not compressed, and not a volume."""
        begin = self._read_at(0, _HEAD)
        is_plain = sniff(begin) is Codec.NONE
        return is_plain and begin.startswith(LAYOUT_FILE.encode() + b"\0")

    @property
    def head(self) -> Head:
        """Its list and signature. NotFound when it is another archive, MalformedArchive."""
        if self._head is None:
            self._head = read_head(self._read_at, self.what)
        return self._head

    def blobs(self) -> Iterator[Blob]:
        """Yield the blobs in their order; each is read to its end before the next is taken.

        MalformedArchive for bytes that are not those that the list says, and for a stream that is
        cut; Blob verifies what is in it.
        """
        head, length = self.head, 0
        for section in bundle_sections(head.listing, head.raw, head.signature):
            self._expect(section.header, section)
            if section.content is not None:
                blob = Blob(section.content, self._part(section.size), where=self.what, hint=_CUT)
                if section.path.startswith("blobs/"):
                    yield blob
                while blob.read():
                    pass
            self._expect(padding(section.size), section)
            length += section.length
        # Whoever writes into the pipe can end only when all is read.
        rest = self._part(tar_size(length) - length)
        while rest(_PIECE):
            pass

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes from where reading stands; b"" at the end."""
        if self._position < len(self._begin):
            part = self._begin[self._position : self._position + size]
        else:
            self._begin, self._position = b"", 0
            with translated("read", self.what):
                return os.read(self._descriptor, size)
        self._position += len(part)
        return part

    def _read_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the beginning, which stays in memory until it is read."""
        parts, have = [self._begin], len(self._begin)
        while have < offset + size:
            with translated("read", self.what):
                part = os.read(self._descriptor, min(_PIECE, offset + size - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
        self._begin = b"".join(parts)
        return self._begin[offset : offset + size]

    def _part(self, size: int) -> Callable[[int], bytes]:
        """Return how to read the next `size` bytes and no more."""
        left = size

        def read(count: int) -> bytes:
            nonlocal left
            part = self.read(min(count, left)) if left else b""
            left -= len(part)
            return part

        return read

    def _expect(self, wanted: bytes, section: Section) -> None:
        read, found = self._part(len(wanted)), b""
        while len(found) < len(wanted) and (part := read(len(wanted) - len(found))):
            found += part
        if len(found) < len(wanted):
            raise MalformedArchive(f"{self.what} is cut at {section.path}", hint=_CUT)
        if found != wanted:
            raise MalformedArchive(f"{self.what} is damaged at {section.path}")
