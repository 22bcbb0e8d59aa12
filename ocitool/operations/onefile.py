"""ocitool and everything it needs as one file that a bare Python runs.

Compiled modules cannot be imported from a zip, so the file unpacks itself into the user's cache
when it runs for the first time.
"""

import hashlib
import importlib.machinery
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from msgspec import Struct

import ocitool
from ocitool.errors import Refused
from ocitool.fsops.output import OutputFile
from ocitool.version import __version__

_SHEBANG = b"#!/usr/bin/env python3\n"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("INSTALLER", "REQUESTED", "direct_url.json")


class OneFile(Struct, frozen=True, kw_only=True):
    """The file that was written: its size in bytes, the Python that runs it, and what is in it."""

    path: str
    size: int
    version: str
    python: str
    distributions: tuple[str, ...]


def write_zipapp(path: str) -> OneFile:
    """Write the file; the same installation gives the same bytes.

    Refused when a package that ocitool needs is not installed in the usual way.
    """
    needed = dict(sorted(_needed("ocitool").items()))
    files = dict(sorted(_files(needed)))
    data = _zip(files)
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
        python=_python(),
        distributions=tuple(f"{name} {one.version}" for name, one in needed.items()),
    )


def _python() -> str:
    return f"python{sys.version_info[0]}.{sys.version_info[1]}"


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


def _zip(files: dict[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    about = {
        "key": digest.hexdigest()[:16],
        "python": _python(),
        "suffix": importlib.machinery.EXTENSION_SUFFIXES[0],
    }
    main = (Path(ocitool.__file__).parent / "zipapp_main.py").read_bytes()
    first = {"__main__.py": main, "zipapp.json": json.dumps(about, indent=2).encode()}
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**first, **files}.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return buffer.getvalue()
