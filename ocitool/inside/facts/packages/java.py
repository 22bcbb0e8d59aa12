"""Java archives: the Maven coordinates and the manifest of a jar and of the jars inside it."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.inside.facts.packages.package import Package, PackageType, tidy
from ocitool.inside.facts.packages.stanzas import lines_of

SUFFIXES = (".jar", ".war", ".ear", ".jpi", ".hpi", ".par", ".sar", ".nar", ".kar")
LARGEST = 128 << 20
"""Bytes of an archive that is read, and of the jars inside it together."""
_DIRECTORY = 32 << 20
_TEXT = 1 << 20
_MEMBER = 256
"""What reading an empty member is counted as."""
_MANIFEST = "META-INF/MANIFEST.MF"
_NAME = re.compile(r"(?P<name>[A-Za-z][\w.+-]*?)-(?P<version>\d[\w.+-]*)")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    ValueError,
    EOFError,
    OverflowError,
    LookupError,
    OSError,
)
"""What `zipfile` raises for archives that are damaged, encrypted or unusual."""


def java_packages(data: bytes, path: str) -> Iterator[Package]:
    """Yield the packages of an archive and, one level deep, of the jars inside it.

    Raises MalformedArchive for what is no zip, and LimitExceeded; maybe after some packages.
    """
    archive = _Archive(data, path, _Budget())
    found = False
    for package in archive.packages():
        found = True
        yield package
    inner = archive.inner()
    for member in inner:
        try:
            nested = archive.nested(member)
        except MalformedArchive:
            continue
        yield from nested.packages()
    named = _from_name(path) if not found and not inner else None
    if named is not None:
        yield named


class _Budget:
    """How much may still be unpacked: entries of a zip may share their data, and lie."""

    def __init__(self) -> None:
        self._left = LARGEST

    def spend(self, count: int) -> None:
        """Count some bytes; LimitExceeded if these were too many."""
        self._left -= count + _MEMBER
        if self._left < 0:
            raise LimitExceeded(f"what has to be read inside it has more than {LARGEST} bytes")


class _Archive:
    """One zip archive. Raises MalformedArchive for what is none, LimitExceeded for a huge one."""

    def __init__(self, data: bytes, path: str, budget: _Budget) -> None:
        # zipfile makes an object of each entry, so the directory is measured before it is read.
        end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
        if end < 0 or len(data) - end < 22:
            raise MalformedArchive("it is not a zip archive")
        size = max(_directory_sizes(data, end))
        if size > _DIRECTORY:
            raise LimitExceeded(f"its directory has more than {_DIRECTORY} bytes")
        budget.spend(size)
        self._path = path
        self._budget = budget
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _BROKEN as error:
            kind = type(error).__name__
            raise MalformedArchive(f"it is a damaged zip archive: {kind}") from None

    def inner(self) -> list[zipfile.ZipInfo]:
        """Return the archives inside this one."""
        return [one for one in self._zip.infolist() if one.filename.lower().endswith(SUFFIXES)]

    def nested(self, member: zipfile.ZipInfo) -> "_Archive":
        """Open one of them."""
        data = self._read(member, member.file_size)
        return _Archive(data, f"{self._path}!/{member.filename}", self._budget)

    def packages(self) -> Iterator[Package]:
        """Yield the packages that pom.properties name, else the one of the manifest."""
        found = False
        for member in self._zip.infolist():
            name = member.filename
            if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                fields = _properties(self._text(member))
                if fields.get("artifactId"):
                    found = True
                    group, version = fields.get("groupId"), fields.get("version")
                    yield _package(fields["artifactId"], version, group, self._path)
        if not found and _MANIFEST in self._zip.NameToInfo:
            text = self._text(self._zip.NameToInfo[_MANIFEST])
            package = _from_manifest(text, self._path)
            if package is not None:
                yield package

    def _text(self, member: zipfile.ZipInfo) -> bytes:
        try:
            return self._read(member, min(member.file_size, _TEXT))
        except MalformedArchive:
            return b""

    def _read(self, member: zipfile.ZipInfo, limit: int) -> bytes:
        """Return the first bytes of a member, at most `limit`: its size may be a lie."""
        self._budget.spend(limit)
        try:
            with self._zip.open(member) as file:
                return file.read(limit)
        except _BROKEN as error:
            raise MalformedArchive(f"{type(error).__name__} in a member of it") from None


def _directory_sizes(data: bytes, end: int) -> Iterator[int]:
    yield int.from_bytes(data[end + 12 : end + 16], "little")
    if data[end - 20 : end - 16] == b"PK\x06\x07":
        yield int.from_bytes(data[end - 36 : end - 28], "little")


def _properties(data: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines_of(data) if not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def manifest_fields(data: bytes) -> dict[str, str]:
    """Return the main section of a MANIFEST.MF; a line that begins with a space goes on."""
    fields: dict[str, str] = {}
    key = ""
    for line in lines_of(data):
        if not line.strip():
            break
        if line.startswith(" "):
            fields[key] = fields.get(key, "") + line[1:].rstrip()
            continue
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


def _from_manifest(data: bytes, path: str) -> Package | None:
    fields = manifest_fields(data)
    by_file = _from_name(path)
    name = fields.get("Bundle-SymbolicName", "").partition(";")[0]
    group = fields.get("Implementation-Vendor-Id")
    version = fields.get("Implementation-Version") or fields.get("Bundle-Version")
    if by_file is not None:
        return _package(by_file.name, by_file.version or version, group, path)
    title = fields.get("Implementation-Title") or name
    if not title or " " in title or "$" in title + (version or ""):
        title = ""
    return _package(title, version, group, path) if title and version else None


def _from_name(path: str) -> Package | None:
    """Return the package that the name of a jar tells, such as guava-33.0-jre.jar."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    match = _NAME.fullmatch(stem)
    return _package(match["name"], match["version"], None, path) if match else None


def _package(name: str, version: str | None, group: str | None, path: str) -> Package:
    return Package(
        type=PackageType.JAVA,
        name=tidy(name) or "?",
        version=tidy(version),
        group=tidy(group),
        path=path,
    )
