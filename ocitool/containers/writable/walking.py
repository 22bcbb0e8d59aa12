"""What a container changed: a walk through its writable layer, beside the image below it.

The rules are docker's. A file is changed if its type, mode, owner, device, size, time, content or
an attribute differs; a folder, if its mode or owner does or something in it changed. A folder's
time and size do not count.
"""

import os
import stat
from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from ocitool.containers.writable.changes import Change, Letter, tree_order
from ocitool.containers.writable.cursor import Cursor
from ocitool.containers.writable.lower import Lower, Status
from ocitool.containers.writable.marks import Marks
from ocitool.errors import IntegrityError, NotFound
from ocitool.fsops import Directory
from ocitool.image.layers.tree import below

_Inode = tuple[int, int]


class _Folder(Struct):
    """A folder that the walk is in.

    `own` is its own change, at the index `at` of the list. `is_below` tells whether the image has a
    folder here too, `hidden` whether the container does not see it. `listed` tells whether
    something in the folder is a change, `skipped` whether something in it was passed over.
    """

    path: str
    todo: list[str]
    statuses: dict[str, os.stat_result]
    is_below: bool
    hidden: bool
    own: Change | None
    at: int
    listed: bool = False
    skipped: bool = False


def find_changes(
    upper: Directory, lower: Lower, *, skip: Collection[str] = (), marks: Marks
) -> list[Change]:
    """Return what differs between a writable layer and the image below it, in the order of a walk.

    `marks` tells what is deleted there. The paths in `skip` and all below them are passed over, and
    so are new folders that hold nothing else. Refused for an overlay in which an entry stands for
    another path of the image.
    """
    return _Walk(upper, lower, frozenset(skip), marks).run()


class _Walk:
    def __init__(self, upper: Directory, lower: Lower, skip: frozenset[str], marks: Marks) -> None:
        self._root = upper
        self._lower = lower
        self._skip = skip
        self._marks = marks
        self._changes: list[Change] = []
        self._folders: list[_Folder] = []
        # Files with several names: the inodes of changes, and the paths that did not change.
        self._changed: set[_Inode] = set()
        self._same: list[tuple[_Inode, str]] = []

    def run(self) -> list[Change]:
        with Cursor(self._root) as self._upper:
            self._push("", None, is_below=True, hidden=False)
            while self._folders:
                folder = self._folders[-1]
                if folder.todo:
                    self._entry(folder, folder.todo.pop())
                else:
                    self._pop()
        return self._with_links()

    def _push(self, path: str, own: Change | None, *, is_below: bool, hidden: bool) -> None:
        statuses = self._upper.folder.statuses()
        names = set(statuses)
        # A copy has no whiteouts: what the image has and the copy has not was deleted.
        if is_below and (hidden or self._marks.is_copy):
            names.update(self._lower.names())
        at = len(self._changes)
        if own is not None:
            self._changes.append(own)
        todo = sorted(names, reverse=True)
        self._folders.append(
            _Folder(
                path=path,
                todo=todo,
                statuses=statuses,
                is_below=is_below,
                hidden=hidden,
                own=own,
                at=at,
            )
        )

    def _pop(self) -> None:
        done = self._folders.pop()
        if done.own is None:
            return
        outer = self._folders[-1]
        self._upper.leave()
        if done.is_below:
            self._lower.leave()
        was_made_for_mounts = done.own.letter is Letter.ADDED and done.skipped and not done.listed
        if was_made_for_mounts or not (done.listed or done.own.letter):
            # Nothing was listed after it.
            self._changes.pop()
            outer.skipped |= was_made_for_mounts
            return
        if done.own.letter is None:
            self._changes[done.at] = replace(done.own, letter=Letter.CHANGED)
        outer.listed = True

    def _entry(self, folder: _Folder, name: str) -> None:
        path = below(folder.path, name)
        if path in self._skip:
            folder.skipped = True
            return
        status = folder.statuses.get(name)
        old = self._lower.status(name) if folder.is_below else None
        if status is None or self._marks.hides(status):
            if old is not None:
                self._deleted(folder, path, old)
        elif stat.S_ISDIR(status.st_mode):
            self._enter(folder, name, path, status, old)
        else:
            self._file(folder, name, path, status, old)

    def _deleted(self, folder: _Folder, path: str, old: Status) -> None:
        folder.listed = True
        self._changes.append(
            Change(
                letter=Letter.DELETED,
                path=path,
                is_folder=stat.S_ISDIR(old.st_mode),
                hidden=folder.hidden,
            )
        )

    def _enter(
        self, folder: _Folder, name: str, path: str, status: os.stat_result, old: Status | None
    ) -> None:
        is_opaque = self._marks.is_opaque(self._upper.folder, name, path)
        is_below = old is not None and stat.S_ISDIR(old.st_mode)
        letter = self._letter(name, status, old)
        try:
            self._upper.enter(name)
        except (NotFound, IntegrityError):
            # A running container has replaced the folder since it was listed.
            return
        if is_below:
            self._lower.enter(name)
        own = Change(letter=letter, path=path, is_folder=True, opaque=is_opaque)
        self._push(path, own, is_below=is_below, hidden=folder.hidden or is_opaque)

    def _file(
        self, folder: _Folder, name: str, path: str, status: os.stat_result, old: Status | None
    ) -> None:
        self._marks.check_file(self._upper.folder, name, path, status)
        letter = self._letter(name, status, old)
        inode = status.st_dev, status.st_ino
        if letter is not None:
            folder.listed = True
            self._changes.append(Change(letter=letter, path=path))
            if status.st_nlink > 1:
                self._changed.add(inode)
        elif status.st_nlink > 1:
            self._same.append((inode, path))

    def _letter(self, name: str, status: os.stat_result, old: Status | None) -> Letter | None:
        if old is None:
            return Letter.ADDED
        if _differs(status, old) or not self._lower.holds(name, self._upper.folder, status):
            return Letter.CHANGED
        return None

    def _with_links(self) -> list[Change]:
        """Return the changes, and the unchanged names of changed files that have several names."""
        linked = [path for inode, path in self._same if inode in self._changed]
        if not linked:
            return self._changes
        there = {change.path for change in self._changes}
        for path in linked:
            self._changes += [
                Change(letter=None, path=one, is_folder=one != path)
                for one in _prefixes(path)
                if one not in there
            ]
            there.update(_prefixes(path))
        return sorted(self._changes, key=tree_order)


def _differs(status: Status, old: Status) -> bool:
    if (status.st_mode, status.st_uid, status.st_gid, status.st_rdev) != (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_rdev,
    ):
        return True
    if stat.S_ISDIR(status.st_mode):
        return False
    return (status.st_size, status.st_mtime_ns) != (old.st_size, old.st_mtime_ns)


def _prefixes(path: str) -> Iterator[str]:
    """Yield the folders that a path is in, and the path."""
    parts = path.split("/")
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))
