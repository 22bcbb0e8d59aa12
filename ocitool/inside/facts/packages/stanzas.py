"""Databases of text: the stanzas of dpkg, the records of apk, the header lines of Python."""

from collections.abc import Iterator

from ocitool.inside.facts.packages.package import Distribution, Package, PackageType, tidy

_DPKG = ("package", "status", "version", "architecture", "source")
_APK = "PVAoL"


def lines_of(data: bytes) -> list[str]:
    """Return the lines of a text file; bytes that are not UTF-8 become U+FFFD."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")


def dpkg_packages(data: bytes, path: str) -> Iterator[Package]:
    """Yield the packages of a dpkg status file that are installed.

    In `status.d`, where distroless images have one file for each package, there is no Status.
    """
    for stanza in _stanzas(data):
        words = stanza.get("status", "install ok installed").split()
        name = tidy(stanza.get("package"))
        if name is not None and words[-1:] == ["installed"]:
            yield Package(
                type=PackageType.DEB,
                name=name,
                version=tidy(stanza.get("version")),
                architecture=tidy(stanza.get("architecture")),
                # "Source: glibc (2.36-9)" names another version in brackets.
                source=tidy(stanza.get("source", "").partition("(")[0]),
                path=path,
            )


def _stanzas(data: bytes) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in [*lines_of(data), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            key, colon, value = line.partition(":")
            if colon and (key := key.lower()) in _DPKG:
                fields[key] = value.strip()


def apk_packages(data: bytes, path: str) -> Iterator[Package]:
    """Yield the packages of apk's `installed` (apk-tools, "Installed DB format")."""
    fields: dict[str, str] = {}
    for line in [*lines_of(data), ""]:
        if line:
            if line[1:2] == ":" and line[0] in _APK:
                # Fields of a package come first; those of its files use other letters.
                fields.setdefault(line[0], line[2:].strip())
            continue
        if name := tidy(fields.get("P")):
            yield Package(
                type=PackageType.APK,
                name=name,
                version=tidy(fields.get("V")),
                architecture=tidy(fields.get("A")),
                source=tidy(fields.get("o")),
                license=tidy(fields.get("L")),
                path=path,
            )
        fields = {}


def python_package(data: bytes, path: str) -> Package | None:
    """Return the package of a METADATA or PKG-INFO, None if the file does not name one."""
    fields: dict[str, str] = {}
    for line in lines_of(data):
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields.setdefault(key.lower(), value)
    name = tidy(fields.get("name"))
    if name is None:
        return None
    license_ = fields.get("license-expression") or fields.get("license")
    return Package(
        type=PackageType.PYTHON,
        name=name,
        version=tidy(fields.get("version")),
        license=tidy(license_),
        path=path,
    )


def distribution_of(data: bytes) -> Distribution:
    """Return what an `os-release` says (os-release(5)); unknown lines are skipped."""
    fields: dict[str, str] = {}
    for line in lines_of(data):
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            fields[key.strip()] = value.strip().strip("\"'")
    name = fields.get("PRETTY_NAME") or fields.get("NAME")
    return Distribution(
        id=tidy(fields.get("ID")) or "",
        version=tidy(fields.get("VERSION_ID")) or "",
        name=tidy(name) or "",
    )
