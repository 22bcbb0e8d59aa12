"""Space reserved for removing images on a full disk.

A removal writes before it deletes: a record of the run, and a new index.json. So a store reserves a
little space in `.ocitool/reserve`, a file of zeros, while the disk has plenty.
"""

import contextlib

from ocitool.errors import OcitoolError
from ocitool.fsops import Directory, allocate_file
from ocitool.places.layout.cache import forget

RESERVE = "reserve"
RESERVE_BYTES = 128 << 10
_PLENTY = 16
"""The reserve is made only while this many times its size is free."""


def set_aside(control: Directory) -> None:
    """Make the reserve if there is none and the disk has plenty of space; ignores failures."""
    with contextlib.suppress(OcitoolError):
        if control.size_of(RESERVE) is None and _free(control) > _PLENTY * RESERVE_BYTES:
            allocate_file(control, RESERVE, RESERVE_BYTES)


def make_room(control: Directory, index_bytes: int) -> None:
    """On a full disk free the reserve and the caches, to rewrite an index.json of `index_bytes`.

    Call it under the layout's lock, before images are removed.
    """
    # The reflog and the record of a run grow as index.json does.
    if _free(control) < RESERVE_BYTES + 3 * index_bytes:
        control.remove(RESERVE)
        forget(control)


def _free(control: Directory) -> int:
    return control.free_space()[0]
