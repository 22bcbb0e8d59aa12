"""Which members an archive has, in order: to write it, to check it, and to join it again.

A member's path and size determine its header and its padding. Whoever knows the sections of a file
can therefore tell of each byte what it has to be, except for the contents of blobs, which their
digests tell.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from ocitool.formats.tar.writing import BLOCK, RECORD, ended, padding
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from ocitool.places.archive import framing

LAYOUT_FILE: Final = "oci-layout"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class Section(NamedTuple):
    """One member of a tar. A folder has no `content`; a small file may have its `data` here."""

    path: str
    content: Descriptor | None = None
    data: bytes | None = None

    @property
    def size(self) -> int:
        """The bytes of the content."""
        return self.content.size if self.content is not None else 0

    @property
    def header(self) -> bytes:
        """The header, with its extension where the member needs one."""
        if self.content is None:
            return framing.folder(self.path)
        return framing.header(self.path, self.content.size)

    @property
    def length(self) -> int:
        """The bytes of the header, the content and the padding."""
        return len(self.header) + self.size + len(padding(self.size))


def file_section(path: str, data: bytes) -> Section:
    """Return the section of a small file."""
    content = Descriptor(media_type="", digest=Digest.of(data), size=len(data))
    return Section(path, content, data)


def blob_section(content: Descriptor, data: bytes | None = None) -> Section:
    """Return the section of a blob."""
    return Section(blob_path(content.digest), content, data)


def blob_path(digest: Digest) -> str:
    """Return the path of a blob (image-spec image-layout.md, "Blobs")."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def blob_folders(digests: Iterable[Digest]) -> list[Section]:
    """Return the folders that blobs stand in."""
    algorithms = sorted({digest.algorithm for digest in digests})
    return [Section(path) for path in ("blobs/", *(f"blobs/{one}/" for one in algorithms))]


def tar_size(length: int) -> int:
    """Return the bytes of a tar whose members have so many bytes (POSIX.1-2001, "ustar")."""
    whole = length + 2 * BLOCK
    return whole + -whole % RECORD


ReadSection = Callable[[Section], Iterable[bytes]]
"""Returns the content of a section, piece by piece."""


def tar_pieces(sections: Iterable[Section], read: ReadSection) -> Iterator[bytes]:
    """Yield a tar of some sections, piece by piece; `read` gives the contents that are not here."""
    return ended(_pieces(sections, read))


def reading(open_blob: Callable[[Descriptor], Blob]) -> ReadSection:
    """Return how to read sections that are whole blobs, verified on their way."""

    def read(section: Section) -> Iterator[bytes]:
        if section.content is not None:
            with open_blob(section.content) as blob:
                while part := blob.read():
                    yield part

    return read


def _pieces(sections: Iterable[Section], read: ReadSection) -> Iterator[bytes]:
    for section in sections:
        yield section.header
        if section.data is not None:
            yield section.data
        else:
            yield from read(section)
        yield padding(section.size)
