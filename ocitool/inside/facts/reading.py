"""Reading the files that were chosen: each layer once, each file once, in bounded memory."""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from ocitool.errors import IntegrityError, LimitExceeded
from ocitool.events import Observer
from ocitool.inside.content import MemberContent, read_members
from ocitool.inside.facts import system
from ocitool.inside.facts.candidates import Purpose
from ocitool.inside.facts.leaks.files import secrets_in_file
from ocitool.inside.facts.leaks.finding import Found
from ocitool.inside.facts.leaks.places import LARGEST
from ocitool.inside.facts.packages import go, java, node, rpm, stanzas
from ocitool.inside.facts.packages.package import Distribution, Package
from ocitool.inside.facts.report import Bundle, Unread
from ocitool.inside.facts.survey import Survey
from ocitool.inside.image import Inside
from ocitool.inside.table import LayerTable

_PROGRAMS = (b"\x7fELF", b"MZ")
_HEAD = 1 << 16
_OLD_GO = "a Go binary of a version before 1.18, whose modules are not read"


class Contents(Struct, kw_only=True):
    """What the files told. `secrets` are by layer and row, `glibc` are versions by path."""

    packages: list[Package] = field(default_factory=list)
    secrets: list[tuple[int, int, Found]] = field(default_factory=list)
    bundles: list[Bundle] = field(default_factory=list)
    glibc: dict[str, str] = field(default_factory=dict)
    distribution: Distribution = field(default_factory=Distribution)
    unread: list[Unread] = field(default_factory=list)


def read_contents(inside: Inside, found: Survey, observer: Observer) -> Contents:
    """Read what the survey wants. What a parser refuses is told as unread.

    Raises what `read_members` raises.
    """
    contents = Contents()
    numbers = sorted({*found.wanted, *found.candidates})
    total = sum(_bytes_of(inside.table(n), found, n) for n in numbers)
    with observer.work("reading files", total):
        for number in numbers:
            layer = _Layer(inside.table(number), number, found, contents)
            for row, content in read_members(inside, number, layer.rows, whole=True):
                size = content.left
                layer.read(row, content)
                observer.advance(size)
    return contents


def _rows_of(found: Survey, number: int) -> set[int]:
    return {*found.wanted.get(number, ()), *found.candidates.get(number, ())}


def _bytes_of(table: LayerTable, found: Survey, number: int) -> int:
    return sum(map(table.stored_size, _rows_of(found, number)))


class _Layer:
    """The files of one layer that are read, and for what."""

    def __init__(self, table: LayerTable, number: int, found: Survey, contents: Contents) -> None:
        self.rows = _rows_of(found, number)
        self._table = table
        self._number = number
        self._wanted = found.wanted.get(number, {})
        self._candidates = found.candidates.get(number, ())
        self._contents = contents

    def read(self, row: int, content: MemberContent) -> None:
        """Read one file."""
        purposes = self._wanted.get(row, [])
        if content.left > LARGEST and purposes[0][0] is Purpose.GO:
            head = content.read(_HEAD)
            if head.startswith(_PROGRAMS):
                _go(self._contents, itertools.chain([head], content), purposes[0][1], self._number)
            return
        data = b"".join(content)
        for purpose, path in purposes:
            self._take(purpose, data, path)
        if self._is_candidate(row):
            found = secrets_in_file(self._table.path(row), data)
            self._contents.secrets += [(self._number, row, one) for one in found]

    def _is_candidate(self, row: int) -> bool:
        # They are in ascending order.
        at = bisect_left(self._candidates, row)
        return at < len(self._candidates) and self._candidates[at] == row

    def _take(self, purpose: Purpose, data: bytes, path: str) -> None:
        if purpose is Purpose.GO:
            if data.startswith(_PROGRAMS):
                _go(self._contents, iter([data]), path, self._number)
        elif purpose in _PARSERS:
            _parse(self._contents, _PARSERS[purpose](data, path), path, self._number)
        else:
            _note(self._contents, purpose, data, path)


def _parse(contents: Contents, packages: Iterator[Package], path: str, layer: int) -> None:
    """Take the packages of a file; of one that is damaged those that came before the damage."""
    try:
        contents.packages.extend(packages)
    except IntegrityError as error:
        kind = "too_large" if isinstance(error, LimitExceeded) else "malformed"
        contents.unread.append(Unread(kind=kind, path=path, reason=error.message, layer=layer))


def _go(contents: Contents, chunks: Iterator[bytes], path: str, layer: int) -> None:
    info = go.build_info(chunks)
    if info is None:
        return
    if info[0]:
        contents.packages.extend(go.go_packages(*info, path))
    else:
        one = Unread(kind="unsupported", path=path, reason=_OLD_GO, layer=layer)
        contents.unread.append(one)


def _note(contents: Contents, purpose: Purpose, data: bytes, path: str) -> None:
    if purpose is Purpose.RELEASE:
        contents.distribution = stanzas.distribution_of(data)
    elif purpose is Purpose.GLIBC:
        match = system.GLIBC_VERSION.search(data)
        if match is not None:
            contents.glibc[path] = match[1].decode()
    elif purpose is Purpose.CERTIFICATES:
        count = data.count(b"-----BEGIN CERTIFICATE-----")
        count += data.count(b"-----BEGIN TRUSTED CERTIFICATE-----")
        if count:
            contents.bundles.append(Bundle(path=path, certificates=count))


def _one(package: Package | None) -> Iterator[Package]:
    if package is not None:
        yield package


_PARSERS: dict[Purpose, Callable[[bytes, str], Iterator[Package]]] = {
    Purpose.DPKG: stanzas.dpkg_packages,
    Purpose.APK: stanzas.apk_packages,
    Purpose.RPM: rpm.rpm_packages,
    Purpose.PYTHON: lambda data, path: _one(stanzas.python_package(data, path)),
    Purpose.NODE: lambda data, path: _one(node.node_package(data, path)),
    Purpose.LOCK: node.locked_packages,
    Purpose.JAVA: java.java_packages,
}
