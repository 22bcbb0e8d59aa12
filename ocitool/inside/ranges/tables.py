"""The table of a layer from its own table of contents, and its files from ranges."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import field

from ocitool.formats.compression import Codec
from ocitool.formats.tar import Entry, EntryType
from ocitool.image.content import NoRanges, OpenRange
from ocitool.inside.members import TableBuilder
from ocitool.inside.ranges.estargz import TOC_DIGEST, read_estargz
from ocitool.inside.ranges.reading import read_chunk
from ocitool.inside.ranges.toc import Chunk, NoTable, TocEntry, TocFile
from ocitool.inside.ranges.zstd_chunked import is_zstd_chunked, read_zstd_chunked
from ocitool.inside.table import FILE, LayerTable
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits, parse_time
from ocitool.oci.quoting import quoted

_TYPES: Final = {
    "reg": EntryType.FILE,
    "dir": EntryType.DIRECTORY,
    "symlink": EntryType.SYMLINK,
    "hardlink": EntryType.HARD_LINK,
    "char": EntryType.CHARACTER,
    "block": EntryType.BLOCK,
    "fifo": EntryType.FIFO,
}
_OF_NOTHING: Final = hashlib.sha256().digest()


class ChunkedTable(LayerTable, kw_only=True, eq=False):
    """The table of a layer that was not read: its files are fetched by ranges.

    `chunks` are those of each file that is not empty. `headers`, `datas` and `tar_size` mean
    nothing, because offsets in the tar are not known.
    """

    layer: Descriptor
    open_range: OpenRange
    chunks: dict[int, Sequence[Chunk]] = field(default_factory=dict)

    @property
    def is_hashed(self) -> bool:
        """Whether the digest of every file is known."""
        files = (row for row, kind in enumerate(self.kinds) if kind == FILE)
        return all(self.digest(row) is not None for row in files)

    def content(self, row: int) -> Iterator[bytes]:
        """Yield the content of a file; DigestMismatch unless every chunk is what was promised."""
        what = quoted(self.path(row))
        for chunk in self.chunks.get(row, ()):
            yield from read_chunk(self.open_range, chunk, what)


def is_chunked(layer: Descriptor) -> bool:
    """Tell whether the manifest promises a table of contents in a layer."""
    return TOC_DIGEST in layer.annotations or is_zstd_chunked(layer)


def chunked_table(
    layer: Descriptor, open_range: OpenRange, *, limits: Limits = DEFAULT_LIMITS
) -> ChunkedTable:
    """Return the table of a layer, of which only its table of contents is fetched.

    Raises NoTable if it has to be read whole, DigestMismatch for a table of contents that is not
    the one promised in the manifest, and MalformedDocument for one that contradicts itself.
    """
    is_zstd = is_zstd_chunked(layer)
    read = read_zstd_chunked if is_zstd else read_estargz
    try:
        files = read(layer, open_range)
    except NoRanges:
        raise NoTable("the registry sends only whole layers") from None
    builder = TableBuilder(Codec.ZSTD if is_zstd else Codec.GZIP, limits=limits)
    table = builder.add(map(_entry, files))
    made = ChunkedTable(
        layer=layer,
        open_range=open_range,
        **{name: getattr(table, name) for name in LayerTable.__struct_fields__},
    )
    made.is_copyable = False
    for row, file in enumerate(files):
        if file.chunks:
            made.chunks[row] = file.chunks
        if digest := _digest(file.entry):
            made.set_digest(row, digest)
    return made


def _entry(file: TocFile) -> Entry:
    """Return what a tar says of a member."""
    about = file.entry
    moment = parse_time(about.modtime)
    return Entry(
        name=about.name,
        type=_TYPES.get(about.type, EntryType.OTHER),
        size=about.size if about.type == "reg" else 0,
        mode=about.mode & 0o7777,
        uid=about.uid,
        gid=about.gid,
        mtime=moment.timestamp() if moment is not None else 0,
        link_name=about.link_name,
        user_name="",
        group_name="",
        device_major=about.dev_major,
        device_minor=about.dev_minor,
        header_offset=0,
        data_offset=0,
        xattrs=about.xattrs or {},
    )


def _digest(about: TocEntry) -> bytes | None:
    """Return the SHA-256 of a file's content, as the table of contents promises it."""
    if about.type != "reg":
        return None
    if not about.size:
        return _OF_NOTHING
    algorithm, _, text = about.digest.partition(":")
    return bytes.fromhex(Digest.parse(about.digest).hex) if algorithm == "sha256" and text else None
