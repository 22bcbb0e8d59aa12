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
_NAME = re.compile(r"(?P<name>[A-Za-z][\w.+-]*?)-(?P<version>\d[\w.+-]*)")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
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
    left = LARGEST
    archive = _opened(data)
    found = False
    for package in _packages_in(archive, path):
        found = True
        yield package
    inner = [one for one in archive.infolist() if one.filename.lower().endswith(SUFFIXES)]
    for member in inner:
        left -= member.file_size
        if left < 0:
            raise LimitExceeded(f"the jars inside it have more than {LARGEST} bytes")
        try:
            nested = _opened(_read(archive, member, member.file_size))
        except MalformedArchive:
            continue
        yield from _packages_in(nested, f"{path}!/{member.filename}")
    named = _from_name(path) if not found and not inner else None
    if named is not None:
        yield named


def _opened(data: bytes) -> zipfile.ZipFile:
    # zipfile makes an object of each entry, so the directory is measured before it is read.
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0 or len(data) - end < 22:
        raise MalformedArchive("it is not a zip archive")
    if max(_directory_sizes(data, end)) > _DIRECTORY:
        raise LimitExceeded(f"its directory has more than {_DIRECTORY} bytes")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise MalformedArchive(f"it is a damaged zip archive: {type(error).__name__}") from None


def _directory_sizes(data: bytes, end: int) -> Iterator[int]:
    yield int.from_bytes(data[end + 12 : end + 16], "little")
    if data[end - 20 : end - 16] == b"PK\x06\x07":
        yield int.from_bytes(data[end - 36 : end - 28], "little")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the first bytes of a member, at most `limit`: its size in the directory may lie."""
    try:
        with archive.open(member) as file:
            return file.read(limit)
    except _BROKEN as error:
        raise MalformedArchive(f"{type(error).__name__} in a member of it") from None


def _packages_in(archive: zipfile.ZipFile, path: str) -> Iterator[Package]:
    """Yield the packages that pom.properties name, or the one of the manifest."""
    names = archive.namelist()
    poms = [
        name
        for name in names
        if name.startswith("META-INF/maven/") and name.endswith("/pom.properties")
    ]
    found = False
    for pom in poms:
        fields = _properties(_member_text(archive, pom))
        if fields.get("artifactId"):
            found = True
            yield _package(fields["artifactId"], fields.get("version"), fields.get("groupId"), path)
    if found or "META-INF/MANIFEST.MF" not in names:
        return
    package = _from_manifest(_member_text(archive, "META-INF/MANIFEST.MF"), path)
    if package is not None:
        yield package


def _member_text(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return _read(archive, archive.getinfo(name), _TEXT)
    except MalformedArchive:
        return b""


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
