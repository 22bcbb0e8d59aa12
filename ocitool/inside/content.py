"""The content of files in layers: one of them, or many of a layer in one pass."""

import contextlib
from collections.abc import Iterable, Iterator

from ocitool.errors import MalformedArchive
from ocitool.formats.compression import Codec, DecompressingReader
from ocitool.formats.tar import PositionedInput, StreamInput, TarInput, sparse_content
from ocitool.image.content import CHUNK, Positioned
from ocitool.image.layers import Pieces
from ocitool.inside.image import Inside
from ocitool.inside.ranges.tables import ChunkedTable
from ocitool.inside.table import FILE, LayerTable
from ocitool.oci.quoting import quoted


class MemberContent:
    """The content of one file as a one-pass stream; good until the next one of its layer.

    `left` is how many bytes have not been read yet.
    """

    def __init__(self, content: TarInput, size: int, what: str) -> None:
        self._content = content
        self.left = size
        self._what = what

    def read(self, size: int = CHUNK, /) -> bytes:
        """Return the next content, at most `size` bytes; b"" only at its end."""
        data = self._content.read(min(size, self.left)) if self.left else b""
        if self.left and not data:
            raise MalformedArchive(f"the layer ends within {self._what}")
        self.left -= len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


def read_member(inside: Inside, number: int, row: int) -> Iterator[bytes]:
    """Yield the content of a file: the member `row` of layer `number`, as a `Node` names it.

    Raises what `read_members` raises.
    """
    for _, content in read_members(inside, number, [row]):
        yield from content


def read_members(
    inside: Inside, number: int, rows: Iterable[int], *, whole: bool = False
) -> Iterator[tuple[int, MemberContent]]:
    """Yield files of one layer with their content, in the order of the layer's tar, in one pass.

    A plain layer is read only where these files are, if its source allows that; a compressed one up
    to the last of them. The layer is not verified, except where its files are fetched by ranges:
    then each chunk is. With `whole` a layer that has to be read in order is read to its end, and
    verified by that: DigestMismatch or SizeMismatch, after the last file. NotFound for
    a layer that was not read, MalformedArchive for a layer that has changed meanwhile and for a
    sparse file with a wrong map; its holes are zeros.
    """
    table = inside.table(number)
    if isinstance(table, ChunkedTable):
        for row in sorted(set(rows)):
            what = _file(table, row)
            chunks = StreamInput(Pieces(table.content(row)).read)
            yield row, MemberContent(chunks, table.sizes[row], what)
        return
    position = 0
    with _opened(inside, number, table, whole=whole) as content:
        for row in sorted(set(rows), key=table.datas.__getitem__):
            what = _file(table, row)
            is_sparse = row in table.sparse
            start = table.headers[row] if is_sparse else table.datas[row]
            end = table.datas[row] + table.stored_size(row)
            position += content.skip(start - position)
            member = MemberContent(content, end - start, what)
            yield row, _filled(member, table.sizes[row], what) if is_sparse else member
            # What the caller did not read is passed over.
            position = end - member.left


def _filled(member: MemberContent, size: int, what: str) -> MemberContent:
    """Return the content of a sparse file, from its headers on in a tar."""
    content = Pieces(sparse_content(member.read))
    return MemberContent(StreamInput(content.read), size, what)


def _file(table: LayerTable, row: int) -> str:
    """Return what to call a file in messages; MalformedArchive if it is none."""
    what = quoted(table.path(row))
    if table.kinds[row] != FILE:
        raise MalformedArchive(f"{what} is not a file")
    return what


@contextlib.contextmanager
def _opened(inside: Inside, number: int, table: LayerTable, *, whole: bool) -> Iterator[TarInput]:
    layer = inside.layer(number)
    descriptor = layer.descriptor
    if layer.lender is not None:
        inside = layer.lender
    source = inside.source
    kept = inside.kept.read_at(descriptor) if inside.kept is not None else None
    if kept is not None:
        yield PositionedInput(kept, table.tar_size)
    elif table.codec is Codec.NONE and isinstance(source, Positioned):
        with source.positioned(descriptor) as read_at:
            yield PositionedInput(read_at, descriptor.size)
    else:
        with source.open(descriptor) as blob:
            content = DecompressingReader(blob)
            yield StreamInput(content.read)
            if whole:
                content.drain()
                while blob.read():
                    pass
