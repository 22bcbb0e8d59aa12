"""Room for removing images on a disk that is full.

A removal writes before it deletes: what it takes away, and a new index.json. So a layout of ours
sets a little space aside in `.ocitool/reserve`, a file of zeros, while the disk has plenty.
"""

import contextlib

from ocitool.errors import OcitoolError
from ocitool.fsops import Directory, allocate_file
from ocitool.places.layout.cache import forget

RESERVE = "reserve"
RESERVE_BYTES = 128 << 10
_PLENTY = 16
"""The disk must have this many times as much."""


def set_aside(control: Directory) -> None:
    """Make the reserve where there is none and the disk has plenty; a failure is no failure."""
    with contextlib.suppress(OcitoolError):
        if control.size_of(RESERVE) is None and _free(control) > _PLENTY * RESERVE_BYTES:
            allocate_file(control, RESERVE, RESERVE_BYTES)


def make_room(control: Directory, index_bytes: int) -> None:
    """Give up the reserve on a full disk, and the caches, for who rewrites an index.json so large.

    Call it under the layout's lock, before something that removes images.
    """
    # The reflog and the record of a run grow as index.json does.
    if _free(control) < RESERVE_BYTES + 3 * index_bytes:
        control.remove(RESERVE)
        forget(control)


def _free(control: Directory) -> int:
    return control.free_space()[0]
