"""Extension headers: PAX records and GNU long names, for one member or all following ones.

POSIX.1-2001, "pax Interchange Format"; the GNU tar manual, "Basic Tar Format".
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from ocitool.errors import LimitExceeded
from ocitool.formats.tar.entry import Entry
from ocitool.formats.tar.fields import LARGEST, BadHeader

EXTENSION_FLAGS: Final = frozenset(b"LKxXg")

_LONG_NAME: Final = ord("L")
_LONG_LINK: Final = ord("K")
_GLOBAL_HEADER: Final = ord("g")
_XATTR_PREFIX: Final = "SCHILY.xattr."
_SPARSE_PREFIX: Final = "GNU.sparse."
_SPARSE_MAP: Final = "GNU.sparse.map"
_SPARSE_PARTS: Final = ("GNU.sparse.offset", "GNU.sparse.numbytes")
_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
_DIGITS_OF_A_FLOAT: Final = 15
_TIME: Final = re.compile(rb"-?[0-9]{1,19}(\.[0-9]{0,32})?")

# Framing or naming depends on these records: a second, different value is an attack.
_DECISIVE: Final = frozenset({"size", "path", "linkpath", "GNU.sparse.name", "GNU.sparse.realsize"})
_TEXTS: Final = frozenset({"path", "linkpath", "uname", "gname", "GNU.sparse.name"})
_GLOBAL: Final = frozenset({"uid", "gid", "mtime", "uname", "gname"})


class Extensions:
    """The extension headers of a tar that still apply, and their cost.

    Raises BadHeader, and LimitExceeded for more than `limit` bytes for one member.
    """

    __slots__ = ("_globals", "_limit", "_long_link", "_long_name", "_records", "_spent")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._globals: dict[str, bytes] = {}
        self._begin()

    def _begin(self) -> None:
        self._spent = 0
        self._records: dict[str, bytes] | None = None
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None

    @property
    def pending(self) -> bool:
        """Whether a member must follow."""
        return (self._records, self._long_name, self._long_link) != (None, None, None)

    @property
    def apply_to_all(self) -> bool:
        """Whether global records apply to every following member."""
        return bool(self._globals)

    def spend(self, size: int, at: int) -> None:
        """Count the bytes of an extension header before they are read; `at` is its offset."""
        self._spent += size
        if self._spent > self._limit:
            raise LimitExceeded(
                f"the extension headers of one tar member exceed {self._limit} bytes (at byte {at})"
            )

    def begin_anew(self) -> None:
        """Start counting at zero again."""
        self._spent = 0

    def keep(self, flag: int, data: bytes) -> None:
        """Keep the content of one extension header, for the next member or, if global, for all."""
        if flag == _GLOBAL_HEADER:
            self._keep_globals(data)
        elif flag == _LONG_NAME:
            self._long_name = _long_text(self._long_name, data)
        elif flag == _LONG_LINK:
            self._long_link = _long_text(self._long_link, data)
        elif self._records is not None:
            raise BadHeader("two PAX headers before one member")
        else:
            self._records = _pax_records(data)

    def _keep_globals(self, data: bytes) -> None:
        """Keep global records that members inherit; refuse those that change names or framing."""
        if self.pending:
            raise BadHeader("a global header between a member and its extension header")
        for key, value in _pax_records(data).items():
            if key in _DECISIVE or key.startswith(_SPARSE_PREFIX):
                raise BadHeader(f"a global header sets {key}")
            if key in _GLOBAL or key.startswith(_XATTR_PREFIX):
                self._globals[key] = value
        kept = sum(len(key) + len(value) for key, value in self._globals.items())
        if kept > self._limit:
            raise LimitExceeded(f"the global headers of a tar exceed {self._limit} bytes")

    def applied_to(self, entry: Entry) -> Entry:
        """Return a member with the global headers and its own applied; its own are used up."""
        merged = {**self._globals, **(self._records or {})}
        records = merged
        if not all(merged.values()):
            # An empty value deletes a record, so that the member's own header applies.
            records = {key: value for key, value in merged.items() if value}
        changes = self._texts(records)
        changes.update(_numbers(records))
        xattrs = {
            key[len(_XATTR_PREFIX) :]: value
            for key, value in merged.items()
            if key.startswith(_XATTR_PREFIX)
        }
        if xattrs:
            changes["xattrs"] = xattrs
        if any(map(_is_sparse, records)):
            changes["sparse_size"] = _unpacked_size(records, entry)
            # From version 1.0 on the map is in the data.
            if "GNU.sparse.major" not in records:
                changes["sparse_map"] = records.get(_SPARSE_MAP, b"")
        self._begin()
        return replace(entry, **changes) if changes else entry

    def _texts(self, records: Mapping[str, bytes]) -> dict[str, object]:
        texts = {
            "name": _one_of(records.get("path"), self._long_name),
            "link_name": _one_of(records.get("linkpath"), self._long_link),
            "user_name": records.get("uname"),
            "group_name": records.get("gname"),
        }
        texts["name"] = records.get("GNU.sparse.name", texts["name"])
        return {
            key: value.decode("utf-8", "surrogateescape")
            for key, value in texts.items()
            if value is not None
        }


def _long_text(previous: bytes | None, data: bytes) -> bytes:
    if previous is not None:
        raise BadHeader("two GNU long names before one member")
    text = data.rstrip(b"\0")
    if not text or b"\0" in text:
        raise BadHeader("a GNU long name that is empty or holds a NUL")
    return text


def _pax_records(data: bytes) -> dict[str, bytes]:
    """Parse `length key=value newline` records; a decisive key may not change its value."""
    records: dict[str, bytes] = {}
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        record = data[space + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or record[-1:] != b"\n" or not key or not equals or b"\0" in key:
            raise BadHeader("a PAX record breaks the syntax")
        text = key.decode("utf-8", "surrogateescape")
        _keep_record(records, text, value)
        if text in _SPARSE_PARTS:
            # Version 0.0 repeats two records, in turns; out of turn they are no map.
            parts.append(value if text == _SPARSE_PARTS[len(parts) % 2] else b"?")
        position = end
    if parts:
        records.setdefault(_SPARSE_MAP, b",".join(parts))
    return records


def _keep_record(records: dict[str, bytes], key: str, value: bytes) -> None:
    if key in _DECISIVE and records.get(key, value) != value:
        raise BadHeader(f"a PAX header sets {key} twice")
    if key in _TEXTS and b"\0" in value:
        raise BadHeader(f"a NUL in the PAX record {key}")
    records[key] = value


def _numbers(records: Mapping[str, bytes]) -> dict[str, object]:
    found: dict[str, object] = {
        key: int(_matched(_INTEGER, records, key)) for key in ("uid", "gid") if key in records
    }
    if "mtime" in records:
        text = _matched(_TIME, records, "mtime").decode("ascii")
        found["mtime"] = float(text)
        digits = text.rstrip("0").rstrip(".") if "." in text else text
        if len(digits) > _DIGITS_OF_A_FLOAT:
            found["exact_mtime"] = digits
    if "size" in records:
        found["size"] = _size(records, "size")
    return found


def _is_sparse(key: str) -> bool:
    return key[: len(_SPARSE_PREFIX)] == _SPARSE_PREFIX


def _unpacked_size(records: Mapping[str, bytes], entry: Entry) -> int:
    size = entry.size
    for key in "GNU.sparse.size", "GNU.sparse.realsize":
        if key in records:
            size = _size(records, key)
    return size


def _one_of(pax: bytes | None, gnu: bytes | None) -> bytes | None:
    if pax is not None and gnu is not None and pax != gnu:
        raise BadHeader("a PAX and a GNU header name one member differently")
    return gnu if pax is None else pax


def _matched(pattern: re.Pattern[bytes], records: Mapping[str, bytes], key: str) -> bytes:
    value = records[key]
    if pattern.fullmatch(value) is None:
        raise BadHeader(f"the PAX record {key} is not a number")
    return value


def _size(records: Mapping[str, bytes], key: str) -> int:
    size = int(_matched(_INTEGER, records, key))
    if records[key].startswith(b"-") or size > LARGEST:
        raise BadHeader(f"the PAX record {key} is not a size")
    return size
