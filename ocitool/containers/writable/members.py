"""Members of a tar for files on the disk: type, mode, owner, content, links and attributes.

Times are whole seconds, as docker and podman write them, so that most members need no extension
header. Sockets are left out: they mean nothing without the process that made them.
"""

import os
import stat
from collections.abc import Callable, Iterator

from ocitool.containers.writable.lower import kept_attributes
from ocitool.errors import Refused
from ocitool.formats.tar import EntryType
from ocitool.formats.tar.writing import Member, member_header, padding
from ocitool.fsops import CHUNK, Directory, translated

_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
}
_CAPABILITY = "security.capability"
_OF_A_NAMESPACE, _OF_ALL = 3, 2
"""Revisions of a capability: the first belongs to one user namespace, whose root is noted in it."""
_BYTES_OF_ALL = 20

Owner = Callable[[str, os.stat_result], tuple[int, int]]
"""Returns the user and the group that a path has in the container."""


class Members:
    """Makes the members of one tar; the second name of a file is a hard link to the first.

    `newest` is the latest time that a member may have, in seconds since 1970. `left_out` counts
    what has no place in a tar.
    """

    def __init__(self, owner: Owner, *, newest: int | None = None) -> None:
        self._owner = owner
        self._newest = newest
        self._first: dict[tuple[int, int], str] = {}
        self.left_out = 0

    def member(
        self, folder: Directory, name: str, path: str, status: os.stat_result
    ) -> Iterator[bytes]:
        """Yield a file, folder, link or device as the member `path`, with its content."""
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None or (kind is EntryType.CHARACTER and status.st_rdev == 0):
            self.left_out += 1
            return
        first = self._first_name(path, status)
        if first != path:
            yield member_header(self._about(path, status, EntryType.HARD_LINK, link=first))
            return
        link = (folder.link_target(name) or "") if kind is EntryType.SYMLINK else ""
        if kind is not EntryType.FILE:
            yield member_header(self._about(path, status, kind, folder, name, link=link))
            return
        yield from self._file(folder, name, path, status)

    def empty(self, path: str, *, mode: int, owner: tuple[int, int] = (0, 0)) -> bytes:
        """Return an empty file that says something by its name, such as a whiteout."""
        return member_header(
            Member(name=path, type=EntryType.FILE, mode=mode, uid=owner[0], gid=owner[1])
        )

    def owner(self, path: str, status: os.stat_result) -> tuple[int, int]:
        """Return the user and the group that a path has in the container."""
        return self._owner(path, status)

    def _first_name(self, path: str, status: os.stat_result) -> str:
        if status.st_nlink < 2 or stat.S_ISDIR(status.st_mode):
            return path
        return self._first.setdefault((status.st_dev, status.st_ino), path)

    def _file(
        self, folder: Directory, name: str, path: str, status: os.stat_result
    ) -> Iterator[bytes]:
        descriptor, size = folder.open_file(name)
        try:
            yield member_header(self._about(path, status, EntryType.FILE, folder, name, size=size))
            left = size
            with translated("read", folder.child(name)):
                while left and (data := os.read(descriptor, min(CHUNK, left))):
                    yield data
                    left -= len(data)
        finally:
            os.close(descriptor)
        if left:
            raise Refused(
                f"{path!r} became shorter while it was read",
                hint="stop the container first, or let it be paused meanwhile",
            )
        yield padding(size)

    def _about(
        self,
        path: str,
        status: os.stat_result,
        kind: EntryType,
        folder: Directory | None = None,
        name: str = "",
        *,
        size: int = 0,
        link: str = "",
    ) -> Member:
        user, group = self._owner(path, status)
        time = status.st_mtime_ns // 10**9
        is_device = kind in (EntryType.CHARACTER, EntryType.BLOCK)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0)
        return Member(
            name=path,
            type=kind,
            size=size,
            mode=stat.S_IMODE(status.st_mode),
            uid=user,
            gid=group,
            mtime=time if self._newest is None else min(time, self._newest),
            link_name=link,
            device=device,
            xattrs={} if folder is None else image_attributes(folder, name),
        )


def image_attributes(folder: Directory, name: str) -> dict[str, bytes]:
    """Return the extended attributes of an entry as an image has them.

    A capability that holds in one user namespace only becomes one that holds everywhere.
    """
    found = kept_attributes(folder, name)
    capability = found.get(_CAPABILITY, b"")
    if len(capability) > _BYTES_OF_ALL and capability[3] == _OF_A_NAMESPACE:
        found[_CAPABILITY] = capability[:3] + bytes([_OF_ALL]) + capability[4:_BYTES_OF_ALL]
    return found
