"""Files in which the machines of a build leave the digests of what they pushed."""

import json
import os
from collections.abc import Iterator, Sequence

from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted

_LARGEST = 1 << 20
_BUILDX = "containerimage.digest"
"""The key of the digest in a metadata file of buildx."""


def digests_named(folder: str) -> list[str]:
    """Return the digests that the names of the files in a folder are, sorted.

    The name may lack `sha256:`, as in the recipe for buildx. UsageError for another name.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise NotFound(f"{quoted(folder)} cannot be read: {error.strerror}") from error
    if not names:
        raise NotFound(f"{quoted(folder)} has no file whose name is a digest")
    return [_digest(name, f"{folder}/{name}") for name in names]


def read_digest_files(paths: Sequence[str]) -> list[str]:
    """Return the sources in files, or in all files of folders: DIGEST or docker://NAME@DIGEST."""
    found = [text for path in paths for one in _files(path) for text in _sources(one)]
    if not found:
        raise UsageError(f"{', '.join(map(quoted, paths))}: found no digest there")
    return found


def _files(path: str) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in sorted(os.listdir(path))]
    return [path]


def _sources(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"{quoted(path)} cannot be read: {getattr(error, 'strerror', 'it is not text')}",
            hint="`ocitool push --digestfile F` writes such a file",
        ) from error
    if text.lstrip().startswith("{"):
        yield _of_buildx(text, path)
        return
    for line in text.split():
        name, at, digest = line.rpartition("@")
        parsed = _digest(digest, path)
        yield f"docker://{name.removeprefix('docker://')}@{parsed}" if at else parsed


def _of_buildx(text: str, path: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    digest = fields.get(_BUILDX) if isinstance(fields, dict) else None
    return _digest(str(digest), path)


def _digest(text: str, where: str) -> str:
    whole = text if ":" in text else f"sha256:{text}"
    try:
        return str(Digest.parse(whole))
    except OcitoolError:
        raise UsageError(f"{quoted(where)}: {quoted(text[:80])} is not a digest") from None
