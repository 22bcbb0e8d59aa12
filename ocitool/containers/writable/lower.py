"""The image below a writable layer: its unpacked tree, or the tables of its layers.

Both are walked along with the writable layer: `enter` and `leave` keep in step with it.
"""

import hashlib
import os
import stat
from typing import Protocol

from msgspec import Struct

from ocitool.containers.writable.cursor import Cursor
from ocitool.errors import OcitoolError
from ocitool.fsops import CHUNK, Directory, nanoseconds
from ocitool.image.layers import EntryKind
from ocitool.image.layers.extraction import is_portable
from ocitool.inside.image import Inside
from ocitool.inside.state import Folder
from ocitool.inside.tree import Node

_TYPES = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.CHARACTER: stat.S_IFCHR,
    EntryKind.BLOCK: stat.S_IFBLK,
    EntryKind.FIFO: stat.S_IFIFO,
}
_DEVICES = (EntryKind.CHARACTER, EntryKind.BLOCK)


class ImageStatus(Struct, frozen=True, gc=False):
    """The part of `os.stat_result` that is compared, of a member as it would be unpacked."""

    st_mode: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_mtime_ns: int


Status = os.stat_result | ImageStatus


class Lower(Protocol):
    """The folder of the image that the walk is in."""

    def enter(self, name: str) -> None:
        """Go into a folder."""

    def leave(self) -> None:
        """Go back to the folder above."""

    def names(self) -> list[str]:
        """Return what the folder holds."""

    def status(self, name: str) -> Status | None:
        """Return the status of an entry; None if the image has none of that name."""

    def holds(self, name: str, folder: Directory, status: os.stat_result) -> bool:
        """Tell whether an entry has the content and attributes that the image has there.

        Asked only where type, mode, owner, size and time are equal. Of a folder only its own
        attributes count.
        """


class TreeLower:
    """The unpacked tree that containers share."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def enter(self, name: str) -> None:
        """Go into a folder."""
        self._cursor.enter(name)

    def leave(self) -> None:
        """Go back to the folder above."""
        self._cursor.leave()

    def names(self) -> list[str]:
        """Return what the folder holds."""
        return self._cursor.folder.unordered_names()

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of an entry; None if there is none."""
        return self._cursor.folder.status(name)

    def holds(self, name: str, folder: Directory, status: os.stat_result) -> bool:
        """Tell whether an entry has the content and attributes that the image has there."""
        own = self._cursor.folder
        if kept_attributes(folder, name) != kept_attributes(own, name):
            return False
        if stat.S_ISLNK(status.st_mode):
            return folder.link_target(name) == own.link_target(name)
        return not stat.S_ISREG(status.st_mode) or _digest(folder, name) == _digest(own, name)


class ImageLower:
    """The merged tree of an image whose files were hashed, as unpacking it would make it.

    What was not written since `made` (nanoseconds since 1970), when the unpacked copy was complete,
    needs no comparison of its content. In a `rootless` copy all files belong to one user, who could
    make no devices.
    """

    def __init__(self, inside: Inside, *, made: int, rootless: bool) -> None:
        self._inside = inside
        self._made = made
        self._rootless = rootless
        self._path: list[str] = []
        self._folders: list[Folder] = [inside.tree.root]

    def enter(self, name: str) -> None:
        """Go into a folder."""
        inner = self._folders[-1][name]
        if isinstance(inner, dict):
            self._folders.append(inner)
            self._path.append(name)

    def leave(self) -> None:
        """Go back to the folder above."""
        self._folders.pop()
        self._path.pop()

    def names(self) -> list[str]:
        """Return what the folder holds."""
        return [name for name in self._folders[-1] if name and self._node(name) is not None]

    def status(self, name: str) -> Status | None:
        """Return the status of an entry; None if there is none."""
        node = self._node(name)
        if node is None:
            return None
        user, group = (os.geteuid(), os.getegid()) if self._rootless else (node.uid, node.gid)
        return ImageStatus(
            st_mode=_TYPES[node.kind] | (0o777 if node.link is not None else node.mode),
            st_uid=user,
            st_gid=group,
            st_rdev=os.makedev(*node.device) if node.device and node.kind in _DEVICES else 0,
            st_size=len(os.fsencode(node.link)) if node.link is not None else node.size,
            st_mtime_ns=nanoseconds(node.mtime),
        )

    def holds(self, name: str, folder: Directory, status: os.stat_result) -> bool:
        """Tell whether an entry has the content and attributes that the image has there."""
        node = self._node(name)
        if node is None or status.st_ctime_ns < self._made:
            return node is not None
        kept = {key: value for key, value in node.xattrs.items() if is_portable(key)}
        if not self._rootless and kept != kept_attributes(folder, name):
            return False
        if stat.S_ISLNK(status.st_mode):
            return folder.link_target(name) == node.link
        return not stat.S_ISREG(status.st_mode) or self._has_content(node, folder, name)

    def _has_content(self, node: Node, folder: Directory, name: str) -> bool:
        digest = self._inside.table(node.layer).digest(node.row or 0)
        return digest is not None and digest == _digest(folder, name)

    def _node(self, name: str) -> Node | None:
        value = self._folders[-1].get(name)
        if value is None:
            return None
        node = self._inside.tree.node("/".join((*self._path, name)), value)
        if node.kind not in _TYPES:
            return None
        # Unpacking leaves these out: overlays mark deleted files by the device 0:0.
        is_whiteout = node.kind is EntryKind.CHARACTER and node.device == (0, 0)
        left_out = is_whiteout or (self._rootless and node.kind in _DEVICES)
        return None if left_out else node


def kept_attributes(folder: Directory, name: str) -> dict[str, bytes]:
    """Return the extended attributes of an entry that belong into an image, sorted by name."""
    return {key: value for key, value in folder.attributes(name).items() if is_portable(key)}


def _digest(folder: Directory, name: str) -> bytes | None:
    """Return the SHA-256 of a file; None if it cannot be read."""
    try:
        descriptor, _ = folder.open_file(name)
    except OcitoolError:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        hasher = hashlib.sha256()
        while data := file.read(CHUNK):
            hasher.update(data)
    return hasher.digest()
