"""The databases of rpm in its three forms: sqlite, ndb and Berkeley DB. They hold header blobs."""

import sqlite3
import struct
import time
from collections.abc import Iterator

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.inside.facts.packages.package import Package, PackageType, tidy

_MOST = 200_000
"""Packages of one database; a distribution has about 70,000 in all."""
_LARGEST_HEADER = 64 << 20
_SECONDS = 20.0
_STEPS = 10_000
_FIELD = struct.Struct(">4I")
_PAIR = struct.Struct(">2I")
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_LICENSE, _ARCH, _SOURCE = 1014, 1022, 1044
_WANTED = (_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE)
_INT32, _STRING, _TEXTS, _I18N = 4, 6, 8, 9


def header_fields(blob: bytes) -> dict[int, str | int]:
    """Return the wanted texts and numbers of a header by tag; MalformedDocument for anything else.

    A header is two counts, so many index entries of 16 bytes, and so many bytes of data
    (rpm's docs/manual/hregions.md).
    """
    if len(blob) < _PAIR.size:
        raise MalformedDocument("an rpm header is cut short")
    count, length = _PAIR.unpack_from(blob)
    start = _PAIR.size + count * _FIELD.size
    if start + length > len(blob):
        raise MalformedDocument("an rpm header is longer than its record")
    fields: dict[int, str | int] = {}
    for number in range(count):
        tag, kind, offset, _ = _FIELD.unpack_from(blob, _PAIR.size + number * _FIELD.size)
        # Each tag once: a hostile index could point a million times to one long text.
        if tag not in _WANTED or tag in fields or offset >= length:
            continue
        if kind in (_STRING, _TEXTS, _I18N):
            end = blob.find(b"\0", start + offset, start + length)
            text = blob[start + offset : end if end >= 0 else start + length]
            fields[tag] = text.decode("utf-8", "replace")
        elif kind == _INT32 and offset + 4 <= length:
            fields[tag] = int.from_bytes(blob[start + offset : start + offset + 4], "big")
    return fields


def package_of(blob: bytes, path: str) -> Package | None:
    """Return the package of a header; None for a public key, which rpm keeps among them."""
    fields = header_fields(blob)
    name, epoch = tidy(_text(fields, _NAME)), fields.get(_EPOCH)
    if name is None:
        raise MalformedDocument("an rpm header has no name")
    if name == "gpg-pubkey":
        return None
    version, release = _text(fields, _VERSION), _text(fields, _RELEASE)
    return Package(
        type=PackageType.RPM,
        name=name,
        version=tidy(f"{version}-{release}" if release else version),
        epoch=epoch if isinstance(epoch, int) else None,
        architecture=tidy(_text(fields, _ARCH)),
        source=_source_name(_text(fields, _SOURCE)),
        license=tidy(_text(fields, _LICENSE)),
        path=path,
    )


def _text(fields: dict[int, str | int], tag: int) -> str:
    value = fields.get(tag)
    return value if isinstance(value, str) else ""


def _source_name(file: str) -> str | None:
    """Return the name in `bash-5.2-1.src.rpm`."""
    return tidy(file.rsplit("-", 2)[0]) if file.count("-") >= 2 else None


def rpm_packages(data: bytes, path: str) -> Iterator[Package]:
    """Yield the packages of a database in any of its forms, which its first bytes tell.

    Raises MalformedDocument and LimitExceeded, maybe after some packages.
    """
    if data.startswith(b"SQLite format 3\0"):
        blobs = _sqlite_blobs(data)
    elif data.startswith(b"RpmP"):
        blobs = _ndb_blobs(data)
    else:
        blobs = _bdb_blobs(data)
    left = 2 * len(data)
    for number, blob in enumerate(blobs):
        left -= len(blob)
        if number >= _MOST:
            raise LimitExceeded(f"an rpm database has more than {_MOST} packages")
        if left < 0:
            raise LimitExceeded("the packages of an rpm database share their bytes")
        package = package_of(blob, path)
        if package is not None:
            yield package


def _sqlite_blobs(data: bytes) -> Iterator[bytes]:
    # A database in memory has no write-ahead log: mark it as one without.
    plain = data[:18] + b"\1\1" + data[20:]
    database = sqlite3.connect(":memory:")
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_HEADER)
        database.deserialize(plain)
        # The file is a stranger's: a view in place of the table could run for ever.
        until = time.monotonic() + _SECONDS
        database.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        database.execute("PRAGMA trusted_schema = OFF")
        kind = "SELECT type FROM sqlite_master WHERE name = 'Packages'"
        if database.execute(kind).fetchall() != [("table",)]:
            raise MalformedDocument("the database has no table of packages")
        for (blob,) in database.execute("SELECT blob FROM Packages ORDER BY hnum"):
            if not isinstance(blob, bytes):
                raise MalformedDocument("a package in the database is not a blob")
            yield blob
    except (sqlite3.Error, OverflowError, MemoryError) as error:
        raise MalformedDocument(f"the database is damaged: {type(error).__name__}") from None
    finally:
        database.close()


def _ndb_blobs(data: bytes) -> Iterator[bytes]:
    """Yield the blobs of a Packages.db: a header, pages of slots, and blocks of 16 bytes."""
    if len(data) < 32:
        raise MalformedDocument("the database is cut short")
    pages = int.from_bytes(data[12:16], "little")
    if not 0 < pages * 4096 <= len(data):
        raise MalformedDocument("the database is cut short")
    for at in range(32, pages * 4096, 16):
        magic, number, block, count = struct.unpack_from("<4s3I", data, at)
        if magic != b"Slot":
            raise MalformedDocument("the database has a damaged slot")
        if not block:
            continue
        begin = block * 16
        head = data[begin : begin + 16]
        if len(head) < 16 or head[:4] != b"BlbS" or head[4:8] != number.to_bytes(4, "little"):
            raise MalformedDocument("the database has a damaged blob")
        length = int.from_bytes(head[12:16], "little")
        if length > count * 16 or begin + 16 + length > len(data):
            raise MalformedDocument("the database has a blob that is cut short")
        yield data[begin + 16 : begin + 16 + length]


class _Pages:
    """The pages of a Berkeley DB hash file (db's src/dbinc/db_page.h), of either byte order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        magic = data[12:16]
        orders = {b"\x61\x15\x06\x00": "<", b"\x00\x06\x15\x61": ">"}
        if len(data) < 512 or magic not in orders:
            raise MalformedDocument("the database is of no form that rpm has had")
        self.order = orders[magic]
        (self.size,) = struct.unpack_from(self.order + "I", data, 20)
        if self.size < 512 or self.size > 65536 or self.size & (self.size - 1):
            raise MalformedDocument("the database has pages of a wrong size")

    def __iter__(self) -> Iterator[bytes]:
        """Yield the values of all pairs: every second item of a page of the hash."""
        for start in range(self.size, len(self.data) - self.size + 1, self.size):
            if self.data[start + 25] in (2, 13):
                yield from self._values(start)

    def _values(self, start: int) -> Iterator[bytes]:
        (count,) = struct.unpack_from(self.order + "H", self.data, start + 20)
        if 26 + 2 * count > self.size:
            raise MalformedDocument("the database has a damaged page")
        offsets = struct.unpack_from(f"{self.order}{count}H", self.data, start + 26)
        for key, value in zip(offsets[::2], offsets[1::2], strict=False):
            if not 26 <= value < key <= self.size:
                raise MalformedDocument("the database has a damaged page")
            item = self.data[start + value : start + key]
            if item[0] == 1:
                yield item[1:]
            elif item[0] == 3 and len(item) == 12:
                yield self._overflow(*struct.unpack_from(self.order + "2I", item, 4))

    def _overflow(self, page: int, length: int) -> bytes:
        """Return a value that has pages of its own."""
        parts, left = [], length
        while left > 0:
            start = page * self.size
            if not page or start + self.size > len(self.data) or self.data[start + 25] != 7:
                raise MalformedDocument("the database has a chain of pages that breaks off")
            page, _, used = struct.unpack_from(self.order + "IHH", self.data, start + 16)
            used = min(used, left, self.size - 26)
            if not used:
                raise MalformedDocument("the database has an empty page in a chain")
            parts.append(self.data[start + 26 : start + 26 + used])
            left -= used
        return b"".join(parts)


def _bdb_blobs(data: bytes) -> Iterator[bytes]:
    for value in _Pages(data):
        # The pair with key 0 counts the packages.
        if len(value) > _FIELD.size:
            yield value
