"""Node packages: the package.json of what is in node_modules, and package-lock.json."""

from collections.abc import Iterator, Mapping

from ocitool.errors import OcitoolError
from ocitool.inside.facts.packages.package import Package, PackageType, tidy
from ocitool.oci import document

LARGEST = 32 << 20
"""Bytes of a file that is read; a lock file of some thousand packages has a few megabytes."""
_FOLDER = "node_modules/"
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which npm skips."""


def is_installed(path: str) -> bool:
    """Tell whether a path is the package.json of a package in node_modules."""
    inside = path.rpartition(_FOLDER)[2]
    names = inside.split("/")
    return inside != path and len(names) == (3 if inside[:1] == "@" else 2)


def node_package(data: bytes, path: str) -> Package | None:
    """Return the package of a package.json; None if it has no name or is no JSON object."""
    try:
        data = data.removeprefix(_MARK)
        fields = document.decode_object(data, what="package.json", limit=LARGEST)
    except OcitoolError:
        return None
    return _package(fields.get("name"), fields, path)


def locked_packages(data: bytes, path: str) -> Iterator[Package]:
    """Yield what a package-lock.json installs for production (npm docs, "package-lock.json").

    MalformedDocument or LimitExceeded for a file that cannot be read.
    """
    data = data.removeprefix(_MARK)
    fields = document.decode_object(data, what="package-lock.json", limit=LARGEST)
    packages = fields.get("packages")
    if isinstance(packages, Mapping):
        entries = [(key.rpartition(_FOLDER)[2], one) for key, one in packages.items() if key]
    else:
        entries = list(_nested(fields.get("dependencies")))
    for name, one in entries:
        if isinstance(one, Mapping) and not one.get("dev") and not one.get("link"):
            package = _package(one.get("name", name), one, path)
            if package is not None:
                yield package


def _nested(value: object) -> Iterator[tuple[str, object]]:
    """Yield the dependencies of the first form of a lock file, where they are nested."""
    stack = [value]
    while stack:
        entries = stack.pop()
        if isinstance(entries, Mapping):
            for name, one in entries.items():
                yield name, one
                stack.append(one.get("dependencies") if isinstance(one, Mapping) else None)


def _package(name: object, fields: Mapping[str, object], path: str) -> Package | None:
    version, license_ = fields.get("version"), fields.get("license")
    full = tidy(name) if isinstance(name, str) else None
    if full is None:
        return None
    scope, slash, rest = full.partition("/")
    if isinstance(license_, Mapping):
        license_ = license_.get("type")
    return Package(
        type=PackageType.NODE,
        name=rest if slash else full,
        group=scope if slash else None,
        version=tidy(version) if isinstance(version, str) else None,
        license=tidy(license_) if isinstance(license_, str) else None,
        path=path,
    )
