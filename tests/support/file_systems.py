"""What a file system holds, path by path: one in a folder on the disk, and a merged tree."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ocitool.image.layers import EntryKind
from ocitool.inside.image import Inside
from ocitool.inside.tree import Node

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
}


class Thing(NamedTuple):
    """What is at a path. `mode` and `owner` are None where no member of a layer tells them.

    `content` is the SHA-256 of a file, `names` are all names of it, `target` is where a link leads.
    """

    kind: str
    mode: int | None
    owner: tuple[int, int] | None
    size: int
    target: str | None
    device: tuple[int, int] | None
    content: str | None
    names: tuple[str, ...]


Things = dict[str, Thing]


def things_on_disk(root: Path) -> Things:
    """Return everything below a folder by its path, which is relative to it."""
    found: Things = {}
    names: dict[int, list[str]] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            full = os.path.join(folder, name)
            path = os.fsdecode(os.path.relpath(full, os.fsencode(root)))
            status = os.lstat(full)
            if not stat.S_ISDIR(status.st_mode):
                names.setdefault(status.st_ino, []).append(path)
            found[path] = _on_disk(full, status)
    return _with_names(found, names.values())


def _on_disk(full: bytes, status: os.stat_result) -> Thing:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    is_file, is_link = kind == "file", kind == "symlink"
    device = None
    if kind.endswith("device"):
        device = os.major(status.st_rdev), os.minor(status.st_rdev)
    content = None
    if is_file:
        with open(full, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return Thing(
        kind=kind,
        mode=None if is_link else stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        size=status.st_size if is_file else 0,
        target=os.fsdecode(os.readlink(full)) if is_link else None,
        device=device,
        content=content,
        names=(),
    )


def things_inside(inside: Inside) -> Things:
    """Return everything in the merged tree by its path; the contents must have been hashed."""
    found: Things = {}
    names: dict[tuple[int, int | None], list[str]] = {}
    for node in inside.tree.walk():
        if not node.path:
            continue
        if not node.is_folder:
            names.setdefault((node.layer, node.row), []).append(node.path)
        found[node.path] = _in_tree(inside, node)
    return _with_names(found, names.values())


def _in_tree(inside: Inside, node: Node) -> Thing:
    table = inside.layer(node.layer).table if node.row is not None else None
    is_file = node.kind is EntryKind.FILE
    content = table.digest(node.row) if is_file and table and node.row is not None else None
    return Thing(
        kind=node.kind.value,
        mode=None if node.kind is EntryKind.SYMLINK or node.row is None else node.mode,
        owner=None if node.row is None else (node.uid, node.gid),
        size=node.size,
        target=node.link,
        device=node.device,
        content=content.hex() if content is not None else None,
        names=(),
    )


def _with_names(found: Things, groups: Iterable[list[str]]) -> Things:
    for group in groups:
        for path in group:
            found[path] = found[path]._replace(names=tuple(sorted(group)))
    return found


def agree(found: Things, real: Things) -> Things:
    """Return `real` without what `found` does not know: modes and owners that no member tells."""
    return {
        path: thing._replace(mode=None, owner=None)
        if path in found and found[path].owner is None
        else thing
        for path, thing in real.items()
    }
