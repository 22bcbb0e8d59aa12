"""Members of an unpacked archive: the files of a folder, with links resolved inside it."""

import contextlib
import os
from collections.abc import Callable, Iterator

from ocitool.errors import NotFound, OcitoolError
from ocitool.fsops import Directory, Stamp, translated
from ocitool.image.content import ReadAt
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.places.archive.members import MANY_PATHS, Member, first_found, resolved_path

MAX_FOLDERS = 20_000
"""How many folders below a folder are looked into for images."""
_DEEPEST = 4
"""How far down a folder is looked at to say what it is."""


class FolderMembers:
    """The files of an unpacked archive in a folder. Thread-safe.

    A link leads to another file of the folder, as it would in the archive, and never out of it.
    """

    def __init__(self, folder: Directory) -> None:
        self.what = folder.path
        self._folder = folder

    @property
    def first_paths(self) -> list[str]:
        """The paths of some files and folders, those at the top first."""
        found: list[str] = []
        todo = [""]
        for path in todo:
            for name in self._names(path)[: MANY_PATHS - len(found)]:
                found.append(os.path.join(path, name))
                if found[-1].count("/") < _DEEPEST:
                    todo.append(found[-1])
        return found

    def _names(self, path: str) -> list[str]:
        try:
            with self._subfolder(path) as folder:
                return folder.names()
        except OcitoolError:
            return []

    def files_by_folder(self) -> dict[str, list[str]]:
        """Return the names of the files and links of each folder, by its path.

        A folder below the top that has any is not looked into further.
        """
        found: dict[str, list[str]] = {}
        todo = [""]
        for count, path in enumerate(todo):
            if count > MAX_FOLDERS:
                break
            folders, files = self._listed(path)
            if files:
                found[path] = files
            if not files or not path:
                todo += [os.path.join(path, name) for name in folders]
        return found

    def _listed(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of the folders and those of all else in a folder; none if unreadable."""
        try:
            with self._subfolder(path) as folder:
                kinds = {name: folder.kind(name) for name in folder.names()}
        except OcitoolError:
            return [], []
        folders = [name for name, kind in kinds.items() if kind == "folder"]
        return folders, [name for name, kind in kinds.items() if kind in ("file", "link")]

    def find(self, path: str) -> Member | None:
        """Return the regular file that a path leads to, links followed; None when absent.

        MalformedArchive when links form a loop or leave the folder.
        """
        return first_found(path, self._find)

    def _find(self, path: str) -> Member | None:
        resolved = resolved_path(path, self._link_at, self.what)
        longest = max(len(os.fsencode(part)) for part in resolved.split("/"))
        if not resolved or longest > DEFAULT_LIMITS.component_bytes:
            return None
        try:
            file, size = self._open(resolved)
        except NotFound:
            return None
        os.close(file)
        return Member(path=resolved, size=size)

    def _link_at(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        try:
            with self._subfolder(folder) as parent:
                target = parent.link_target(name)
        except OcitoolError:
            return None
        return None if target is None else os.path.join(folder, target)

    @contextlib.contextmanager
    def _subfolder(self, path: str) -> Iterator[Directory]:
        with contextlib.ExitStack() as opened:
            folder = self._folder
            for part in path.split("/") if path else ():
                folder = opened.enter_context(folder.subdirectory(part))
            yield folder

    def _open(self, path: str) -> tuple[int, int]:
        folder, _, name = path.rpartition("/")
        with self._subfolder(folder) as parent:
            return parent.open_file(name)

    def open(self, member: Member) -> tuple[Callable[[int], bytes], Callable[[], None]]:
        """Return how to read a member's bytes once, and how to be done with it."""
        file, _ = self._open(member.path)

        def read(count: int) -> bytes:
            with translated("read", member.path):
                return os.read(file, count)

        return read, lambda: os.close(file)

    @contextlib.contextmanager
    def positioned(self, member: Member) -> Iterator[ReadAt]:
        """Return a block in which a member can be read at any offset."""
        file, _ = self._open(member.path)
        try:
            with translated("read", member.path):
                yield lambda offset, size: os.pread(file, size, offset)
        finally:
            os.close(file)

    def located(self, member: Member) -> tuple[int, int]:
        """Return a file descriptor, which the caller closes, and where a member begins in it."""
        return self._open(member.path)[0], 0

    def stamp(self, member: Member) -> str | None:
        """Return a text that changes whenever the bytes of a member may; None if it cannot."""
        file, _ = self._open(member.path)
        try:
            stamp = Stamp.of_file(file)
        finally:
            os.close(file)
        return stamp.text if stamp is not None else None

    def close(self) -> None:
        """Close the folder."""
        self._folder.close()
