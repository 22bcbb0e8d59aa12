"""Moving a complete tree from a private folder into the files of a container, or into a folder.

Nothing is moved before all of it was checked, and each file appears whole. Folders that are there
already are merged; a link that is there is replaced and never followed.
"""

import os
import stat
from collections.abc import Iterator

from msgspec import Struct

from ocitool.containers.writable.files import Files
from ocitool.containers.writable.lower import kept_attributes
from ocitool.errors import NotFound, Refused
from ocitool.fsops import Directory, describe_folder
from ocitool.image.layers import Tree
from ocitool.image.layers.tree import below
from ocitool.oci.quoting import quoted


class _Step(Struct, frozen=True):
    """An entry that was staged, and what is at its place; `path` is below the destination."""

    path: str
    new: os.stat_result
    old: os.stat_result | None

    @property
    def merges(self) -> bool:
        """Whether a folder meets a folder."""
        old = self.old
        return stat.S_ISDIR(self.new.st_mode) and old is not None and stat.S_ISDIR(old.st_mode)


def place(staged: Directory, files: Files, at: str, *, staging: Directory, owners: bool) -> None:
    """Move everything staged into the folder at a real path.

    `staging` is another private folder of the same file system. With `owners` a folder that is
    merged gets its new owner too. Refused, with nothing moved, if a file would replace a folder or
    a folder a file.
    """
    steps = list(_steps(staged, files, at))
    for step in steps:
        _check(step, at)
    tree = Tree(staged)
    try:
        for step in steps:
            if not step.merges:
                _move(tree, step, files, below(at, step.path) if at else step.path, staging)
        # The deepest first: a mode may lock out even the owner.
        for step in reversed(steps):
            if step.merges:
                files.make_writable(below(at, step.path) if at else step.path, staging=staging)
                _describe(tree, step, files, at, owners=owners)
    finally:
        tree.close()


def _steps(staged: Directory, files: Files, at: str) -> Iterator[_Step]:
    """Yield the entries to move, and the folders to merge, each before what is in it."""
    tree = Tree(staged)
    try:
        todo = [""]
        while todo:
            path = todo.pop()
            spot = tree.spot(below(path, "."))
            names = spot.folder.statuses() if spot is not None else {}
            for name in sorted(names):
                inner = below(path, name)
                old = files.status(below(at, inner) if at else inner)
                step = _Step(inner, names[name], old)
                yield step
                if step.merges:
                    todo.append(inner)
    finally:
        tree.close()


def _check(step: _Step, at: str) -> None:
    old = step.old
    if old is None or stat.S_ISDIR(old.st_mode) == stat.S_ISDIR(step.new.st_mode):
        return
    where = quoted("/" + (below(at, step.path) if at else step.path))
    kinds = ("folder", "file") if stat.S_ISDIR(step.new.st_mode) else ("file", "folder")
    raise Refused(
        f"{where} should become a {kinds[0]}, but is a {kinds[1]}", hint="remove it first"
    )


def _move(tree: Tree, step: _Step, files: Files, target: str, staging: Directory) -> None:
    parent, _, name = target.rpartition("/")
    files.make_writable(parent, staging=staging)
    spot = tree.spot(step.path)
    with files.folders(parent) as (upper, _):
        if spot is None or upper is None:
            raise NotFound(f"{quoted('/' + target)} was removed meanwhile")
        there = upper.status(name)
        if stat.S_ISDIR(step.new.st_mode) and there is not None and files.marks.hides(there):
            # Over a deleted path of the image a new folder must hide what that had in it.
            with spot.folder.subdirectory(spot.name) as folder:
                files.marks.make_opaque(folder)
            upper.remove(name)
        spot.folder.move(spot.name, upper, name)
    if stat.S_ISDIR(step.new.st_mode):
        tree.forget()


def _describe(tree: Tree, step: _Step, files: Files, at: str, *, owners: bool) -> None:
    """Give a folder that was there the attributes of the one that came."""
    spot = tree.spot(below(step.path, "."))
    with files.folders(below(at, step.path) if at else step.path) as (upper, _):
        if spot is None or upper is None:
            return
        for attribute, value in kept_attributes(spot.folder, ".").items():
            upper.set_attribute(attribute, value)
        owner = (step.new.st_uid, step.new.st_gid) if owners else None
        describe_folder(upper, mode=stat.S_IMODE(step.new.st_mode), owner=owner)
