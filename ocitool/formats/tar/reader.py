"""Reading a tar from its first byte to its last: framing, checksums, plain headers."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.tar.data import MemberData
from ocitool.formats.tar.entry import DEFAULT_TAR_LIMITS, Entry, EntryType, NotATar, TarLimits
from ocitool.formats.tar.extensions import EXTENSION_FLAGS, Extensions
from ocitool.formats.tar.fields import BadHeader, number, octal, old_gnu_map, text
from ocitool.formats.tar.headers import (
    FLAG_OF_SPARSE,
    TYPES,
    WITH_DATA,
    as_directory,
    prefixed,
    sums_of,
)
from ocitool.formats.tar.inputs import STREAM_CHUNK, TarInput

_BLOCK_SIZE: Final = 512
_ZERO_BLOCK: Final = bytes(_BLOCK_SIZE)
_CACHED_FIELDS: Final = 1 << 12

# Name; mode, uid and gid; size; mtime; checksum; type flag and first byte of the link name;
# magic, version, user, group and device numbers.
_HEADER: Final = struct.Struct("100s 24s 12s 12s 8s 2s 99x 88s 167x")

_DIRECTORY: Final = EntryType.DIRECTORY
# The type flag and the first byte of the link name, of members that need no second look.
_PLAIN_KINDS: Final = {
    b"0\0": EntryType.FILE,
    b"\0\0": EntryType.FILE,
    b"5\0": EntryType.DIRECTORY,
}


class TarReader:
    """Yields the members of a tar in order; refuses anything damaged, cut or ambiguous.

    Iterate once. Between two members, `open_data` and `read_data` return the data of the current
    member; data that is not read is skipped. Iteration ends at two zero blocks, or if the input
    ends where a header would begin. The input is not read beyond its current chunk.

    Memory is constant: one chunk, and the extension headers of one member. Not thread-safe.
    Raises `NotATar`, `MalformedArchive` and `LimitExceeded`.
    """

    __slots__ = (
        "_base",
        "_buffer",
        "_current",
        "_extensions",
        "_identities",
        "_input",
        "_next_header",
        "_numbers",
        "_overridden",
        "_owners",
        "_position",
        "_sums",
    )

    def __init__(self, source: TarInput, *, limits: TarLimits = DEFAULT_TAR_LIMITS) -> None:
        self._input = source
        # All offsets count from the beginning of the archive, except `_position`: it counts from
        # `_base`, the offset of the first byte of the buffer.
        self._buffer = b""
        self._base = 0
        self._position = 0
        self._next_header = 0
        self._current: Entry | None = None
        self._extensions = Extensions(limits.extension_bytes)
        self._overridden = False
        # Most headers of an archive share their owner, mode, times and small numbers: looking the
        # raw field up is several times faster than decoding it again.
        self._numbers: dict[bytes, int] = {}
        self._sums: dict[bytes, int] = {}
        self._identities: dict[bytes, tuple[int, int, int]] = {}
        self._owners: dict[bytes, tuple[str, str, int, int]] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Yield each member."""
        try:
            yield from self._members()
        except BadHeader as error:
            raise self._malformed(str(error)) from None

    def _members(self) -> Iterator[Entry]:
        # One long loop, because every call in it would cost a tenth of the whole.
        unpack, sums, numbers = _HEADER.unpack, self._sums, self._numbers
        identities, owners, adler32 = self._identities, self._owners, zlib.adler32
        while (block := self._next_block()) is not None:
            (
                name_field,
                identity_field,
                size_field,
                time_field,
                checksum,
                kind,
                owner_field,
            ) = unpack(block)
            # An Adler-32 begins with the sum of the bytes plus one, modulo 65521, which 512 ASCII
            # bytes cannot reach: the fastest exact sum there is.
            expected = sums.get(checksum)
            if expected is None or not block.isascii() or adler32(block) & 0xFFFF != expected:
                self._verify_checksum(block)
            if kind[0] in EXTENSION_FLAGS:
                self._read_extension(block)
                continue
            mode, uid, gid = identities.get(identity_field) or self._identity(identity_field)
            size = numbers.get(size_field, -1)
            if size < 0:
                size = self._size(size_field)
            mtime = numbers.get(time_field)
            if mtime is None:
                mtime = self._number(time_field)
            user, group, major, minor = owners.get(owner_field) or self._owner(owner_field)
            name = name_field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            entry_type = _PLAIN_KINDS.get(kind)
            data_offset = self._next_header + _BLOCK_SIZE
            entry = Entry(
                name,
                entry_type or EntryType.OTHER,
                size,
                mode,
                uid,
                gid,
                mtime,
                "",
                user,
                group,
                major,
                minor,
                self._next_header,
                data_offset,
            )
            if (
                entry_type is None
                or self._overridden
                or block[345]
                or (size if entry_type is _DIRECTORY else name[-1:] == "/")
            ):
                entry = self._completed(entry, block)
                data_offset, size = entry.data_offset, entry.size
            self._current = entry
            self._next_header = data_offset + size + (-size & 511)
            yield entry
        self._current = None
        if self._extensions.pending:
            raise self._malformed("an extension header with no member after it")

    @property
    def has_global_headers(self) -> bool:
        """Whether global headers that were read so far apply to the members after them."""
        return self._extensions.apply_to_all

    def open_data(self, entry: Entry) -> MemberData:
        """Return a one-pass reader of the data of `entry`, which must be the current member."""
        return MemberData(self.read_data, entry)

    def read_data(self, entry: Entry, size: int) -> bytes:
        """Return the next data of `entry`, at most `size` bytes; `b""` only at its end.

        Raises ValueError if the iteration has moved on from `entry`.
        """
        if entry is not self._current:
            raise ValueError("the archive has moved on to another member")
        size = min(size, self._data_left(entry))
        if size <= 0:
            return b""
        data = self._take(size)
        if not data:
            raise self._data_is_cut()
        return data

    def read_whole(self, entry: Entry, *, limit: int) -> bytes:
        """Return all data of the current member that is left.

        Raises LimitExceeded, before reading, if that is more than `limit` bytes.
        """
        left = self._data_left(entry)
        if left > limit:
            raise LimitExceeded(f"{entry.name!r} has {left} bytes, more than {limit}")
        pieces = []
        while data := self.read_data(entry, STREAM_CHUNK):
            pieces.append(data)
        return b"".join(pieces)

    def _data_left(self, entry: Entry) -> int:
        return entry.data_offset + entry.size - self._base - self._position

    # The blocks.

    def _next_block(self) -> bytes | None:
        """Skip the rest of the current member; return the next header block, None at the end."""
        start = self._next_header - self._base
        block: bytes | None = self._buffer[start : start + _BLOCK_SIZE]
        if block is not None and len(block) == _BLOCK_SIZE:
            self._position = start + _BLOCK_SIZE
        else:
            block = self._read_block()
        if block != _ZERO_BLOCK:
            return block
        self._next_header += _BLOCK_SIZE
        if self._read_block() not in (None, _ZERO_BLOCK):
            raise self._malformed("data after a single zero block")
        return None

    def _read_block(self) -> bytes | None:
        """Return the block at the offset of the next header; None at the end."""
        self._skip_to_next_header()
        while len(self._buffer) - self._position < _BLOCK_SIZE:
            data = self._input.read(self._input.chunk_size)
            if not data:
                self._refuse_partial_block()
                return None
            self._base += self._position
            self._buffer = self._buffer[self._position :] + data
            self._position = 0
        start = self._position
        self._position += _BLOCK_SIZE
        return self._buffer[start : self._position]

    def _refuse_partial_block(self) -> None:
        if self._position == len(self._buffer):
            return
        if self._next_header == 0:
            raise NotATar("not a tar archive: it is shorter than one tar header")
        raise self._malformed("the archive ends in the middle of a header")

    def _skip_to_next_header(self) -> None:
        missing = self._next_header - self._base - len(self._buffer)
        if missing <= 0:
            self._position = self._next_header - self._base
            return
        skipped = self._input.skip(missing)
        self._base += len(self._buffer) + skipped
        self._position = 0
        self._buffer = b""
        # Go's tar writer omits the padding of the last member unless it is closed.
        if skipped < missing and (self._current is None or self._data_left(self._current)):
            raise self._data_is_cut()

    def _take(self, size: int) -> bytes:
        """Return the next bytes, at least one and at most `size`; `b""` only at the end."""
        if self._position == len(self._buffer):
            self._base += self._position
            self._position = 0
            self._buffer = b""
            if size >= self._input.chunk_size:
                data = self._input.read(size)
                self._base += len(data)
                return data
            self._buffer = self._input.read(self._input.chunk_size)
        data = self._buffer[self._position : self._position + size]
        self._position += len(data)
        return data

    def _malformed(self, problem: str) -> MalformedArchive:
        return MalformedArchive(
            f"damaged tar archive: {problem} (at byte {self._base + self._position})"
        )

    def _data_is_cut(self) -> MalformedArchive:
        return self._malformed("the archive ends in the middle of a member's data")

    # One header.

    def _verify_checksum(self, block: bytes) -> None:
        """Compare the stated sum with that of the header's bytes, its own field as spaces."""
        if self._expected_sum(block[148:156]) not in sums_of(block):
            raise self._bad_checksum()

    def _expected_sum(self, field: bytes) -> int:
        """Return the sum, plus one, that the bytes of the whole block must have."""
        stated = octal(field)
        if stated is None:
            raise self._bad_checksum()
        expected = stated + sum(field) - len(field) * ord(" ") + 1
        if len(self._sums) >= _CACHED_FIELDS:
            self._sums.clear()
        self._sums[field] = expected
        return expected

    def _bad_checksum(self) -> MalformedArchive:
        if self._next_header == 0:
            return NotATar("not a tar archive: it does not begin with a tar header")
        return self._malformed("a header's checksum is wrong")

    def _completed(self, entry: Entry, block: bytes) -> Entry:
        """Return a member with its rarely used fields, and its extension headers applied."""
        flag = block[156]
        entry_type = TYPES.get(flag, EntryType.OTHER)
        entry = replace(
            entry,
            type=entry_type,
            name=prefixed(block, entry.name) if block[345] else entry.name,
            link_name=text(block, 157, 257),
        )
        if flag == FLAG_OF_SPARSE:
            entry = self._sparse_member(entry, block)
        if self._overridden:
            entry = self._extensions.applied_to(entry)
            self._overridden = self._extensions.apply_to_all
        if entry.size and entry_type not in WITH_DATA:
            entry = replace(entry, size=0)
        if entry_type is EntryType.FILE and entry.name[-1:] == "/":
            entry = as_directory(entry)
        return entry

    def _identity(self, field: bytes) -> tuple[int, int, int]:
        mode, uid, gid = (self._number(field[at : at + 8]) for at in (0, 8, 16))
        identity = (mode & 0o7777, uid, gid)
        if len(self._identities) >= _CACHED_FIELDS:
            self._identities.clear()
        self._identities[field] = identity
        return identity

    def _owner(self, field: bytes) -> tuple[str, str, int, int]:
        """Decode names and device numbers; a header without a magic has none."""
        if field[:5] == b"ustar":
            numbers = self._number(field[72:80]), self._number(field[80:88])
            owner = (text(field, 8, 40), text(field, 40, 72), *numbers)
        else:
            owner = ("", "", 0, 0)
        if len(self._owners) >= _CACHED_FIELDS:
            self._owners.clear()
        self._owners[field] = owner
        return owner

    def _size(self, field: bytes) -> int:
        size = self._number(field)
        if size < 0:
            raise BadHeader("a negative size")
        return size

    def _number(self, field: bytes) -> int:
        found = number(field)
        if len(self._numbers) >= _CACHED_FIELDS:
            self._numbers.clear()
        self._numbers[field] = found
        return found

    def _sparse_member(self, entry: Entry, block: bytes) -> Entry:
        """Read to the end of an old GNU sparse map; the data follows it."""
        size = self._size(block[483:495])
        data_offset = entry.data_offset
        maps = [block[386:482]]
        more = block[482]
        while more:
            self._extensions.spend(_BLOCK_SIZE, self._next_header)
            continuation = self._read_exactly(_BLOCK_SIZE)
            maps.append(continuation[:504])
            more = continuation[504]
            data_offset += _BLOCK_SIZE
        self._extensions.begin_anew()
        return replace(
            entry, data_offset=data_offset, sparse_size=size, sparse_map=old_gnu_map(b"".join(maps))
        )

    # Extension headers.

    def _read_extension(self, block: bytes) -> None:
        """Read one extension header, and keep it for the next member or, if global, for all."""
        size = self._size(block[124:136])
        padded = size + -size % _BLOCK_SIZE
        self._extensions.spend(_BLOCK_SIZE + padded, self._next_header)
        data = self._read_exactly(padded)[:size]
        self._next_header += _BLOCK_SIZE + padded
        self._overridden = True
        self._extensions.keep(block[156], data)

    def _read_exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            data = self._take(size)
            if not data:
                raise BadHeader("the archive ends in the middle of an extension header")
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)


def entries(source: TarInput, *, limits: TarLimits = DEFAULT_TAR_LIMITS) -> Iterator[Entry]:
    """Yield the members of a tar whose data is not needed; errors as `TarReader`."""
    return iter(TarReader(source, limits=limits))
