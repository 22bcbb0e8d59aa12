"""The files that a container sees: what it wrote, over those of its image, without mounts."""

import contextlib
import os
import stat
from collections.abc import Iterator

from msgspec import Struct

from ocitool.containers.records import Container
from ocitool.containers.writable.cursor import Cursor
from ocitool.containers.writable.files import Files
from ocitool.containers.writable.members import Members
from ocitool.containers.writable.opening import Writable, open_writable
from ocitool.errors import IntegrityError, NotFound
from ocitool.formats.tar.writing import ended, in_chunks
from ocitool.fsops import Directory
from ocitool.image.layers.tree import below
from ocitool.places.layout import Layout


class Seen(Struct, frozen=True, gc=False):
    """One path of the container: the name in an open folder, which is good until the next one."""

    path: str
    folder: Directory
    name: str
    status: os.stat_result


class _Level(Struct):
    path: str
    todo: list[str]
    upper: dict[str, os.stat_result] | None
    lower: dict[str, os.stat_result] | None


def walk_files(files: Files, at: str = "") -> Iterator[Seen]:
    """Yield what is below a folder, sorted by name, each folder before what is in it.

    `at` is its real path. A folder that a running container removes meanwhile is passed over.
    """
    walk = _Walk(files)
    try:
        yield from walk.run(at)
    finally:
        walk.close()


def container_tar(writable: Writable, members: Members) -> Iterator[bytes]:
    """Yield the tar of all that a container sees; mount points are empty. Sorted by path."""
    pieces = (
        piece
        for seen in walk_files(writable.files)
        for piece in members.member(seen.folder, seen.name, seen.path, seen.status)
    )
    return in_chunks(ended(pieces))


def export_container(layout: Layout, container: Container) -> Iterator[bytes]:
    """Yield the tar of all files of a container; if this raises, what came before is not whole."""
    with open_writable(layout, container) as writable:
        yield from container_tar(writable, members_of(writable))


def members_of(writable: Writable) -> Members:
    """Return what makes members with the owners that the container's files have in an image."""
    return Members(writable.owners(writable.added()))


class _Walk:
    def __init__(self, files: Files) -> None:
        self._marks = files.marks
        self._upper = Cursor(files.upper)
        self._lower = Cursor(files.lower) if files.lower is not None else None
        self._levels: list[_Level] = []

    def close(self) -> None:
        for cursor in (self._upper, self._lower):
            if cursor is not None:
                cursor.folder.close()

    def run(self, at: str) -> Iterator[Seen]:
        in_upper, in_lower = True, self._lower is not None
        path = ""
        for name in at.split("/") if at else ():
            path = below(path, name)
            in_upper, in_lower = self._descend(path, name, in_upper=in_upper, in_lower=in_lower)
        self._push(at, in_upper=in_upper, in_lower=in_lower)
        while self._levels:
            level = self._levels[-1]
            if not level.todo:
                self._pop()
                continue
            name = level.todo.pop()
            seen = self._seen(level, name)
            if seen is not None:
                yield seen
                if stat.S_ISDIR(seen.status.st_mode):
                    self._enter(level, seen)

    def _push(self, path: str, *, in_upper: bool, in_lower: bool) -> None:
        upper = self._upper.folder.statuses() if in_upper else None
        lower = self._lower.folder.statuses() if in_lower and self._lower else None
        todo = sorted({*(upper or ()), *(lower or ())}, reverse=True)
        self._levels.append(_Level(path=path, todo=todo, upper=upper, lower=lower))

    def _pop(self) -> None:
        level = self._levels.pop()
        if self._levels:
            if level.upper is not None:
                self._upper.leave()
            if level.lower is not None and self._lower is not None:
                self._lower.leave()

    def _seen(self, level: _Level, name: str) -> Seen | None:
        path = below(level.path, name)
        status = (level.upper or {}).get(name)
        if status is not None:
            if self._marks.hides(status):
                return None
            self._marks.check_file(self._upper.folder, name, path, status)
            return Seen(path, self._upper.folder, name, status)
        status = (level.lower or {}).get(name)
        if status is None or self._lower is None:
            return None
        return Seen(path, self._lower.folder, name, status)

    def _enter(self, level: _Level, seen: Seen) -> None:
        # A running container may have removed the folder since it was listed.
        with contextlib.suppress(NotFound, IntegrityError):
            in_upper, in_lower = self._descend(
                seen.path,
                seen.name,
                in_upper=seen.name in (level.upper or ()),
                in_lower=seen.name in (level.lower or ()),
            )
            self._push(seen.path, in_upper=in_upper, in_lower=in_lower)

    def _descend(
        self, path: str, name: str, *, in_upper: bool, in_lower: bool
    ) -> tuple[bool, bool]:
        """Go into a folder of both trees, or of one; tell in which of them it is."""
        upper, lower = self._upper, self._lower
        in_upper = in_upper and upper.folder.kind(name) is not None
        in_lower = in_lower and lower is not None and lower.folder.kind(name) == "folder"
        if in_upper and self._marks.is_opaque(upper.folder, name, path):
            in_lower = False
        if in_upper:
            upper.enter(name)
        if in_lower and lower is not None:
            lower.enter(name)
        return in_upper, in_lower
