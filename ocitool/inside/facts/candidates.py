"""Which files of the merged tree are worth reading, told by their names and sizes alone."""

from enum import StrEnum

from ocitool.inside.facts.packages import java, node

_GO = 300_000
"""The smallest Go binary, stripped and without `fmt`, has about a megabyte."""


_NAMES = ("METADATA", "PKG-INFO", "package.json", "package-lock.json")
_ENDINGS = frozenset((*java.SUFFIXES, "info"))


class Purpose(StrEnum):
    """What a file is read for."""

    DPKG = "dpkg"
    APK = "apk"
    RPM = "rpm"
    PYTHON = "Python"
    NODE = "Node"
    LOCK = "package-lock"
    GO = "Go"
    JAVA = "Java"
    GLIBC = "glibc"
    CERTIFICATES = "certificates"
    RELEASE = "os-release"


LIMITS = {
    Purpose.DPKG: 64 << 20,
    Purpose.APK: 64 << 20,
    Purpose.RPM: 256 << 20,
    Purpose.PYTHON: 1 << 20,
    Purpose.NODE: node.LARGEST,
    Purpose.LOCK: node.LARGEST,
    Purpose.GO: 2 << 30,
    Purpose.JAVA: java.LARGEST,
    Purpose.GLIBC: 16 << 20,
    Purpose.CERTIFICATES: 16 << 20,
    Purpose.RELEASE: 1 << 20,
}
"""The largest file in bytes that is read for each purpose; larger ones are reported."""


def may_be_of_interest(name: str, size: int, mode: int) -> bool:
    """Tell quickly whether a file may be a C library or tell about packages; often wrongly yes."""
    ending = name[-4:].lower()
    return (
        (size >= _GO and (mode & 0o111 > 0 or ending == ".exe"))
        or ending in _ENDINGS
        or name in _NAMES
        or "libc" in name
        or name.startswith("ld")
    )


def purpose_of(path: str, size: int, mode: int) -> Purpose | None:
    """Return what a regular file may tell about packages, None for most files."""
    name = path.rpartition("/")[2]
    if name in ("METADATA", "PKG-INFO"):
        folder = path.rpartition("/")[0]
        return Purpose.PYTHON if folder.endswith((".dist-info", ".egg-info")) else None
    if name.endswith(".egg-info"):
        return Purpose.PYTHON
    if name == "package.json":
        return Purpose.NODE if node.is_installed(path) else None
    if name == "package-lock.json":
        return None if "node_modules/" in path else Purpose.LOCK
    if name.lower().endswith(java.SUFFIXES):
        return Purpose.JAVA
    if size >= _GO and (mode & 0o111 or name.endswith(".exe")) and ".so" not in name:
        return Purpose.GO
    return None
