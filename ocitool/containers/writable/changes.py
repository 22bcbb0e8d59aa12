"""Changes of a container's files, in docker's letters."""

from enum import StrEnum

from msgspec import Struct


class Letter(StrEnum):
    """What happened to a path: it was added, changed, or deleted."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """One path that differs from the image; `path` is relative to the root, such as "etc/passwd".

    `letter` is None for a file that is as it was, and in the layer only because a changed path is
    a hard link to it; and for the folders that such a file is in. An `opaque` folder hides what the
    image has in it, so that paths deleted there are `hidden`, and need no whiteout of their own.
    """

    letter: Letter | None
    path: str
    is_folder: bool = False
    opaque: bool = False
    hidden: bool = False


def tree_order(change: Change) -> list[str]:
    """Return the key that sorts changes as a walk would: a folder, then what is in it."""
    return change.path.split("/")
