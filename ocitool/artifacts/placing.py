"""Bringing a tree that is complete to where the user wants it, without loss and without surprise.

All is gathered in a folder of our own beside its destination, and moved only when nothing can be
wrong any more. A link that is there already is never followed; it is replaced or in the way.
"""

import contextlib
from collections.abc import Iterator

from ocitool.artifacts.paths import Parts
from ocitool.errors import Refused
from ocitool.fsops import Directory, make_private_folder, remove_tree
from ocitool.oci.quoting import quoted

_PREFIX = ".ocitool-"


@contextlib.contextmanager
def staging_folder(folder: Directory) -> Iterator[Directory]:
    """Give an empty folder inside of another, which goes with the block and all that is left."""
    name, inner = make_private_folder(folder, _PREFIX)
    try:
        with inner:
            yield inner
    finally:
        remove_tree(folder, name)


def exists_below(folder: Directory, path: Parts) -> bool:
    """Tell whether something has this path; no link is followed on the way there."""
    kind = folder.kind(path[0])
    if len(path) == 1:
        return kind is not None
    if kind != "folder":
        return False
    with folder.subdirectory(path[0]) as below:
        return exists_below(below, path[1:])


def place(gathered: Directory, folder: Directory, *, overwrite: bool) -> None:
    """Move all that was gathered into a folder; folders that are there already are joined.

    Refused, with nothing moved, when a file is there already and `overwrite` is not set, or when
    a folder would have to make way for a file or a file for a folder.
    """
    for problem in _obstacles(gathered, folder, overwrite=overwrite):
        raise problem
    _merge(gathered, folder)


def _obstacles(source: Directory, target: Directory, *, overwrite: bool) -> Iterator[Refused]:
    for name in source.names():
        new, old = source.kind(name), target.kind(name)
        where = quoted(target.child(name))
        if new == "folder" and old == "folder":
            with source.subdirectory(name) as below, target.subdirectory(name) as there:
                yield from _obstacles(below, there, overwrite=overwrite)
        elif new == "folder" and old is not None:
            yield Refused(f"{where} is to be a folder, and a {old} is there", hint="move it away")
        elif old == "folder":
            yield Refused(f"{where} is to be a {new}, and a folder is there", hint="move it away")
        elif old is not None and not overwrite:
            yield Refused(
                f"{where} exists already",
                hint="--overwrite replaces it; -o DIR pulls into another folder",
            )


def _merge(source: Directory, target: Directory) -> None:
    for name in source.names():
        if source.kind(name) == "folder" and target.kind(name) == "folder":
            with source.subdirectory(name) as below, target.subdirectory(name) as there:
                _merge(below, there)
        else:
            source.move(name, target)
    target.sync()
