"""Space reserved for removing images on a full disk.

A removal writes before it deletes: a record of the run, and a new index.json. So a store reserves a
little space in `.ocitool/reserve`, a file of zeros, while the disk has plenty. It grows with
index.json, because what a removal writes does.
"""

import contextlib

from ocitool.errors import OcitoolError
from ocitool.fsops import Directory, allocate_file
from ocitool.places.layout.cache import forget

RESERVE = "reserve"
RESERVE_BYTES = 128 << 10
_INDEXES = 4
"""How many times the size of index.json is reserved, if that is more: the new one, the record of
the run, the reflog, and what folders grow by."""
_PLENTY = 16
"""The reserve is made or grown only while this many times the least reserve is free after it."""


def set_aside(control: Directory, index_bytes: int) -> None:
    """Make or grow the reserve if the disk has plenty of space; ignores failures.

    Call it under the layout's lock.
    """
    wanted = _wanted(index_bytes)
    with contextlib.suppress(OcitoolError):
        missing = wanted - (control.size_of(RESERVE) or 0)
        if missing > 0 and _free(control) - missing > _PLENTY * RESERVE_BYTES:
            allocate_file(control, RESERVE, wanted)


def take_back(control: Directory, index_bytes: int) -> None:
    """Make the reserve again that `make_room` gave up, of what is left of it at least.

    Otherwise the first file that is written takes it, and nothing more can be removed.
    """
    with contextlib.suppress(OcitoolError):
        size = min(_wanted(index_bytes), _free(control))
        if size > 0:
            allocate_file(control, RESERVE, size)


def make_room(control: Directory, index_bytes: int) -> bool:
    """On a full disk free the reserve and the caches, to rewrite an index.json of `index_bytes`.

    Call it under the layout's lock, before images or names are removed. Tells whether it did.
    """
    if _free(control) >= _wanted(index_bytes):
        return False
    given_up = control.remove(RESERVE) > 0
    forget(control)
    return given_up


def _wanted(index_bytes: int) -> int:
    return max(RESERVE_BYTES, _INDEXES * index_bytes)


def _free(control: Directory) -> int:
    return control.free_space()[0]
