"""The files that a container sees: what it wrote, over those of its image, without mounts."""

import os
import stat
from collections.abc import Iterator

from msgspec import Struct

from ocitool.containers.writable.changes import Letter
from ocitool.containers.writable.cursor import Cursor
from ocitool.containers.writable.members import Members
from ocitool.containers.writable.opening import Writable
from ocitool.errors import IntegrityError, NotFound
from ocitool.formats.tar.writing import ended
from ocitool.fsops import Directory
from ocitool.image.layers.tree import below


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


def walk_files(writable: Writable) -> Iterator[Seen]:
    """Yield all that a container sees, sorted by name, each folder before what is in it.

    A folder that a running container removes meanwhile is passed over.
    """
    walk = _Walk(writable)
    try:
        yield from walk.run()
    finally:
        walk.close()


def container_tar(writable: Writable, members: Members) -> Iterator[bytes]:
    """Yield the tar of all that a container sees; mount points are empty. Sorted by path."""
    return ended(
        piece
        for seen in walk_files(writable)
        for piece in members.member(seen.folder, seen.name, seen.path, seen.status)
    )


def members_of(writable: Writable) -> Members:
    """Return what makes members with the owners that the container's files have in an image."""
    added: set[str] = set()
    if writable.facts.is_rootless:
        added = {one.path for one in writable.changes() if one.letter is Letter.ADDED}
    return Members(writable.owners(added))


class _Walk:
    def __init__(self, writable: Writable) -> None:
        self._marks = writable.marks
        self._upper = Cursor(writable.upper)
        self._lower = Cursor(writable.tree) if writable.tree is not None else None
        self._levels: list[_Level] = []

    def close(self) -> None:
        for cursor in (self._upper, self._lower):
            if cursor is not None:
                cursor.folder.close()

    def run(self) -> Iterator[Seen]:
        self._push("", in_upper=True, in_lower=self._lower is not None)
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
        in_upper = seen.name in (level.upper or ())
        old = (level.lower or {}).get(seen.name)
        in_lower = old is not None and stat.S_ISDIR(old.st_mode)
        if in_upper and self._marks.is_opaque(seen.folder, seen.name, seen.path):
            in_lower = False
        if in_upper:
            try:
                self._upper.enter(seen.name)
            except (NotFound, IntegrityError):
                return
        if in_lower and self._lower is not None:
            self._lower.enter(seen.name)
        self._push(seen.path, in_upper=in_upper, in_lower=in_lower)
