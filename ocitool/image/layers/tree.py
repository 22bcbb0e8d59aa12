"""A root file system on the disk, walked like a process that has it as its root.

Every step opens one name in an open folder. The kernel follows no links; they are read and followed
here, so that "/" and ".." never lead out of the root. Only a few folders are open at a time,
however deep the tree is.
"""

import os
from collections.abc import Callable, Collection

from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.fsops import Directory, make_folder, set_mode
from ocitool.oci import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted

MOST_LINKS = 40
"""How many links one path may go through, as in Linux."""


class Spot(Struct, frozen=True):
    """A name in an open folder. `path` is where the folder really is, "" for the root."""

    folder: Directory
    path: str
    name: str

    @property
    def full(self) -> str:
        """The path of the name, without links."""
        return below(self.path, self.name)


class Tree:
    """The tree below an open folder, which only this process changes. Not thread-safe."""

    def __init__(self, root: Directory, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.root = root
        self._limits = limits
        self._last: tuple[str, Directory, str] | None = None

    def close(self) -> None:
        """Close everything except the root; harmless when repeated."""
        self.forget()

    def forget(self) -> None:
        """Forget the last folder, after a folder or a link has changed."""
        if self._last is not None:
            self._last[1].close()
        self._last = None

    def spot(self, path: str, *, create: bool = False) -> Spot | None:
        """Return where `path` is; the last name in it is not followed.

        The folder stays open until the next call. With `create`, missing folders on the path are
        made, and a file in the place of one is MalformedArchive; without it, both give None. Raises
        MalformedArchive for too many links.
        """
        parent, _, name = path.rpartition("/")
        if self._last is None or self._last[0] != parent:
            self.forget()
            walk = _Walk(self, path, self._limits)
            found = walk.folder(parent, create=create)
            if found is None:
                return None
            self._last = (parent, *found)
        _, folder, real = self._last
        return Spot(folder, real, name)

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the bytes of a file, following links; None when there is no such file.

        LimitExceeded when it has more than `limit` bytes.
        """
        for _ in range(MOST_LINKS):
            spot = self.spot(path)
            kind = spot.folder.kind(spot.name) if spot is not None else None
            if spot is None or kind not in ("file", "link"):
                return None
            if kind == "file":
                return spot.folder.read_file(spot.name, limit)
            target = spot.folder.link_target(spot.name) or ""
            path = target if target.startswith("/") else below(spot.path, target)
        return None

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of a path, following links; None when nothing is there."""
        for _ in range(MOST_LINKS):
            spot = self.spot(path)
            if spot is None:
                return None
            if spot.folder.kind(spot.name) != "link":
                return spot.folder.status(spot.name)
            target = spot.folder.link_target(spot.name) or ""
            path = target if target.startswith("/") else below(spot.path, target)
            if path.rpartition("/")[2] in ("", ".", ".."):
                path += "/."
        return None

    def remove(self, spot: Spot, gone: Callable[[str], object]) -> None:
        """Remove what has the name, a folder with everything in it; follows no link.

        `gone` is called for every folder that was removed.
        """
        kind = spot.folder.kind(spot.name)
        if kind == "folder":
            prune(spot, gone=gone)
        elif kind is not None:
            spot.folder.remove(spot.name)
        if kind in ("folder", "link"):
            self.forget()


class _Walk:
    """One walk along a path, from the root."""

    def __init__(self, tree: Tree, path: str, limits: Limits) -> None:
        self._root = tree.root
        self._path = path
        self._limits = limits
        self._names: list[str] = []
        self._length = 0
        self._links = 0

    def folder(self, path: str, *, create: bool) -> tuple[Directory, str] | None:
        """Return the open folder that `path` leads to, and where that really is."""
        todo = _parts(path)[::-1]
        folder = self._root.subdirectory(".")
        try:
            while todo:
                step = self._step(folder, todo, create=create)
                if step is None:
                    folder.close()
                    return None
                if step is not folder:
                    folder.close()
                    folder = step
        except BaseException:
            folder.close()
            raise
        return folder, "/".join(self._names)

    def _step(self, folder: Directory, todo: list[str], *, create: bool) -> Directory | None:
        name = todo.pop()
        if name == "..":
            return self._up(folder)
        kind = folder.kind(name)
        if kind == "link":
            return self._follow(folder, folder.link_target(name) or "", todo)
        if kind is None and create:
            make_folder(folder, name, 0o755)
        elif kind != "folder":
            if not create:
                return None
            message = f"{quoted(self._path)} lies below {quoted(name)}, which is not a folder"
            raise MalformedArchive(message)
        self._enter(name)
        return folder.subdirectory(name)

    def _up(self, folder: Directory) -> Directory:
        if not self._names:
            return folder
        self._length -= len(self._names.pop()) + 1
        return folder.subdirectory("..")

    def _follow(self, folder: Directory, target: str, todo: list[str]) -> Directory:
        self._links += 1
        if self._links > MOST_LINKS:
            raise MalformedArchive(f"{quoted(self._path)} goes through too many links")
        todo += _parts(target)[::-1]
        if not target.startswith("/"):
            return folder
        self._names, self._length = [], 0
        return self._root.subdirectory(".")

    def _enter(self, name: str) -> None:
        self._names.append(name)
        self._length += len(name) + 1
        if self._length > self._limits.path_bytes:
            limit = self._limits.path_bytes
            raise LimitExceeded(f"{quoted(self._path)} leads deeper than {limit} bytes of path")


def prune(
    spot: Spot,
    keeps: Callable[[str], bool] = lambda _: False,
    *,
    cleaned: Collection[str] = (),
    gone: Callable[[str], object] = lambda _: None,
) -> None:
    """Remove a folder and what is in it, except what `keeps` says of its real path.

    A folder that holds something kept stays. What is below a folder in `cleaned` was checked
    before and stays. `gone` is called for every folder that was removed. Follows no link.
    """
    _Pruning(keeps, cleaned, gone).run(spot)


class _Pruning:
    def __init__(
        self,
        keeps: Callable[[str], bool],
        cleaned: Collection[str],
        gone: Callable[[str], object],
    ) -> None:
        self._keeps = keeps
        self._cleaned = cleaned
        self._gone = gone

    def run(self, spot: Spot) -> None:
        folder = _entered(spot.folder, spot.name)
        levels = [(spot.full, folder.names())]
        try:
            while levels:
                path, names = levels[-1]
                if names:
                    entered = self._next(folder, path, names.pop())
                    if entered is not None:
                        folder.close()
                        folder, name = entered
                        levels.append((below(path, name), folder.names()))
                    continue
                levels.pop()
                outer = folder.subdirectory("..")
                folder.close()
                folder = outer
                self._remove_folder(folder, path)
        finally:
            folder.close()

    def _next(self, folder: Directory, path: str, name: str) -> tuple[Directory, str] | None:
        """Remove an entry, or return it opened if it is a folder that has to be searched."""
        inner = below(path, name)
        if folder.kind(name) == "folder":
            if inner not in self._cleaned:
                return _entered(folder, name), name
            self._remove_folder(folder, inner)
        elif not self._keeps(inner):
            folder.remove(name)
        return None

    def _remove_folder(self, folder: Directory, path: str) -> None:
        if not self._keeps(path) and folder.remove_folder(path.rpartition("/")[2]):
            self._gone(path)


def _entered(folder: Directory, name: str) -> Directory:
    """Open a folder to empty it; if its mode locks the owner out, change that first."""
    status = folder.status(name)
    if status is not None and status.st_mode & 0o700 != 0o700:
        set_mode(folder, name, 0o700)
    return folder.subdirectory(name)


def below(path: str, name: str) -> str:
    """Return the path of a name in a folder; "" is the root."""
    return f"{path}/{name}" if path else name


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
