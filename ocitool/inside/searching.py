"""Which files of an image have what is asked for."""

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.image.layers import EntryKind, layer_path
from ocitool.inside.image import Inside
from ocitool.inside.listing import FileEntry, entry_of, hidden_files, whiteouts
from ocitool.inside.tree import Node

_SET_ID: Final = 0o6000
_HARD_LINKED: Final = "h"
TYPES: Final = {
    "f": EntryKind.FILE,
    "d": EntryKind.DIRECTORY,
    "l": EntryKind.SYMLINK,
    "c": EntryKind.CHARACTER,
    "b": EntryKind.BLOCK,
    "p": EntryKind.FIFO,
    "w": EntryKind.WHITEOUT,
    _HARD_LINKED: EntryKind.HARD_LINK,
}
"""Letters for types, as `find` has them; h is a file with several names, w a whiteout."""


class FileQuery(Struct, frozen=True, kw_only=True):
    """What a file has to be. By default everything is.

    `name` is a pattern of the shell for the last component of the path, or for the whole path if it
    has a slash in it. `types` are letters of `TYPES`. A file has from `least` to `most` bytes; what
    is not a file has no size and passes neither. `newer` is a time in seconds since 1970. `set_id`
    asks for the set-user-ID or set-group-ID bit.
    """

    name: str | None = None
    types: str = ""
    least: int | None = None
    most: int | None = None
    newer: float | None = None
    set_id: bool = False

    def __post_init__(self) -> None:
        if unknown := [letter for letter in self.types if letter not in TYPES]:
            raise UsageError(
                f"{unknown[0]!r} is not a type of files", hint=f"use {', '.join(TYPES)}"
            )


def find_files(
    inside: Inside,
    query: FileQuery,
    path: str = "",
    *,
    hidden: bool = False,
    with_whiteouts: bool = False,
) -> Iterator[FileEntry]:
    """Yield the files below a path that a query asks for, sorted as `MergedTree.walk` sorts.

    With `hidden` those that are out of sight, in the order of their layers; the path need not be
    there any more. `with_whiteouts` also what the layers hide. NotFound if nothing is at the path.
    """
    fits = _test(query)
    if hidden:
        root = layer_path(path)
        yield from (e for e in hidden_files(inside) if _is_below(e.path, root) and fits(e))
        return
    root = inside.tree.find(path).path
    for node in inside.tree.walk(root):
        if fits(node):
            yield entry_of(inside, node)
    if with_whiteouts:
        yield from (e for e in whiteouts(inside) if _is_below(e.path, root) and fits(e))


def _is_below(path: str, root: str) -> bool:
    return not root or path == root or path.startswith(f"{root}/")


def _test(query: FileQuery) -> Callable[[Node | FileEntry], bool]:
    """Return the tests of a query as one, the cheapest first."""
    tests: list[Callable[[Node | FileEntry], bool]] = []
    if query.types:
        tests.append(_type_test(query.types))
    if query.set_id:
        tests.append(lambda one: bool(one.mode & _SET_ID) and _type(one) is EntryKind.FILE)
    if query.least is not None or query.most is not None:
        least, most = query.least or 0, query.most
        tests.append(
            lambda one: (
                _type(one) is EntryKind.FILE
                and one.size >= least
                and (most is None or one.size <= most)
            )
        )
    if query.newer is not None:
        newer = query.newer
        tests.append(lambda one: one.mtime > newer)
    if query.name is not None:
        tests.append(_name_test(query.name))
    return lambda one: all(test(one) for test in tests)


def _type(one: Node | FileEntry) -> EntryKind:
    return one.kind if isinstance(one, Node) else one.type


def _type_test(letters: str) -> Callable[[Node | FileEntry], bool]:
    kinds = {TYPES[letter] for letter in letters if letter != _HARD_LINKED}
    if EntryKind.WHITEOUT in kinds:
        kinds.add(EntryKind.OPAQUE)
    linked = _HARD_LINKED in letters
    return lambda one: _type(one) in kinds or (linked and one.nlink > 1)


def _name_test(pattern: str) -> Callable[[Node | FileEntry], bool]:
    match = re.compile(fnmatch.translate(pattern.lstrip("/"))).match
    if "/" in pattern:
        return lambda one: match(one.path) is not None
    return lambda one: match(one.name) is not None
