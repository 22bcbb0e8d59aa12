"""Moving a complete tree to its destination without overwriting anything by accident.

Everything is gathered in a private folder inside the destination, and moved only after every check
has passed. An existing link is never followed: it is replaced, or it is an obstacle.
"""

from collections.abc import Iterator

from ocitool.artifacts.paths import Parts
from ocitool.errors import Refused
from ocitool.fsops import Directory
from ocitool.oci.quoting import quoted


def exists_below(folder: Directory, path: Parts) -> bool:
    """Tell whether something exists at a path, without following links."""
    kind = folder.kind(path[0])
    if len(path) == 1:
        return kind is not None
    if kind != "folder":
        return False
    with folder.subdirectory(path[0]) as below:
        return exists_below(below, path[1:])


def place(gathered: Directory, folder: Directory, *, overwrite: bool) -> None:
    """Move everything gathered into a folder; folders that exist already are merged.

    Refused, with nothing moved, if a file exists already and `overwrite` is not set, or if a file
    would replace a folder or a folder a file.
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
            yield Refused(
                f"{where} should become a folder, but a {old} is there", hint="move it away"
            )
        elif old == "folder":
            yield Refused(
                f"{where} should become a {new}, but a folder is there", hint="move it away"
            )
        elif old is not None and not overwrite:
            yield Refused(
                f"{where} already exists",
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
