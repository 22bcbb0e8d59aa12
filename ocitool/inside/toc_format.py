"""The table of a layer as bytes: two zstd frames and a checksum, read only if all of it is right.

After the magic, which names the version, stand the lengths of the two frames. The first holds the
columns, the second what is known of the files' content, their digests or else their checksums,
which listings do not need. The SHA-256 of all that comes before ends the bytes.
"""

import hashlib
import io
import operator
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.formats.compression import CHUNK_SIZE, Codec, Compressor, DecompressingReader
from ocitool.inside.hashes import Hashes
from ocitool.inside.table import DIGEST_BYTES, FILE, KINDS, LayerTable

VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"ocitoc\0" + bytes([VERSION])
_CHECKSUM: Final = 32
_MOST_ROWS: Final = 1 << 24
_MOST_ATTRIBUTES: Final = 32 << 20
"""Bytes of extended attributes: a layer with more is not kept, for that takes as much memory."""
_SEPARATOR: Final = "\0"
"""No name, link or path in a tar holds it."""


class _Columns(Struct, array_like=True, frozen=True):
    """The first frame. Texts stand joined by NULs, numbers as `_planes` writes them."""

    key: str
    byte_order: str
    rows: int
    codec: str
    tar_size: int
    diff_id: str | None
    verified: bool
    is_copyable: bool
    hashed: bool
    checked: bool
    folders: bytes
    names: bytes
    kinds: bytes
    parents: bytes
    sizes: bytes
    modes: bytes
    uids: bytes
    gids: bytes
    mtimes: bytes
    datas: bytes
    before_data: bytes
    stored: dict[int, int]
    sparse: list[int]
    links: dict[int, bytes]
    xattrs: dict[int, dict[bytes, bytes]]
    devices: dict[int, tuple[int, int]]
    exact_mtimes: dict[int, str]


def pack(table: LayerTable, key: str) -> bytes | None:
    """Return a table as bytes, to be found again by `key`; None for one that cannot be kept."""
    names, folders = _joined(table.names), _joined(table.folders)
    if names is None or folders is None or _attribute_bytes(table) > _MOST_ATTRIBUTES:
        return None
    columns = _Columns(
        key=key,
        byte_order=sys.byteorder,
        rows=len(table),
        codec=table.codec.value,
        tar_size=table.tar_size,
        diff_id=table.diff_id,
        verified=table.verified,
        is_copyable=table.is_copyable,
        hashed=_all_hashed(table),
        checked=_all_checked(table),
        folders=folders,
        names=names,
        kinds=bytes(table.kinds),
        parents=_planes(table.parents),
        sizes=_planes(table.sizes),
        modes=_planes(table.modes),
        uids=_planes(table.uids),
        gids=_planes(table.gids),
        mtimes=_planes(table.mtimes),
        datas=_planes(table.datas),
        before_data=_planes(array("q", map(operator.sub, table.datas, table.headers))),
        stored=table.stored,
        sparse=sorted(table.sparse),
        links={row: _raw(target) for row, target in table.links.items()},
        xattrs={row: _raw_names(xattrs) for row, xattrs in table.xattrs.items()},
        devices=table.devices,
        exact_mtimes=table.exact_mtimes,
    )
    frame = _compressed(msgspec.msgpack.encode(columns))
    contents = _contents(table)
    content = b"".join((_HEADER.pack(_MAGIC, len(frame), len(contents)), frame, contents))
    return content + hashlib.sha256(content).digest()


def _raw_names(attributes: Mapping[str, bytes]) -> dict[bytes, bytes]:
    return {_raw(name): value for name, value in attributes.items()}


def _contents(table: LayerTable) -> bytes:
    """Return the second frame: the digests, else the checksums if those of all files are known."""
    if table.digests is not None:
        return _compressed(bytes(table.digests))
    if table.checks is None or not _all_checked(table):
        return b""
    return _compressed(_planes(array("I", (max(0, check) for check in table.checks))))


def unpack(data: bytes, key: str, hashes: Hashes) -> LayerTable | None:
    """Return the table that was packed under `key`, with what is known of contents unless NONE.

    None for anything else: another version or key, damage, or too few digests. Files whose content
    is doubtful can be hashed later, but of a compressed layer that takes as long as all do.
    """
    try:
        return _unpacked(data, key, hashes)
    except (ValueError, IndexError, struct.error, msgspec.MsgspecError, OcitoolError):
        return None


def _unpacked(data: bytes, key: str, hashes: Hashes) -> LayerTable | None:
    magic, length, contents_length = _HEADER.unpack_from(data)
    end = _HEADER.size + length + contents_length
    if magic != _MAGIC or end + _CHECKSUM != len(data):
        return None
    view = memoryview(data)
    if hashlib.sha256(view[:end]).digest() != view[end:]:
        return None
    frame = view[_HEADER.size : _HEADER.size + length]
    columns = msgspec.msgpack.decode(_decompressed(frame), type=_Columns)
    if columns.key != key or columns.byte_order != sys.byteorder or columns.rows > _MOST_ROWS:
        return None
    table = _table(columns)
    if not _suffices(columns, hashes):
        return None
    if hashes is not Hashes.NONE and contents_length:
        _add_contents(table, _decompressed(view[_HEADER.size + length : end]))
    return table if _agrees(table) else None


def _suffices(columns: _Columns, hashes: Hashes) -> bool:
    """Tell whether enough is known of the contents."""
    if hashes is Hashes.NONE or columns.hashed:
        return True
    if hashes is Hashes.CHECKS and columns.checked:
        return True
    return hashes is not Hashes.ALL and columns.codec == Codec.NONE.value


def _add_contents(table: LayerTable, contents: bytes) -> None:
    rows = len(table.names)
    if len(contents) == DIGEST_BYTES * rows:
        table.digests = bytearray(contents)
    else:
        checks = zip(_column("I", contents, rows), table.kinds, strict=True)
        table.checks = array("q", (check if kind == FILE else -1 for check, kind in checks))
        for row in table.sparse:
            table.checks[row] = -1


def _table(columns: _Columns) -> LayerTable:
    rows = columns.rows
    datas = _column("q", columns.datas, rows)
    before_data = _column("q", columns.before_data, rows)
    return LayerTable(
        codec=Codec(columns.codec),
        tar_size=columns.tar_size,
        diff_id=columns.diff_id,
        verified=columns.verified,
        is_copyable=columns.is_copyable,
        folders=_parts(columns.folders),
        names=_parts(columns.names) if rows else [],
        kinds=bytearray(columns.kinds),
        parents=_column("I", columns.parents, rows),
        sizes=_column("q", columns.sizes, rows),
        modes=_column("H", columns.modes, rows),
        uids=_column("q", columns.uids, rows),
        gids=_column("q", columns.gids, rows),
        mtimes=_times(columns.mtimes, rows),
        headers=array("q", map(operator.sub, datas, before_data)),
        datas=datas,
        stored=columns.stored,
        sparse=set(columns.sparse),
        links={row: _text(target) for row, target in columns.links.items()},
        xattrs={
            row: {_text(name): value for name, value in xattrs.items()}
            for row, xattrs in columns.xattrs.items()
        },
        devices=columns.devices,
        exact_mtimes=columns.exact_mtimes,
    )


def _agrees(table: LayerTable) -> bool:
    """Tell whether all columns have as many rows, and no number leads out of a table."""
    rows = len(table.names)
    special: Iterable[int] = (
        *table.stored,
        *table.sparse,
        *table.links,
        *table.xattrs,
        *table.devices,
        *table.exact_mtimes,
    )
    return (
        len(table.kinds) == len(table.parents) == rows
        and (table.digests is None or len(table.digests) == rows * DIGEST_BYTES)
        and table.folders[0] == ""
        and max(table.parents, default=0) < len(table.folders)
        and max(table.kinds, default=0) < len(KINDS)
        and min(special, default=0) >= 0
        and max(special, default=-1) < rows
    )


def _all_hashed(table: LayerTable) -> bool:
    """Tell whether the content of every file was hashed that can be."""
    digests = table.digests
    if digests is None:
        return FILE not in table.kinds
    heads = array("Q", bytes(digests))[:: DIGEST_BYTES // 8]
    missing = (
        row
        for row, (kind, head) in enumerate(zip(table.kinds, heads, strict=False))
        if kind == FILE and not head and table.digest(row) is None
    )
    return all(row in table.sparse for row in missing)


def _all_checked(table: LayerTable) -> bool:
    """Tell whether the checksum of every file is known whose content can be read."""
    if table.checks is None:
        return FILE not in table.kinds
    columns = zip(table.kinds, table.checks, strict=True)
    missing = (row for row, (kind, check) in enumerate(columns) if kind == FILE and check < 0)
    return all(row in table.sparse for row in missing)


# Numbers: the first bytes of all, then the second bytes of all: neighbours are alike, and compress.


def _planes(column: "array[int] | array[float]") -> bytes:
    raw, width = column.tobytes(), column.itemsize
    return b"".join(raw[place::width] for place in range(width))


def _column(code: str, planes: bytes, rows: int) -> "array[int]":
    column: array[int] = array(code)
    column.frombytes(_rows(planes, column.itemsize, rows))
    return column


def _times(planes: bytes, rows: int) -> "array[float]":
    column = array("d")
    column.frombytes(_rows(planes, column.itemsize, rows))
    return column


def _rows(planes: bytes, width: int, rows: int) -> bytearray:
    if len(planes) != width * rows:
        raise ValueError("a column has too many rows or too few")
    raw = bytearray(len(planes))
    for place in range(width):
        raw[place::width] = planes[place * rows : (place + 1) * rows]
    return raw


# Texts.


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _joined(texts: Sequence[str]) -> bytes | None:
    joined = _SEPARATOR.join(texts)
    return _raw(joined) if joined.count(_SEPARATOR) == max(0, len(texts) - 1) else None


def _parts(joined: bytes) -> list[str]:
    return _text(joined).split(_SEPARATOR)


def _attribute_bytes(table: LayerTable) -> int:
    return sum(len(value) for xattrs in table.xattrs.values() for value in xattrs.values())


# Frames.


def _compressed(data: bytes) -> bytes:
    compressor = Compressor(Codec.ZSTD)
    return compressor.compress(data) + compressor.flush()


def _decompressed(frame: memoryview) -> bytes:
    reader = DecompressingReader(io.BytesIO(frame), Codec.ZSTD)
    return b"".join(iter(lambda: reader.read(CHUNK_SIZE), b""))
