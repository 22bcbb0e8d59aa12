"""The one tar parser: strict, streaming, in constant memory. No disk, no decompression.

It reads what image tools write: V7, POSIX ustar, PAX (POSIX.1-2001, "pax Interchange Format"), GNU
long names, base-256 numbers, and the headers of GNU and PAX sparse files. It never guesses: where
two readers could see different members in the same bytes, the archive is refused.

A `TarReader` takes an input, of which there are two: `SeekableInput` for a file, whose member data
is passed over by seeking, and `StreamInput` for anything that can only be read.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedArchive

BLOCK_SIZE: Final = 512
STREAM_CHUNK: Final = 1 << 20
SEEKABLE_CHUNK: Final = 1 << 14

_ZERO_BLOCK: Final = bytes(BLOCK_SIZE)
_ASCII: Final = bytes(range(128))
_LARGEST: Final = (1 << 63) - 1
_CACHED_FIELDS: Final = 1 << 12
_GNU_MAGIC: Final = b"ustar  \0"
_USTAR_MAGIC: Final = b"ustar\x0000"
_XATTR_PREFIX: Final = "SCHILY.xattr."
_SPARSE_PREFIX: Final = "GNU.sparse."
_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
_TIME: Final = re.compile(rb"-?[0-9]{1,19}(\.[0-9]{0,32})?")

# Records on which framing or naming depends: repeated with another value they are an attack.
_DECISIVE: Final = frozenset({"size", "path", "linkpath", "GNU.sparse.name", "GNU.sparse.realsize"})
_TEXTS: Final = frozenset({"path", "linkpath", "uname", "gname", "GNU.sparse.name"})
_GLOBAL: Final = frozenset({"uid", "gid", "mtime", "uname", "gname"})

_FLAG_OF_SPARSE: Final = ord("S")
_FLAG_OF_LONG_NAME: Final = ord("L")
_FLAG_OF_LONG_LINK: Final = ord("K")
_FLAG_OF_GLOBAL: Final = ord("g")
_EXTENSION_FLAGS: Final = frozenset(b"LKxXg")


# Name; mode, uid and gid; size; mtime; checksum; type flag and first byte of the link name;
# magic, version, user, group and device numbers.
_HEADER: Final = struct.Struct("100s 24s 12s 12s 8s 2s 99x 88s 167x")


class NotATar(MalformedArchive):
    """The very first block is no tar header: the bytes are something else."""


class TarLimits(Struct, frozen=True, kw_only=True):
    """What a tar may cost its reader.

    `extension_bytes` bounds all extension headers of one member together, in bytes with their
    padding, and also what global headers may leave behind.
    """

    extension_bytes: int = 1 << 20


DEFAULT_TAR_LIMITS: Final = TarLimits()


class TarInput(Protocol):
    """Where the bytes of a tar come from. Not thread-safe."""

    @property
    def chunk_size(self) -> int:
        """How many bytes to ask for at a time when looking for headers."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""

    def skip(self, size: int, /) -> int:
        """Pass over `size` bytes; return how many there were, fewer only at the end."""


class SeekableFile(Protocol):
    """The part of a binary file that `SeekableInput` needs."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to `offset` and return the new position."""


class SeekableInput:
    """A tar in a file: data is passed over by seeking, so that indexing reads headers alone.

    Reads from the file's beginning. The file's own position is set before every read, so the caller
    may move it in between. The size is taken once, at construction.
    """

    __slots__ = ("_file", "_offset", "_size")

    chunk_size = SEEKABLE_CHUNK

    def __init__(self, file: SeekableFile) -> None:
        self._file = file
        self._offset = 0
        self._size = file.seek(0, 2)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the file, at most `size`."""
        self._file.seek(self._offset, 0)
        data = self._file.read(size)
        self._offset += len(data)
        return data

    def skip(self, size: int, /) -> int:
        """Move on by `size` bytes, never past the end; return by how many."""
        skipped = min(size, max(0, self._size - self._offset))
        self._offset += skipped
        return skipped


class StreamInput:
    """A tar that can only be read: data is passed over by reading it.

    `read(n)` must return at most `n` bytes, and `b""` only at the end.
    """

    __slots__ = ("_read",)

    chunk_size = STREAM_CHUNK

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the stream, at most `size`."""
        return self._read(size)

    def skip(self, size: int, /) -> int:
        """Read and drop `size` bytes; return how many there were."""
        left = size
        while left > 0:
            data = self._read(min(left, STREAM_CHUNK))
            if not data:
                break
            left -= len(data)
        return size - left


class EntryType(StrEnum):
    """What a member is. `OTHER` is a type this parser does not know; its data is still framed."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMLINK = "symlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"
    OTHER = "other"


_TYPES: Final = {
    0: EntryType.FILE,
    ord("0"): EntryType.FILE,
    ord("1"): EntryType.HARD_LINK,
    ord("2"): EntryType.SYMLINK,
    ord("3"): EntryType.CHARACTER,
    ord("4"): EntryType.BLOCK,
    ord("5"): EntryType.DIRECTORY,
    ord("6"): EntryType.FIFO,
    ord("7"): EntryType.FILE,
    _FLAG_OF_SPARSE: EntryType.FILE,
}
_DIRECTORY: Final = EntryType.DIRECTORY
# The type flag and the first byte of the link name, of members that need no second look.
_PLAIN_KINDS: Final = {
    b"0\0": EntryType.FILE,
    b"\0\0": EntryType.FILE,
    b"5\0": EntryType.DIRECTORY,
}
_WITH_DATA: Final = frozenset({EntryType.FILE, EntryType.OTHER})

_NO_XATTRS: Final[Mapping[str, bytes]] = {}


class Entry(Struct, frozen=True, gc=False):
    """One member of a tar, its extension headers already applied.

    Names are the archive's own, neither normalised nor trusted (a directory may end in "/"), with
    bytes that are not UTF-8 kept by surrogateescape. `size` is the data that follows in the
    archive; only a sparse file has another `logical_size`. `mode` is the permission bits alone.
    `mtime` is in seconds and may be negative or fractional. Offsets are bytes from the beginning of
    the archive; `header_offset` is that of the member's own header, after its extension headers.
    """

    name: str
    type: EntryType
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    link_name: str
    user_name: str
    group_name: str
    device_major: int
    device_minor: int
    header_offset: int
    data_offset: int
    xattrs: Mapping[str, bytes] = _NO_XATTRS
    sparse_size: int | None = None

    @property
    def sparse(self) -> bool:
        """Tell whether the data is a map of a sparse file rather than its content."""
        return self.sparse_size is not None

    @property
    def logical_size(self) -> int:
        """The file's size once unpacked, in bytes."""
        return self.size if self.sparse_size is None else self.sparse_size


class _Extensions(Struct):
    """What the extension headers before a member said; `spent` is their size in bytes."""

    spent: int = 0
    records: dict[str, bytes] | None = None
    long_name: bytes | None = None
    long_link: bytes | None = None

    @property
    def pending(self) -> bool:
        return (self.records, self.long_name, self.long_link) != (None, None, None)


class TarReader:
    """Yield the members of a tar in order, refusing whatever is damaged, cut or ambiguous.

    Iterate once. Between two members, `open_data` and `read_data` give the current one's data; what
    is not read is passed over. Iteration ends at two zero blocks, or at the end of the input where
    a header would begin; the input is not read any further than its current chunk.

    Memory is constant: one chunk, and the extension headers of one member. Not thread-safe.
    Raises `NotATar`, `MalformedArchive` and `LimitExceeded`.
    """

    __slots__ = (
        "_base",
        "_buffer",
        "_current",
        "_extensions",
        "_globals",
        "_identities",
        "_input",
        "_limits",
        "_next_header",
        "_numbers",
        "_overridden",
        "_owners",
        "_position",
        "_sums",
    )

    def __init__(self, source: TarInput, *, limits: TarLimits = DEFAULT_TAR_LIMITS) -> None:
        self._input = source
        self._limits = limits
        # Offsets in the archive are absolute but for `_position`, which counts from `_base`, the
        # offset of the buffer's first byte.
        self._buffer = b""
        self._base = 0
        self._position = 0
        self._next_header = 0
        self._current: Entry | None = None
        self._extensions = _Extensions()
        self._globals: dict[str, bytes] = {}
        self._overridden = False
        # Most headers of an archive share their owner, mode, times and small numbers: looking the
        # raw field up is several times faster than decoding it again.
        self._numbers: dict[bytes, int] = {}
        self._sums: dict[bytes, int] = {}
        self._identities: dict[bytes, tuple[int, int, int]] = {}
        self._owners: dict[bytes, tuple[str, str, int, int]] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Yield each member."""
        # One long loop, because every call in it would cost a tenth of the whole.
        unpack, sums, numbers = _HEADER.unpack, self._sums, self._numbers
        identities, owners, adler32 = self._identities, self._owners, zlib.adler32
        while (block := self._next_block()) is not None:
            (name_field, identity_field, size_field, time_field, checksum, kind, owner_field) = (
                unpack(block)
            )
            # An Adler-32 begins with the sum of the bytes plus one, modulo 65521, which 512 ASCII
            # bytes cannot reach: the fastest exact sum there is.
            expected = sums.get(checksum)
            if expected is None or not block.isascii() or adler32(block) & 0xFFFF != expected:
                self._verify_checksum(block)
            if kind[0] in _EXTENSION_FLAGS:
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
            data_offset = self._next_header + BLOCK_SIZE
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

    def open_data(self, entry: Entry) -> "MemberData":
        """Return a one-pass reader of the data of `entry`, which must be the current member."""
        return MemberData(self, entry)

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
        """Pass over what is left of the current member; return the next header, None at the end."""
        start = self._next_header - self._base
        block: bytes | None = self._buffer[start : start + BLOCK_SIZE]
        if block is not None and len(block) == BLOCK_SIZE:
            self._position = start + BLOCK_SIZE
        else:
            block = self._read_block()
        if block != _ZERO_BLOCK:
            return block
        self._next_header += BLOCK_SIZE
        if self._read_block() not in (None, _ZERO_BLOCK):
            raise self._malformed("data after a single zero block")
        return None

    def _read_block(self) -> bytes | None:
        """Return the block at the next header's offset, however far away; None at the end."""
        self._skip_to_next_header()
        while len(self._buffer) - self._position < BLOCK_SIZE:
            data = self._input.read(self._input.chunk_size)
            if not data:
                self._refuse_partial_block()
                return None
            self._base += self._position
            self._buffer = self._buffer[self._position :] + data
            self._position = 0
        start = self._position
        self._position += BLOCK_SIZE
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
        # Go's tar writer, unless closed, leaves out the padding of the last member.
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
        """Compare the sum of the header's bytes with the one it states, its own field as spaces."""
        expected = self._expected_sum(block[148:156])
        # Of two halves, because 256 bytes of any kind stay below the modulus of Adler-32.
        unsigned = sum(zlib.adler32(half) & 0xFFFF for half in (block[:256], block[256:])) - 1
        # Some old writers summed signed characters.
        signed = unsigned - 256 * len(block.translate(None, _ASCII))
        if expected not in (unsigned, signed):
            raise self._bad_checksum()

    def _expected_sum(self, field: bytes) -> int:
        """Return what the whole block's bytes must add up to, plus one, if `field` is right."""
        stated = _octal(field)
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
        """Add to a member what few headers have, and what the extension headers before it say."""
        flag = block[156]
        entry_type = _TYPES.get(flag, EntryType.OTHER)
        entry = replace(
            entry,
            type=entry_type,
            name=self._prefixed(block, entry.name) if block[345] else entry.name,
            link_name=_text(block, 157, 257),
        )
        if flag == _FLAG_OF_SPARSE:
            entry = self._sparse_member(entry, block)
        if self._overridden:
            entry = self._extended(entry)
        if entry.size and entry_type not in _WITH_DATA:
            entry = replace(entry, size=0)
        if entry_type is EntryType.FILE and entry.name[-1:] == "/":
            entry = self._directory_by_name(entry)
        return entry

    def _directory_by_name(self, entry: Entry) -> Entry:
        """V7 wrote directories as files whose name ends in "/"."""
        if entry.size:
            raise self._malformed("a file whose name ends in '/' has data")
        return replace(entry, type=EntryType.DIRECTORY)

    def _prefixed(self, block: bytes, name: str) -> str:
        """Put the ustar prefix before the name, where the field is a prefix at all."""
        magic = block[257:265]
        if magic == _GNU_MAGIC:
            if self._is_number(block[345:357]) and self._is_number(block[357:369]):
                return name  # GNU keeps the access and change times there.
        elif magic != _USTAR_MAGIC:
            raise self._malformed("a name prefix in a header that is not ustar")
        end = 476 if block[508:512] == b"tar\0" else 500
        return f"{_text(block, 345, end)}/{name}"

    def _identity(self, field: bytes) -> tuple[int, int, int]:
        mode, uid, gid = (self._number(field[at : at + 8]) for at in (0, 8, 16))
        identity = (mode & 0o7777, uid, gid)
        if len(self._identities) >= _CACHED_FIELDS:
            self._identities.clear()
        self._identities[field] = identity
        return identity

    def _owner(self, field: bytes) -> tuple[str, str, int, int]:
        """Decode names and device numbers, which a header without a magic does not have."""
        if field[:5] == b"ustar":
            numbers = self._number(field[72:80]), self._number(field[80:88])
            owner = (_text(field, 8, 40), _text(field, 40, 72), *numbers)
        else:
            owner = ("", "", 0, 0)
        if len(self._owners) >= _CACHED_FIELDS:
            self._owners.clear()
        self._owners[field] = owner
        return owner

    def _size(self, field: bytes) -> int:
        size = self._number(field)
        if size < 0:
            raise self._malformed("a negative size")
        return size

    def _number(self, field: bytes) -> int:
        """Decode a numeric field: octal digits, or base-256 if the first bit is set."""
        if field[0] & 0x80:
            number = _base_256(field)
            if not -_LARGEST <= number <= _LARGEST:
                raise self._malformed("a number too large for any file")
        else:
            octal = _octal(field)
            if octal is None:
                raise self._malformed("a numeric field that is not octal")
            number = octal
        if len(self._numbers) >= _CACHED_FIELDS:
            self._numbers.clear()
        self._numbers[field] = number
        return number

    def _is_number(self, field: bytes) -> bool:
        try:
            self._number(field)
        except MalformedArchive:
            return False
        return True

    def _sparse_member(self, entry: Entry, block: bytes) -> Entry:
        """Read on to the end of an old GNU sparse map; the data follows it."""
        size = self._size(block[483:495])
        data_offset = entry.data_offset
        more = block[482]
        while more:
            self._spend(BLOCK_SIZE)
            continuation = self._read_exactly(BLOCK_SIZE)
            more = continuation[504]
            data_offset += BLOCK_SIZE
        self._extensions.spent = 0
        return replace(entry, data_offset=data_offset, sparse_size=size)

    # Extension headers.

    def _spend(self, size: int) -> None:
        """Count the bytes of an extension against the limit, before they are read."""
        self._extensions.spent += size
        if self._extensions.spent > self._limits.extension_bytes:
            limit = self._limits.extension_bytes
            raise LimitExceeded(
                f"the extension headers of one tar member exceed {limit} bytes "
                f"(at byte {self._next_header})"
            )

    def _read_exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            data = self._take(size)
            if not data:
                raise self._malformed("the archive ends in the middle of an extension header")
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def _read_extension(self, block: bytes) -> None:
        """Read one extension header, and keep it for the next member or, if global, for all."""
        size = self._size(block[124:136])
        padded = size + -size % BLOCK_SIZE
        self._spend(BLOCK_SIZE + padded)
        data = self._read_exactly(padded)[:size]
        self._next_header += BLOCK_SIZE + padded
        extensions = self._extensions
        self._overridden = True
        flag = block[156]
        if flag == _FLAG_OF_GLOBAL:
            self._keep_globals(data)
        elif flag == _FLAG_OF_LONG_NAME:
            extensions.long_name = self._long_text(extensions.long_name, data)
        elif flag == _FLAG_OF_LONG_LINK:
            extensions.long_link = self._long_text(extensions.long_link, data)
        elif extensions.records is not None:
            raise self._malformed("two PAX headers before one member")
        else:
            extensions.records = self._pax_records(data)

    def _long_text(self, previous: bytes | None, data: bytes) -> bytes:
        if previous is not None:
            raise self._malformed("two GNU long names before one member")
        text = data.rstrip(b"\0")
        if not text or b"\0" in text:
            raise self._malformed("a GNU long name that is empty or holds a NUL")
        return text

    def _keep_globals(self, data: bytes) -> None:
        """Remember the global records that members inherit; refuse those that would move them."""
        if self._extensions.pending:
            raise self._malformed("a global header between a member and its extension header")
        for key, value in self._pax_records(data).items():
            if key in _DECISIVE or key.startswith(_SPARSE_PREFIX):
                raise self._malformed(f"a global header sets {key}")
            if key in _GLOBAL or key.startswith(_XATTR_PREFIX):
                self._globals[key] = value
        kept = sum(len(key) + len(value) for key, value in self._globals.items())
        if kept > self._limits.extension_bytes:
            limit = self._limits.extension_bytes
            raise LimitExceeded(f"the global headers of a tar exceed {limit} bytes")

    def _pax_records(self, data: bytes) -> dict[str, bytes]:
        """Parse `length key=value newline` records; a decisive key may not change its value."""
        records: dict[str, bytes] = {}
        position = 0
        while position < len(data):
            space = data.find(b" ", position, position + 20)
            digits = data[position:space] if space > 0 else b""
            end = position + int(digits) if digits.isdigit() else 0
            record = data[space + 1 : end]
            key, equals, value = record[:-1].partition(b"=")
            if end > len(data) or record[-1:] != b"\n" or not key or not equals or b"\0" in key:
                raise self._malformed("a PAX record breaks the syntax")
            self._keep_record(records, key.decode("utf-8", "surrogateescape"), value)
            position = end
        return records

    def _keep_record(self, records: dict[str, bytes], key: str, value: bytes) -> None:
        if key in _DECISIVE and records.get(key, value) != value:
            raise self._malformed(f"a PAX header sets {key} twice")
        if key in _TEXTS and b"\0" in value:
            raise self._malformed(f"a NUL in the PAX record {key}")
        records[key] = value

    def _extended(self, entry: Entry) -> Entry:
        """Return the member as its extension headers and the global ones say it is."""
        extensions, self._extensions = self._extensions, _Extensions()
        self._overridden = bool(self._globals)
        # An empty value takes a record back, so that the member's own header counts.
        merged = {**self._globals, **(extensions.records or {})}
        records = {key: value for key, value in merged.items() if value}
        changes: dict[str, object] = {}
        self._apply_texts(changes, records, extensions)
        for key in "uid", "gid":
            if key in records:
                changes[key] = int(self._matched(_INTEGER, records, key))
        if "mtime" in records:
            changes["mtime"] = float(self._matched(_TIME, records, "mtime"))
        if "size" in records:
            changes["size"] = self._pax_size(records, "size")
        xattrs = {
            key[len(_XATTR_PREFIX) :]: value
            for key, value in merged.items()
            if key.startswith(_XATTR_PREFIX)
        }
        if xattrs:
            changes["xattrs"] = xattrs
        self._apply_sparse(changes, records, entry)
        return replace(entry, **changes) if changes else entry

    def _apply_texts(
        self, changes: dict[str, object], records: Mapping[str, bytes], extensions: _Extensions
    ) -> None:
        texts = {
            "name": self._one_of(records.get("path"), extensions.long_name),
            "link_name": self._one_of(records.get("linkpath"), extensions.long_link),
            "user_name": records.get("uname"),
            "group_name": records.get("gname"),
        }
        texts["name"] = records.get("GNU.sparse.name", texts["name"])
        for key, value in texts.items():
            if value is not None:
                changes[key] = value.decode("utf-8", "surrogateescape")

    def _apply_sparse(
        self, changes: dict[str, object], records: Mapping[str, bytes], entry: Entry
    ) -> None:
        if any(key.startswith(_SPARSE_PREFIX) for key in records):
            changes["sparse_size"] = entry.size
        for key in "GNU.sparse.size", "GNU.sparse.realsize":
            if key in records:
                changes["sparse_size"] = self._pax_size(records, key)

    def _one_of(self, pax: bytes | None, gnu: bytes | None) -> bytes | None:
        if pax is not None and gnu is not None and pax != gnu:
            raise self._malformed("a PAX and a GNU header name one member differently")
        return gnu if pax is None else pax

    def _matched(self, pattern: re.Pattern[bytes], records: Mapping[str, bytes], key: str) -> bytes:
        value = records[key]
        if pattern.fullmatch(value) is None:
            raise self._malformed(f"the PAX record {key} is not a number")
        return value

    def _pax_size(self, records: Mapping[str, bytes], key: str) -> int:
        size = int(self._matched(_INTEGER, records, key))
        if records[key].startswith(b"-") or size > _LARGEST:
            raise self._malformed(f"the PAX record {key} is not a size")
        return size


class MemberData:
    """The data of one member as a one-pass stream, valid until its reader moves on."""

    __slots__ = ("_entry", "_reader")

    def __init__(self, reader: TarReader, entry: Entry) -> None:
        self._reader = reader
        self._entry = entry

    def read(self, size: int, /) -> bytes:
        """Return the next data, at most `size` bytes; `b""` only at the end."""
        return self._reader.read_data(self._entry, size)


def entries(source: TarInput, *, limits: TarLimits = DEFAULT_TAR_LIMITS) -> Iterator[Entry]:
    """Yield the members of a tar whose data nobody needs; errors as `TarReader`."""
    return iter(TarReader(source, limits=limits))


def _text(block: bytes, start: int, end: int) -> str:
    """Decode a field up to its first NUL."""
    nul = block.find(0, start, end)
    return block[start : end if nul < 0 else nul].decode("utf-8", "surrogateescape")


def _octal(field: bytes) -> int | None:
    """Decode octal digits among spaces and NULs, none of them meaning zero; None if malformed."""
    digits = field.strip(b" \0")
    if not digits:
        return 0
    # int() alone would also take "_", "+" and "0o".
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        return None
    return int(digits, 8)


def _base_256(field: bytes) -> int:
    """Decode a two's complement number whose first bit marks it as such."""
    number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    bits = 8 * len(field) - 1
    return number - (1 << bits) if field[0] & 0x40 else number
