"""What kind of system an image is: shells, package managers, C library, certificates, class."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from ocitool.inside.facts.packages.package import Package, PackageType
from ocitool.inside.facts.report import ImageClass, Library, Program
from ocitool.inside.facts.words import words
from ocitool.oci.amounts import counted

FOLDERS = (
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/local/bin",
    "usr/local/sbin",
    "busybox",
    "usr/lib/busybox",
)
"""Where programs are, beside what the PATH of the image's configuration names."""
SHELLS = words(
    "sh bash dash ash zsh ksh mksh oksh lksh yash fish csh tcsh rbash busybox toybox pwsh "
    "powershell nu xonsh elvish rksh"
)
MANAGERS = words(
    "apt apt-get aptitude dpkg apk dnf dnf5 microdnf yum tdnf rpm zypper pacman opkg xbps-install "
    "emerge swupd nix-env urpmi brew slackpkg"
)
CERTIFICATES = (
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
    "etc/certs/ca-certificates.crt",
    "usr/share/ssl/certs/ca-bundle.crt",
    "usr/local/share/certs/ca-root-nss.crt",
    "etc/openssl/certs/ca-certificates.crt",
)
"""Where programs look for trusted certificates (Go's crypto/x509/root_linux.go, OpenSSL)."""
ZONES = ("usr/share/zoneinfo", "usr/lib/zoneinfo", "usr/share/lib/zoneinfo", "etc/zoneinfo")
RELEASES = ("etc/os-release", "usr/lib/os-release", "etc/initrd-release")

_LIBRARIES = (
    ("glibc", re.compile(r"libc\.so\.6|libc-\d[\d.]*\.so|ld-linux.*\.so\.\d+")),
    ("musl", re.compile(r"ld-musl-.+\.so\.1|libc\.musl-.+\.so\.1")),
    ("uClibc", re.compile(r"ld(64)?-uClibc.*\.so.*|libuClibc.*\.so.*")),
)
_PACKAGED = {"glibc": ("libc6", "glibc", "glibc-common"), "musl": ("musl",)}
GLIBC_VERSION = re.compile(
    rb"GNU C Library [^\n]{0,80}?(?:stable|development) release version (\d+\.\d+)"
)
_FIRST = ("libc.so.6", "libc-")


def c_library_name(name: str) -> str | None:
    """Return the C library that a file of this name belongs to, None for others."""
    return next((library for library, form in _LIBRARIES if form.fullmatch(name)), None)


def c_libraries(
    paths: Iterable[str], packages: Iterable[Package], versions: dict[str, str]
) -> tuple[Library, ...]:
    """Return one value a library, for the file that is the library itself rather than its loader.

    `versions` are what the files themselves say, by their paths.
    """
    best: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (not _is_library(path), len(path), path)):
        name = c_library_name(path.rpartition("/")[2])
        if name is not None:
            best.setdefault(name, path)
    known = {package.name: package.version for package in packages if _of_a_system(package)}
    found = []
    for name, path in best.items():
        packaged = (known.get(package) for package in _PACKAGED.get(name, ()))
        version = next((one for one in packaged if one), None) or versions.get(path)
        found.append(Library(name=name, path=path, version=version))
    return tuple(sorted(found, key=lambda one: one.name))


def _is_library(path: str) -> bool:
    return path.rpartition("/")[2].startswith(_FIRST)


def _of_a_system(package: Package) -> bool:
    return package.type in (PackageType.DEB, PackageType.APK, PackageType.RPM)


def program_folders(environment: Sequence[str]) -> list[str]:
    """Return the folders in which programs are looked for, the usual ones and those of PATH."""
    path = next((one[5:] for one in environment if one.startswith("PATH=")), "")
    named = [part.strip("/") for part in path.split(":") if part.startswith("/")]
    return list(dict.fromkeys([*FOLDERS, *named]))


class Located(Struct, frozen=True):
    """Where a path leads: the file behind its links, and its inode (layer and row)."""

    file: str
    inode: tuple[int, int]


def programs(
    names: Iterable[str], folders: Sequence[str], locate: Callable[[str], Located | None]
) -> dict[Program, Located]:
    """Return the programs that are there, one a name and inode: `usr/bin/sh` may be `bin/sh` again.

    `locate` returns None where no file that can be run is.
    """
    found: dict[tuple[str, tuple[int, int]], tuple[Program, Located]] = {}
    for name in names:
        for folder in folders:
            path = f"{folder}/{name}" if folder else name
            place = locate(path)
            if place is not None:
                program = Program(name=name, path=path, file=place.file)
                found.setdefault((name, place.inode), (program, place))
    return dict(found.values())


def without_applets(
    managers: Mapping[Program, Located], shells: Mapping[Program, Located]
) -> tuple[Program, ...]:
    """Return the package managers that are more than a name of busybox, which has a small rpm."""
    boxes = {place.inode for shell, place in shells.items() if shell.name in ("busybox", "toybox")}
    return tuple(program for program, place in managers.items() if place.inode not in boxes)


def classify(
    *,
    shells: Sequence[Program],
    managers: Sequence[Program],
    libraries: Sequence[Library],
    packages: Iterable[Package],
    system: str,
) -> tuple[ImageClass, tuple[str, ...]]:
    """Return the class of an image and why.

    With a shell and a package manager it is a full operating system, with one of them minimal.
    Without both it is like distroless if it has a distribution's files, else made from scratch.
    """
    count = sum(_of_a_system(package) for package in packages)
    reasons = [
        _having("shell", shells),
        _having("package manager", managers),
        f"{' and '.join(one.name for one in libraries)}" if libraries else "no C library",
    ]
    if count:
        reasons.append(f"a database of {counted(count, 'package')}")
    if system:
        reasons.append(f"os-release of {system}")
    if shells and managers:
        kind = ImageClass.FULL
    elif shells or managers:
        kind = ImageClass.MINIMAL
    elif libraries or count or system:
        kind = ImageClass.DISTROLESS
    else:
        kind = ImageClass.SCRATCH
    return kind, tuple(reasons)


def _having(what: str, found: Sequence[Program]) -> str:
    if not found:
        return f"no {what}"
    names = list(dict.fromkeys(program.name for program in found))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}"
