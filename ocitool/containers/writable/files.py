"""A tree of files made of two folders, walked like a process that has it as its root.

The upper folder lies over the lower one, as in an overlay; without a lower one it is a plain tree.
Links are read and followed here, never by the kernel, so that no path leads out of the root.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ocitool.containers.writable.lower import kept_attributes
from ocitool.containers.writable.marks import Marks
from ocitool.errors import NotFound, Refused
from ocitool.fsops import (
    Directory,
    describe_folder,
    make_private_folder,
    set_nanoseconds,
)
from ocitool.image.layers.tree import MOST_LINKS
from ocitool.oci.quoting import quoted


class Located(Struct, frozen=True):
    """Where a path really is, relative to the root, and its status; None if nothing is there."""

    path: str
    status: os.stat_result | None

    @property
    def is_folder(self) -> bool:
        """Whether the path is that of a folder."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)


class Files:
    """The tree. The folders stay open as long as their owner keeps them. Not thread-safe."""

    def __init__(self, upper: Directory, lower: Directory | None, marks: Marks) -> None:
        self.upper = upper
        self.lower = lower
        self.marks = marks

    def locate(self, path: str, *, follow: bool = True) -> Located:
        """Return what a path leads to, links followed inside the tree, the last one if `follow`.

        NotFound for a path below something that is absent or not a folder, Refused for too many
        links.
        """
        names: list[str] = []
        todo = path.split("/")[::-1]
        status: os.stat_result | None = self.upper.status(".")
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del names[-1:]
                status = self.status("/".join(names))
                continue
            if status is None or not stat.S_ISDIR(status.st_mode):
                raise NotFound(
                    f"{quoted(path)} lies below {quoted('/' + '/'.join(names))}, {_why(status)}"
                )
            status = self.status("/".join((*names, part)))
            is_link = status is not None and stat.S_ISLNK(status.st_mode)
            if is_link and (follow or any(rest not in ("", ".") for rest in todo)):
                links += 1
                if links > MOST_LINKS:
                    raise Refused(f"{quoted(path)} goes through more than {MOST_LINKS} links")
                target = self.link_target("/".join((*names, part)))
                names = [] if target.startswith("/") else names
                status = self.status("/".join(names))
                todo += target.split("/")[::-1]
                continue
            names.append(part)
        return Located("/".join(names), status)

    def status(self, path: str) -> os.stat_result | None:
        """Return lstat(2) of a real path, whose folders are no links; None if nothing is there."""
        parent, _, name = path.rpartition("/")
        with self.folders(parent) as (upper, lower):
            if not name:
                return upper.status(".") if upper is not None else None
            found = upper.status(name) if upper is not None else None
            if found is not None:
                return None if self.marks.hides(found) else found
            return lower.status(name) if lower is not None else None

    def link_target(self, path: str) -> str:
        """Return the target of the link at a real path."""
        parent, _, name = path.rpartition("/")
        with self.folders(parent) as (upper, lower):
            found = upper.link_target(name) if upper is not None else None
            if found is None and lower is not None:
                found = lower.link_target(name)
        return found or ""

    @contextlib.contextmanager
    def folders(self, path: str) -> "Iterator[tuple[Directory | None, Directory | None]]":
        """Yield the two folders that a folder at a real path is made of; both None if none is."""
        with contextlib.ExitStack() as opened:
            upper: Directory | None = opened.enter_context(self.upper.subdirectory("."))
            lower = self.lower
            so_far: list[str] = []
            for name in _names(path):
                so_far.append(name)
                status = upper.status(name) if upper is not None else None
                old = lower.status(name) if lower is not None else None
                if status is not None and not stat.S_ISDIR(status.st_mode):
                    old = None
                inner = _folder(upper, name, status)
                if inner is not None and upper is not None:
                    opened.enter_context(inner)
                    if self.marks.is_opaque(upper, name, "/".join(so_far)):
                        old = None
                beneath = _folder(lower, name, old)
                if beneath is not None:
                    opened.enter_context(beneath)
                upper, lower = inner, beneath
            yield upper, lower

    def make_writable(self, path: str, *, staging: Directory) -> None:
        """Bring the folders of a real path into the upper folder, as an overlay does to write.

        They have the attributes that they have below. `staging` is a private folder of the same
        file system.
        """
        names = _names(path)
        for count in range(1, len(names) + 1):
            with self.folders("/".join(names[: count - 1])) as (upper, lower):
                name = names[count - 1]
                if upper is None or upper.kind(name) == "folder" or lower is None:
                    continue
                made = _copied(lower, name, staging)
                staging.move(made, upper, name)


def _copied(lower: Directory, name: str, staging: Directory) -> str:
    """Make an empty folder with the attributes of another one; return its name in `staging`."""
    made, folder = make_private_folder(staging, "up.")
    with folder, lower.subdirectory(name) as old:
        status = lower.status(name)
        for attribute, value in kept_attributes(old, ".").items():
            folder.set_attribute(attribute, value)
        if status is not None:
            owner = (status.st_uid, status.st_gid)
            describe_folder(folder, mode=stat.S_IMODE(status.st_mode), owner=owner)
            set_nanoseconds(folder, ".", status.st_mtime_ns)
    return made


def _folder(parent: Directory | None, name: str, status: os.stat_result | None) -> Directory | None:
    if parent is None or status is None or not stat.S_ISDIR(status.st_mode):
        return None
    return parent.subdirectory(name)


def _names(path: str) -> Sequence[str]:
    return path.split("/") if path else []


def _why(status: os.stat_result | None) -> str:
    return "which is not there" if status is None else "which is not a folder"
