"""Taking files out of an image: into memory, a tar, or a folder on the disk."""

import hashlib
import os
from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import (
    DigestMismatch,
    NotFound,
    Refused,
    UsageError,
)
from ocitool.fsops import Directory, staging_folder, sync_file_system
from ocitool.image.layers import EntryKind, Extracted, Extraction
from ocitool.inside.content import read_member
from ocitool.inside.image import Inside
from ocitool.inside.problems import BROKEN
from ocitool.inside.tarring import merged_tar
from ocitool.inside.tree import Node
from ocitool.oci.quoting import quoted


class Taken(Struct, frozen=True, kw_only=True):
    """What was taken out of an image, and where it is now. `kind` is that of the path itself."""

    path: str
    kind: EntryKind
    destination: str
    extracted: Extracted


def require_layers(inside: Inside) -> None:
    """Raise unless all layers that were looked at could be read.

    Without one of them a path may lead to a file that a container does not see.
    """
    for problem in inside.unread:
        below = f"--up-to {problem.layer - 1} takes the layers below"
        raise BROKEN.get(problem.kind, Refused)(
            f"layer {problem.layer} cannot be read: {problem.text}",
            hint=below if problem.layer > 1 else None,
        )


def read_file(inside: Inside, path: str) -> Iterator[bytes]:
    """Return the content of a file, links followed, in pieces.

    NotFound if nothing is there, UsageError for what has no content, such as a folder.
    """
    node = inside.tree.find(path)
    if node.kind is not EntryKind.FILE or node.row is None:
        hint = (
            "`ocitool files ls` lists it, `ocitool files cp` copies it" if node.is_folder else None
        )
        raise UsageError(f"{quoted('/' + node.path)} is a {node.kind}", hint=hint)
    digest = inside.table(node.layer).digest(node.row)
    content = read_member(inside, node.layer, node.row)
    return content if digest is None else _verified(content, digest, node.path)


def _verified(content: Iterator[bytes], digest: bytes, path: str) -> Iterator[bytes]:
    """Yield the content of a file; DigestMismatch at its end unless it is what the table says."""
    hasher = hashlib.sha256()
    for part in content:
        hasher.update(part)
        yield part
    if hasher.digest() != digest:
        raise DigestMismatch(f"the content of {quoted('/' + path)} is damaged")


def take_tar(inside: Inside, path: str, *, called: str | None = None) -> Iterator[bytes]:
    """Return a tar with what is at a path and below it, links followed.

    It has the name that the path ends with, or that of `called`, a path too. The root of the image
    has none: of it, the names are those of the image.
    """
    node = inside.tree.find(path)
    return merged_tar(inside, node, _name(called or path, node))


def take(
    inside: Inside,
    path: str,
    destination: str,
    *,
    called: str | None = None,
    overwrite: bool = False,
) -> Taken:
    """Copy what is at a path, links followed, with everything below it; return where it is.

    In an existing folder it gets the name that the path, or `called`, ends with, else `destination`
    is its name. It appears whole or not at all. Owners, set-user-ID bits, extended attributes and
    devices are left out, and links below a folder are kept as they are. Nothing outside the
    destination is written.

    Refused if something is there, unless `overwrite`: that replaces a file by a file. NotFound if
    nothing is at the path, or if there is no folder to put it into.
    """
    node = inside.tree.find(path)
    folder_path, name = _target(destination, _name(called or path, node))
    with Directory.open(folder_path) as folder:
        _check_free(folder, name, node, overwrite=overwrite)
        with staging_folder(folder) as staging:
            with Extraction(staging) as extraction:
                extraction.tar(merged_tar(inside, node, name, fill_holes=True))
                extracted = extraction.finish()
            if staging.kind(name) is None:
                raise UsageError(f"{quoted('/' + node.path)} is a {node.kind}, which is not copied")
            sync_file_system(staging)
            staging.move(name, folder)
            folder.sync()
    where = os.path.join(folder_path, name) if folder_path != "." else name
    return Taken(path=node.path, kind=node.kind, destination=where, extracted=extracted)


def _name(path: str, node: Node) -> str:
    """Return the last component of a path as it was asked for; of a dot, of where it leads."""
    name = path.rstrip("/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else node.name


def _target(destination: str, name: str) -> tuple[str, str]:
    """Return the folder to copy into, and the name to give there."""
    if os.path.isdir(destination) and name:
        return destination, name
    above, _, last = destination.rstrip("/").rpartition("/")
    if last in ("", ".", ".."):
        raise UsageError(
            f"{quoted(destination)} is there already", hint="name a new folder for the whole image"
        )
    folder = above or ("/" if destination.startswith("/") else ".")
    if not os.path.isdir(folder):
        raise NotFound(f"there is no folder {quoted(folder)} to copy into")
    return folder, last


def _check_free(folder: Directory, name: str, node: Node, *, overwrite: bool) -> None:
    kind = folder.kind(name)
    if kind is None:
        return
    where = quoted(folder.child(name))
    if kind == "folder" or node.is_folder:
        raise Refused(f"{where} is there already, and folders are not merged", hint="move it away")
    if kind not in ("file", "link"):
        raise Refused(
            f"{where} is a device, a pipe or a socket, and is not replaced",
            hint="`ocitool files cat` prints the file, which can be written into it",
        )
    if not overwrite:
        raise Refused(f"{where} is there already", hint="--force replaces it")
