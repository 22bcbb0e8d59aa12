"""ocitool and everything it needs as one file that a bare Python runs.

Compiled modules cannot be imported from a zip, so the file unpacks itself into the user's cache
when it runs for the first time.
"""

import hashlib
import importlib.machinery
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from msgspec import Struct

import ocitool
from ocitool.errors import NotFound, Refused, Unavailable, UsageError
from ocitool.fsops import scratch_folder
from ocitool.fsops.output import OutputFile
from ocitool.places.engine.tools import ask_tool
from ocitool.version import __version__

_SHEBANG = b"#!/usr/bin/env python3\n"
# What runs first must compile on Python 2 as well, to say which Python is needed.
_START = """import sys

if sys.version_info < (3, 6):
    sys.exit(
        "ocitool: this file is for PYTHONS; " + sys.executable + " is Python "
        + sys.version.split()[0]
    )
from zipapp_main import start

start()
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"(3)\.([0-9]{1,2})")
_SECONDS = 600
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("INSTALLER", "REQUESTED", "direct_url.json")


class OneFile(Struct, frozen=True, kw_only=True):
    """The file that was written: its size in bytes, the Pythons that run it, and what is in it."""

    path: str
    size: int
    version: str
    pythons: tuple[str, ...]
    distributions: tuple[str, ...]


def write_zipapp(path: str, pythons: Sequence[str] = ()) -> OneFile:
    """Write the file; the same installation gives the same bytes.

    It runs with the Python that runs now, and with each of `pythons`, such as "3.13": their
    compiled modules are downloaded with pip. Refused when a package that ocitool needs is not
    installed in the usual way, or for a Python older than this one, which may need further
    packages; Unavailable when pip fails.
    """
    needed = dict(sorted(_needed("ocitool").items()))
    files = dict(_files(needed))
    versions = [_current(), *(text for text in pythons if text != _current())]
    for version in versions[1:]:
        files |= _compiled_for(version, needed)
    data = _zip(dict(sorted(files.items())), versions)
    output = OutputFile(path, executable=True)
    try:
        output.write(data)
        output.publish()
    finally:
        output.close()
    return OneFile(
        path=path,
        size=len(data),
        version=__version__,
        pythons=tuple(f"python{version}" for version in versions),
        distributions=tuple(f"{name} {one.version}" for name, one in needed.items()),
    )


def _current() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _compiled_for(version: str, needed: Mapping[str, metadata.Distribution]) -> dict[str, bytes]:
    """Return the compiled modules that another Python needs, by their paths.

    Their names have the version in them, so those of several Pythons stand side by side.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise UsageError(f"{version!r} is not a version of Python", hint="write it like 3.13")
    wanted = int(found[1]), int(found[2])
    if wanted < (least := _least(needed["ocitool"])):
        raise UsageError(
            f"ocitool {__version__} needs Python {least[0]}.{least[1]} or later; "
            f"it does not run with Python {version}"
        )
    if wanted < sys.version_info[:2]:
        raise Refused(
            f"this Python is {_current()}; an older one, such as {version}, may need more packages",
            hint=f"run `ocitool zipapp` with Python {version}, and name the newer ones there",
        )
    compiled = [
        f"{name}=={one.version}"
        for name, one in needed.items()
        if any(file.suffix == ".so" for file in one.files or ())
    ]
    with scratch_folder(None) as folder:
        _download(compiled, version, folder)
        return {
            name: content
            for wheel in sorted(Path(folder).glob("*.whl"))
            for name, content in _modules(wheel)
        }


def _least(one: metadata.Distribution) -> tuple[int, int]:
    """Return the oldest version of Python that a distribution says it runs with."""
    found = re.search(r">=\s*(3)\.([0-9]+)", one.metadata["Requires-Python"] or "")
    return (int(found[1]), int(found[2])) if found else (3, 0)


def _modules(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                yield name, archive.read(name)


def _download(requirements: Sequence[str], version: str, folder: str) -> None:
    """Download wheels for another Python on the same kind of machine."""
    machine = os.uname().machine
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(40, 16, -1)]
    platforms = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    options += [f"--python-version={version}", *platforms]
    try:
        ask_tool(sys.executable, "-m", "pip", "download", *options, *requirements, seconds=_SECONDS)
    except (NotFound, Unavailable) as error:
        raise Unavailable(
            f"what Python {version} needs cannot be downloaded: {error.message}",
            hint="this needs pip and its index; without --python the file runs with "
            f"Python {_current()} alone",
        ) from error


def _needed(name: str) -> dict[str, metadata.Distribution]:
    """Return a distribution and all that it needs, by their names."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(name, False)]
    while waiting:
        wanted, is_conditional = waiting.pop()
        key = re.sub(r"[-_.]+", "-", wanted).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(wanted)
        except metadata.PackageNotFoundError:
            if is_conditional:
                continue
            raise Refused(
                f"the package {wanted} is not installed as a package",
                hint="install ocitool with pip, pipx or uv, and run it from there",
            ) from None
        waiting += _requirements(found[key])
    return found


def _requirements(one: metadata.Distribution) -> Iterator[tuple[str, bool]]:
    """Yield what a distribution needs, and whether only under some condition."""
    for text in one.requires or ():
        requirement, _, condition = text.partition(";")
        name = _NAME.match(requirement.strip())
        if name is not None and "extra" not in condition:
            yield name.group(), bool(condition.strip())


def _files(needed: dict[str, metadata.Distribution]) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of every file."""
    package = Path(ocitool.__file__).parent
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            yield str(path.relative_to(package.parent)), path.read_bytes()
    for name, one in needed.items():
        if one.files is None:
            raise Refused(f"the package {name} does not list its files")
        for file in one.files:
            is_ours = name == "ocitool" and ".dist-info" not in str(file)
            is_elsewhere = str(file).startswith((".", "/")) or not Path(file.locate()).is_file()
            if not (is_ours or is_elsewhere or file.suffix == ".pyc" or file.name in _LEFT_OUT):
                yield str(file), file.read_binary()


def _suffix(version: str) -> str:
    """Return the ending of compiled modules for a Python on this kind of machine."""
    here = importlib.machinery.EXTENSION_SUFFIXES[0]
    return here.replace(f"-{_current().replace('.', '')}-", f"-{version.replace('.', '')}-")


def _zip(files: dict[str, bytes], versions: Sequence[str]) -> bytes:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    about = {
        "key": digest.hexdigest()[:16],
        "pythons": list(versions),
        "suffixes": [_suffix(version) for version in versions],
    }
    pythons = ", ".join(f"python{version}" for version in versions)
    main = (Path(ocitool.__file__).parent / "zipapp_main.py").read_bytes()
    first = {
        "__main__.py": _START.replace("PYTHONS", pythons).encode(),
        "zipapp_main.py": main,
        "zipapp.json": json.dumps(about, indent=2).encode(),
    }
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**first, **files}.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return buffer.getvalue()
