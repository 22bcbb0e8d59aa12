"""One installed package, and its name in the words of the package-URL specification."""

import re
from enum import StrEnum
from urllib.parse import quote

from msgspec import Struct

_SEPARATORS = re.compile(r"[-_.]+")
_LONGEST = 256


class PackageType(StrEnum):
    """The kinds of packages that are read, by their type in a package URL."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYTHON = "pypi"
    NODE = "npm"
    GO = "golang"
    JAVA = "maven"


_OF_A_SYSTEM = (PackageType.DEB, PackageType.APK, PackageType.RPM)


class Package(Struct, frozen=True, kw_only=True):
    """A package that the merged tree has installed.

    `group` is a Java group or a Node scope with its "@". `version` is None if it is not recorded,
    and holds the epoch of a deb; that of an rpm is `epoch`. `source` is the source package.
    `path` is the file that says so: a database, a METADATA, a binary, an archive.
    """

    type: PackageType
    name: str
    version: str | None = None
    path: str = ""
    group: str | None = None
    architecture: str | None = None
    epoch: int | None = None
    source: str | None = None
    license: str | None = None

    @property
    def full_name(self) -> str:
        """The name with its group, as its own tools write it."""
        separator = ":" if self.type is PackageType.JAVA else "/"
        return f"{self.group}{separator}{self.name}" if self.group else self.name


class Distribution(Struct, frozen=True, kw_only=True):
    """What `os-release` says; each is "" where it says nothing."""

    id: str = ""
    version: str = ""
    name: str = ""


def package_url(package: Package, distribution: Distribution | None = None) -> str:
    """Return the package URL (purl-spec, "purl-types"); debs, apks and rpms name `distribution`."""
    kind = package.type
    name, namespace = package.name, package.group or ""
    if kind is PackageType.PYTHON:
        name = _SEPARATORS.sub("-", name).lower()
    elif kind is PackageType.GO:
        namespace, _, name = name.lower().rpartition("/")
    elif kind in _OF_A_SYSTEM:
        namespace = distribution.id if distribution is not None else ""
    parts = [kind.value, *(part for part in namespace.split("/") if part), name]
    url = "pkg:" + "/".join(quote(part, safe=".-_~") for part in parts)
    if package.version:
        url += "@" + quote(package.version, safe=".-_~:")
    return url + _qualifiers(package, distribution)


def _qualifiers(package: Package, distribution: Distribution | None) -> str:
    found = {"arch": package.architecture or ""}
    if package.type in _OF_A_SYSTEM and distribution is not None and distribution.id:
        version = f"-{distribution.version}" if distribution.version else ""
        found["distro"] = f"{distribution.id}{version}"
    if package.epoch:
        found["epoch"] = str(package.epoch)
    if package.source and package.type in _OF_A_SYSTEM and package.source != package.name:
        found["upstream"] = package.source
    pairs = [f"{key}={quote(value, safe='.-_~:')}" for key, value in sorted(found.items()) if value]
    return f"?{'&'.join(pairs)}" if pairs else ""


def tidy(text: str | None) -> str | None:
    """Return a field of a package database as one short line, None where nothing is left."""
    line = " ".join((text or "").split(maxsplit=64))[:_LONGEST]
    return line or None
