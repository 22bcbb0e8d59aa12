"""The merged tree of an image, or a part of it, as one tar.

Folders come first, so that every member finds its parent. Then come the members in the order of
their layers: neighbours that are all part of the tree are copied together, byte for byte, so that
headers keep what this program does not read. Further names of files follow at the end.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

from ocitool.errors import MalformedArchive
from ocitool.formats.compression import CHUNK_SIZE
from ocitool.formats.tar import EntryType, sparse_content
from ocitool.formats.tar.writing import BLOCK, Member, ended, member_header, padding
from ocitool.fsops import scratch_file, spooling, write_all
from ocitool.image.content import ReadAt
from ocitool.image.layers import Pieces
from ocitool.inside.image import Inside
from ocitool.inside.layer_tar import kept_tar, open_tar
from ocitool.inside.ranges.tables import ChunkedTable
from ocitool.inside.table import KINDS, LayerTable
from ocitool.inside.tree import Node

_TYPES: Final = {kind: EntryType(kind.value) for kind in KINDS[:8]}
_ROOT: Final = "."
_Key = tuple[int, int]
"""A member: the number of its layer, and its row there."""


class _Span(Struct, frozen=True, gc=False):
    """Bytes of a layer's tar to copy; behind a header of our own only the data of a member.

    With `holes` they are a sparse file from its headers on; its content follows our header.
    """

    start: int
    end: int
    header: bytes = b""
    holes: bool = False


def merged_tar(
    inside: Inside, root: Node, name: str, *, fill_holes: bool = False
) -> Iterator[bytes]:
    """Yield the tar of a node and all below it; `name` is what the node is called there.

    "" is the root of the tar. Sparse files stay sparse where they keep their name, unless
    `fill_holes`: else their holes are written as zeros. Each layer that has a part in it is read
    once, and verified at its end: if this raises, what was yielded before must not be used.
    """
    return ended(_Merged(inside, root, name, fill_holes=fill_holes).pieces())


def sorted_tar(
    inside: Inside, root: Node, name: str, *, scratch: str | None = None
) -> Iterator[bytes]:
    """Yield the same tree sorted by path, with headers of our own: equal trees give equal bytes.

    The content of all files is kept in the folder `scratch` meanwhile. Nothing is yielded before
    all layers were read and verified.
    """
    return ended(_Sorted(inside, root, name).pieces(scratch))


class _Names:
    """What the paths of a part of the tree are called in the tar."""

    def __init__(self, root: Node, name: str) -> None:
        self._cut = len(root.path) + 1 if root.path else 0
        self._root = root.path
        self._name = name
        self.same = root.path == name
        """Whether nothing is called otherwise."""

    def __call__(self, path: str) -> str:
        if self.same:
            return path
        if path == self._root:
            return self._name
        return f"{self._name}/{path[self._cut :]}" if self._name else path[self._cut :]


def _time(table: LayerTable, row: int) -> float | str:
    """Return the time of a member with all of its digits."""
    return table.exact_mtimes.get(row) or table.mtimes[row]


def _folder_header(inside: Inside, name: str, node: Node) -> bytes:
    time: float | str = node.mtime
    if node.row is not None:
        time = _time(inside.table(node.layer), node.row)
    return member_header(
        Member(
            name=name or _ROOT,
            type=EntryType.DIRECTORY,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            mtime=time,
            xattrs=node.xattrs,
        )
    )


def _header(table: LayerTable, row: int, name: str) -> bytes:
    """Return a header of our own for a member that is not a folder."""
    return member_header(
        Member(
            name=name,
            type=_TYPES[KINDS[table.kinds[row]]],
            size=table.sizes[row],
            mode=table.modes[row],
            uid=table.uids[row],
            gid=table.gids[row],
            mtime=_time(table, row),
            link_name=table.links.get(row, ""),
            device=table.devices.get(row, (0, 0)),
            xattrs=table.xattrs.get(row, {}),
        )
    )


def _link_header(table: LayerTable, row: int, name: str, target: str) -> bytes:
    return member_header(
        Member(
            name=name,
            type=EntryType.HARD_LINK,
            mode=table.modes[row],
            uid=table.uids[row],
            gid=table.gids[row],
            mtime=_time(table, row),
            link_name=target,
        )
    )


class _Merged:
    def __init__(self, inside: Inside, root: Node, name: str, *, fill_holes: bool) -> None:
        self._inside = inside
        self._root = root
        self._names = _Names(root, name)
        self._fill_holes = fill_holes
        # By layer, the rows to copy; of those under another name, what they are called.
        self._rows: dict[int, array[int]] = {}
        self._renamed: dict[_Key, str] = {}
        self._linked: dict[_Key, list[str]] = {}

    def pieces(self) -> Iterator[bytes]:
        tree = self._inside.tree
        for path, value in tree.walk_values(self._root.path):
            if isinstance(value, dict):
                node = tree.node(path, value)
                if path or node.row is not None:
                    yield _folder_header(self._inside, self._names(path), node)
                continue
            inode = tree.inode(value)
            record = tree.record_of(inode)
            member = record.number, inode - record.base
            if inode in tree.names:
                self._linked.setdefault(member, []).append(path)
            else:
                self._take(member, path)
        for member, paths in self._linked.items():
            own = self._table(member[0]).path(member[1])
            # The other names follow: they link to this one.
            paths.insert(0, paths.pop(paths.index(own) if own in paths else 0))
            self._take(member, paths[0])
        for layer in sorted(self._rows):
            table = self._table(layer)
            if isinstance(table, ChunkedTable):
                yield from self._of_chunks(layer, table)
                continue
            with open_tar(self._inside, layer) as read:
                yield from _copied(read, self._spans(layer))
        yield from self._other_names()

    def _of_chunks(self, layer: int, table: ChunkedTable) -> Iterator[bytes]:
        for row in sorted(self._rows.pop(layer)):
            yield _header(table, row, self._renamed[layer, row])
            yield from table.content(row)
            yield padding(table.sizes[row])

    def _table(self, layer: int) -> LayerTable:
        return self._inside.table(layer)

    def _take(self, member: _Key, path: str) -> None:
        layer, row = member
        name, table = self._names(path), self._table(layer)
        if layer not in self._rows:
            self._rows[layer] = array("q")
        self._rows[layer].append(row)
        is_filled = self._fill_holes and row in table.sparse
        if is_filled or not table.is_copyable or table.path(row) != name:
            self._renamed[member] = name

    def _spans(self, layer: int) -> Iterator[_Span]:
        """Yield what to copy of a layer, neighbours together."""
        table = self._table(layer)
        start = end = 0
        for row in sorted(self._rows.pop(layer)):
            data, size = table.datas[row], table.stored_size(row)
            name = self._renamed.get((layer, row))
            if name is None and table.headers[row] == end:
                end = data + size + -size % BLOCK
                continue
            if end > start:
                yield _Span(start, end)
            start, end = table.headers[row], data + size + -size % BLOCK
            if name is not None:
                yield _content_span(table, row, _header(table, row, name))
                start = end = 0
        if end > start:
            yield _Span(start, end)

    def _other_names(self) -> Iterator[bytes]:
        for (layer, row), (first, *others) in self._linked.items():
            for path in others:
                name, target = self._names(path), self._names(first)
                yield _link_header(self._table(layer), row, name, target)


def _content_span(table: LayerTable, row: int, header: bytes = b"") -> _Span:
    """Return where the content of a file is; of a sparse file its headers are needed too."""
    is_sparse = row in table.sparse
    start = table.headers[row] if is_sparse else table.datas[row]
    return _Span(start, table.datas[row] + table.stored_size(row), header, is_sparse)


class _Tape:
    """A tar that is read from its beginning, and where it is read now."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.position = 0

    def up_to(self, end: int) -> Iterator[bytes]:
        """Yield what is before an offset, or before the end of the tar."""
        while self.position < end and (part := self._read(min(CHUNK_SIZE, end - self.position))):
            self.position += len(part)
            yield part


def _copied(read: Callable[[int], bytes], spans: Iterable[_Span]) -> Iterator[bytes]:
    """Yield the spans of a tar that is read from its beginning."""
    tape = _Tape(read)
    for span in spans:
        for _ in tape.up_to(span.start):
            pass
        yield span.header
        if span.holes and span.header:
            yield from _filled(tape, span)
            continue
        yield from tape.up_to(span.end)
        # Go's tar writer omits the padding of the last member unless it is closed.
        if span.header or 0 < span.end - tape.position < BLOCK:
            yield padding(tape.position)
        if span.end - tape.position >= BLOCK:
            raise MalformedArchive("a layer ends in the middle of a member")


def _filled(tape: _Tape, span: _Span) -> Iterator[bytes]:
    size = 0
    for part in sparse_content(Pieces(tape.up_to(span.end)).read):
        size += len(part)
        yield part
    yield padding(size)


class _Sorted:
    def __init__(self, inside: Inside, root: Node, name: str) -> None:
        self._inside = inside
        self._root = root
        self._names = _Names(root, name)
        self._places: dict[_Key, tuple[ReadAt, int]] = {}
        self._first_names: dict[_Key, str] = {}

    def pieces(self, scratch: str | None) -> Iterator[bytes]:
        descriptor = scratch_file(scratch)
        try:
            with spooling(scratch):
                self._gather(descriptor)
            for node in self._inside.tree.walk(self._root.path):
                yield from self._member(node)
        finally:
            os.close(descriptor)

    def _gather(self, descriptor: int) -> None:
        """Copy the content of all files, in the order of the layers, but not from kept tars."""
        rows: dict[int, set[int]] = {}
        for node in self._inside.tree.walk(self._root.path):
            if node.row is not None and not node.is_folder and node.size:
                rows.setdefault(node.layer, set()).add(node.row)
        position = 0

        def gathered(offset: int, size: int) -> bytes:
            return os.pread(descriptor, size, offset)

        for layer in sorted(rows):
            table, spans = self._inside.table(layer), []
            kept = None if isinstance(table, ChunkedTable) else kept_tar(self._inside, layer)
            for row in sorted(rows[layer]):
                if kept is not None:
                    self._places[layer, row] = kept, _content_span(table, row).start
                    continue
                self._places[layer, row] = gathered, position
                # Sparse files are kept as they are: their holes may be larger than any disk.
                spans.append(_content_span(table, row))
                position += spans[-1].end - spans[-1].start
            for part in self._contents(layer, table, spans, rows[layer]) if spans else ():
                write_all(descriptor, part)

    def _contents(
        self, layer: int, table: LayerTable, spans: Iterable[_Span], rows: Iterable[int]
    ) -> Iterator[bytes]:
        """Yield the content of files of a layer, one after the other."""
        if isinstance(table, ChunkedTable):
            for row in sorted(rows):
                yield from table.content(row)
            return
        with open_tar(self._inside, layer) as read:
            yield from _copied(read, spans)

    def _member(self, node: Node) -> Iterator[bytes]:
        name = self._names(node.path)
        if node.is_folder:
            if node.path or node.row is not None:
                yield _folder_header(self._inside, name, node)
            return
        if node.row is None:
            return
        member, table = (node.layer, node.row), self._inside.table(node.layer)
        first = self._first_names.setdefault(member, name) if node.nlink > 1 else name
        if first != name:
            yield _link_header(table, node.row, name, first)
            return
        yield _header(table, node.row, name)
        if node.size:
            span = _content_span(table, node.row)
            parts = _kept(*self._places[member], span.end - span.start)
            yield from sparse_content(Pieces(parts).read) if span.holes else parts
        yield padding(node.size)


def _kept(read: ReadAt, position: int, size: int) -> Iterator[bytes]:
    """Yield a part of what was gathered, or of a tar that is kept."""
    while size and (part := read(position, min(size, CHUNK_SIZE))):
        yield part
        position, size = position + len(part), size - len(part)
